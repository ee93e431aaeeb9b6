import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { text } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CertificateAuthority } from '@dogwatch/test/support/certificates.ts';
import { certificateUser } from '@dogwatch/upstream/upstream-fixture.ts';
import { bearerCaller, certificateCaller, ProxyFixture, recorder } from './proxy-fixture.ts';
import type { HttpVersion } from './test-server.ts';

let fixture: ProxyFixture;

beforeEach(() => {
  fixture = new ProxyFixture();
});

afterEach(() => fixture.close());

const versions: HttpVersion[] = ['1.1', '2.0'];

describe.each(versions)('over HTTP/%s', (version) => {
  test('method, path, query and body arrive as they were sent', async () => {
    const { seen, listener } = recorder();
    const { front } = await fixture.start({ upstream: listener });
    const path = '/api//v1/%6eodes/a%2Fb;x/../y?watch=1&labelSelector=a%3D%20b+c&x=%c3%A9&&=';
    for (const method of ['GET', 'POST', 'PATCH', 'DELETE', 'OPTIONS']) {
      const body = method === 'GET' ? {} : { body: `body of ${method}` };
      const headers = version === '1.1' && 'body' in body ? { 'content-length': String(body.body?.length) } : {};
      const answer = await front.request(version, { method, path: path, headers, ...body });
      expect(answer).toMatchObject({ status: 200, body: 'fine' });
      expect(seen.at(-1)).toMatchObject({
        method,
        url: path,
        body: 'body' in body ? body.body : '',
      });
    }
  });

  test('status and headers come back as upstream gave them, but those of the hop', async () => {
    const { front } = await fixture.start({
      upstream: (_request, response) => {
        response.writeHead(
          418,
          [
            ['Warning', '299 - "a"'],
            ['Warning', '299 - "b"'],
            ['Audit-Id', 'x'],
            ['Connection', 'keep-alive, x-hop'],
            ['X-Hop', '1'],
            ['Keep-Alive', 'timeout=5'],
            ['Content-Type', 'application/vnd.kubernetes.protobuf'],
          ].flat(),
        );
        response.end('pot');
      },
    });
    const answer = await front.request(version, {});
    expect(answer).toMatchObject({ status: 418, body: 'pot' });
    expect(answer.headers).toMatchObject({
      warning: '299 - "a", 299 - "b"',
      'audit-id': 'x',
      'content-type': 'application/vnd.kubernetes.protobuf',
    });
    expect(answer.headers).not.toHaveProperty('x-hop');
    expect(answer.headers).not.toHaveProperty('keep-alive');
  });

  test('redirects and compressed bodies are not touched', async () => {
    const zipped = gzipSync('hello');
    const { front } = await fixture.start({
      upstream: (request, response) => {
        if (request.url === '/gzip')
          response.writeHead(200, {
            'content-encoding': 'gzip',
            'content-length': zipped.length,
            'x-accepted': request.headers['accept-encoding'],
          });
        else response.writeHead(301, { location: 'https://elsewhere/' });
        response.end(request.url === '/gzip' ? zipped : undefined);
      },
    });
    expect(await front.request(version, { path: '/moved' })).toMatchObject({
      status: 301,
      headers: { location: 'https://elsewhere/' },
    });
    const { headers, body } = await front.request(version, { path: '/gzip', headers: { 'accept-encoding': 'gzip' } });
    expect(headers).toMatchObject({
      'content-encoding': 'gzip',
      'x-accepted': 'gzip',
      'content-length': String(zipped.length),
    });
    expect(body).toBe(zipped.toString());
  });

  test.each([
    ['HEAD', 200, '1234'],
    ['GET', 304, undefined],
    ['GET', 204, undefined],
    ['DELETE', 204, undefined],
  ])('%s answered %i has no body', async (method, status, length) => {
    const { front } = await fixture.start({
      upstream: (_request, response) => {
        if (length !== undefined) response.setHeader('content-length', length);
        response.writeHead(status).end();
      },
    });
    const answer = await front.request(version, { method });
    expect(answer).toMatchObject({ status, body: '' });
    expect(answer.headers['content-length']).toBe(length);
    // The upstream connection is fit for the next one.
    expect(await front.request(version, { method })).toMatchObject({ status });
  });

  test('trailers follow the body', async () => {
    const { front } = await fixture.start({
      upstream: (_request, response) => {
        response.writeHead(200, { trailer: 'x-sum' });
        response.write('body');
        response.addTrailers({ 'x-sum': '42' });
        response.end();
      },
    });
    expect(await front.request(version, {})).toMatchObject({ body: 'body', trailers: { 'x-sum': '42' } });
  });

  test('a kube-apiserver that cannot be reached is a 503 to be tried again, which names nothing', async () => {
    const refusing = createTcpServer();
    const port = await fixture.listen(refusing);
    await new Promise((resolve) => refusing.close(resolve));
    const { front, log } = await fixture.start({ upstream: port });
    for (let i = 0; i < 3; i++) {
      const { status, headers, body } = await front.request(version, { method: 'POST', body: 'x' });
      expect(status).toBe(503);
      expect(headers).toMatchObject({ 'retry-after': '1', 'content-type': 'application/json' });
      expect(JSON.parse(body)).toEqual({
        kind: 'Status',
        apiVersion: 'v1',
        metadata: {},
        status: 'Failure',
        message: 'dogwatch cannot reach kube-apiserver',
        reason: 'ServiceUnavailable',
        details: { retryAfterSeconds: 1 },
        code: 503,
      });
    }
    // One line for all three, and it says where.
    expect(log).toHaveLength(1);
    expect(log[0]).toContain(`127.0.0.1:${port}`);
  });

  test('a request that may have been carried out is sent once, and the client is not invited to repeat it', async () => {
    let hits = 0;
    const { front } = await fixture.start({
      upstream: (request) => {
        hits += 1;
        void text(request).then(() => request.socket.destroy());
      },
    });
    const post = await front.request(version, { method: 'POST', body: 'x' });
    expect(post.status).toBe(503);
    expect(post.headers).not.toHaveProperty('retry-after');
    expect(hits).toBe(1);
    const get = await front.request(version, {});
    expect(get).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
    expect(hits).toBe(2);
  });

  test('an answer that upstream breaks off does not end cleanly', async () => {
    const { front } = await fixture.start({
      upstream: (_request, response) => {
        response.write('half of', () => setTimeout(() => response.destroy(), 20));
      },
    });
    await expect(front.request(version, {})).rejects.toThrow(/aborted|reset|closed/i);
  });

  test('an unasked 101 is a 503', async () => {
    const { front } = await fixture.start({
      upstream: ({ socket }) => void socket.write('HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n'),
    });
    expect(await front.request(version, {})).toMatchObject({ status: 503 });
  });

  test('G10: beyond the bound on requests in flight the answer is 429', async () => {
    const { front } = await fixture.start({ upstream: () => undefined, options: { maxForwards: 0 } });
    const { status, headers, body } = await front.request(version, {});
    expect(status).toBe(429);
    expect(headers['retry-after']).toBe('1');
    expect(JSON.parse(body)).toMatchObject({ reason: 'TooManyRequests' });
  });
});

describe('who upstream sees', () => {
  const authority = new CertificateAuthority('test');
  const tls = { requestCert: true, rejectUnauthorized: false, ca: authority.certificate };

  async function seenAs(caller: typeof bearerCaller) {
    const identities: unknown[] = [];
    const { front } = await fixture.start({
      upstream: (request, response) => {
        const { subject } = (request.socket as TLSSocket).getPeerCertificate();
        const { authorization, 'impersonate-user': impersonated } = request.headers;
        identities.push({ certificate: subject?.CN, authorization, impersonated });
        response.end();
      },
      tls,
      caller,
      user: certificateUser(authority.client('dogwatch')),
    });
    await front.request('2.0', { headers: { authorization: 'Bearer caller' } });
    return identities;
  }

  test('a bearer caller by their token alone: dogwatch’s client certificate would go before it', async () => {
    expect(await seenAs(bearerCaller)).toEqual([
      { certificate: undefined, authorization: 'Bearer caller', impersonated: undefined },
    ]);
  });

  test('a certificate caller as dogwatch impersonating them', async () => {
    expect(await seenAs(certificateCaller)).toEqual([
      { certificate: 'dogwatch', authorization: undefined, impersonated: 'jane' },
    ]);
  });

  test('an anonymous caller as nobody', async () => {
    expect(await seenAs({ ...bearerCaller, credential: { kind: 'none' } })).toEqual([
      { certificate: undefined, authorization: undefined, impersonated: undefined },
    ]);
  });

  test('a 401 is the caller’s own affair with a bearer token, dogwatch’s with impersonation', async () => {
    const upstream = (_request: IncomingMessage, response: ServerResponse) => void response.writeHead(401).end();
    const { front: bearer } = await fixture.start({ upstream });
    expect(await bearer.request('2.0', {})).toMatchObject({ status: 401 });
    const { front: impersonating } = await fixture.start({ upstream, caller: certificateCaller });
    expect(await impersonating.request('2.0', {})).toMatchObject({ status: 503, headers: { 'retry-after': '1' } });
  });

  test('a certificate caller who sends Impersonate-User is refused here', async () => {
    const { seen, listener } = recorder();
    const { front } = await fixture.start({ upstream: listener, caller: certificateCaller });
    const answer = await front.request('1.1', { headers: { 'Impersonate-User': 'admin' } });
    expect(answer.status).toBe(403);
    expect(JSON.parse(answer.body)).toMatchObject({ kind: 'Status', reason: 'Forbidden' });
    expect(seen).toEqual([]);
  });

  test('repeated Impersonate-Group headers of a bearer caller stay apart', async () => {
    let raw: string[] = [];
    const { front } = await fixture.start({
      upstream: (request, response) => {
        raw = request.rawHeaders.filter((_value, i, all) => all[i - (i % 2)] === 'impersonate-group');
        response.end();
      },
    });
    await front.request('1.1', { headers: { 'Impersonate-Group': ['a, b', 'c'] } });
    expect(raw).toEqual(['impersonate-group', 'a, b', 'impersonate-group', 'c']);
  });
});

describe('targets', () => {
  test('cannot climb out of the prefix of the server', async () => {
    const { seen, listener } = recorder();
    const { front } = await fixture.start({ upstream: listener, prefix: '/k8s/clusters/one/' });
    for (const path of ['/../two/api', '/api/..', '/%2e%2E/two', '/.%2e/two', '/a/./b', '/..%2ftwo', '/..\\two']) {
      expect([path, (await front.request('2.0', { path })).status]).toEqual([path, 400]);
    }
    expect(seen).toEqual([]);
    expect(await front.request('2.0', { path: '/api/v1/..name/a...b?x=/../y' })).toMatchObject({ status: 200 });
    expect(seen[0]?.url).toBe('/k8s/clusters/one/api/v1/..name/a...b?x=/../y');
  });

  test('the asterisk is refused', async () => {
    const { front } = await fixture.start({ upstream: recorder().listener });
    expect(await front.request('1.1', { method: 'OPTIONS', path: '*' })).toMatchObject({ status: 400 });
  });
});
