import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { constants, type ServerHttp2Stream } from 'node:http2';
import { createServer as createHttpsServer, type ServerOptions } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { type TLSSocket } from 'node:tls';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CertificateAuthority } from '@dogwatch/test/support/certificates.ts';
import { type ClusterAccess } from './cluster-access.ts';
import { accessTo, authority, certificateUser, Fixture, serverTls } from './upstream-fixture.ts';

let fixture: Fixture;
const { signal } = new AbortController();

beforeEach(() => {
  fixture = new Fixture();
});

afterEach(() => fixture.close());

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function https(handler: Handler, options: ServerOptions = {}): Promise<number> {
  return fixture.listen(createHttpsServer({ ...serverTls, ...options }, handler));
}

function plainHttp(port: number): Partial<ClusterAccess> {
  return { server: new URL(`http://127.0.0.1:${port}`), certificateAuthority: undefined };
}

/** The three ways to reach a server that answers with what it was asked. */
const transports: [name: string, serve: () => Promise<ClusterAccess>][] = [
  [
    'HTTP/2',
    async () => {
      const { server, port } = await fixture.http2();
      server.on('stream', (stream: ServerHttp2Stream, headers) => {
        void text(stream).then((body) => {
          const { ':method': method, ':path': path, authorization, 'x-extra': extra } = headers;
          stream.respond({ ':status': 201, 'x-answer': 'yes' });
          stream.end(JSON.stringify({ method, path, authorization, extra, body }));
        });
      });
      return accessTo({ port, user: { token: 'own' } });
    },
  ],
  ['HTTP/1.1 over TLS', async () => accessTo({ port: await https(echo), user: { token: 'own' } })],
  [
    'plain HTTP/1.1',
    async () => {
      const port = await fixture.listen(createHttpServer(echo));
      return accessTo({ port, user: { token: 'own' }, access: plainHttp(port) });
    },
  ],
];

function echo(request: IncomingMessage, response: ServerResponse): void {
  void text(request).then((body) => {
    const { method, url: path, headers } = request;
    response.writeHead(201, { 'x-answer': 'yes' });
    response.end(
      JSON.stringify({ method, path, authorization: headers.authorization, extra: headers['x-extra'], body }),
    );
  });
}

describe.each(transports)('open over %s', (_name, serve) => {
  test('sends method, path under the prefix, headers and body, and resolves at the head', async () => {
    const access = await serve();
    const upstream = fixture.upstream({ ...access, server: new URL('/prefix/', access.server) });
    const { status, headers, body } = await upstream.open({
      method: 'POST',
      path: '/api?x=1',
      headers: { 'x-extra': 'e' },
      body: 'content',
      signal,
    });
    expect(status).toBe(201);
    expect(headers).toMatchObject({ 'x-answer': 'yes' });
    expect(headers).not.toHaveProperty([':status']);
    expect(JSON.parse(await text(body))).toEqual({
      method: 'POST',
      path: '/prefix/api?x=1',
      authorization: 'Bearer own',
      extra: 'e',
      body: 'content',
    });
  });

  test('without the own credential only what the request holds is sent', async () => {
    const upstream = fixture.upstream(await serve());
    const { body } = await upstream.open({ path: '/', signal, ownCredential: false });
    expect(JSON.parse(await text(body))).not.toHaveProperty('authorization');
  });

  test('a signal that has aborted already sends nothing', async () => {
    const upstream = fixture.upstream(await serve());
    await expect(upstream.open({ path: '/', signal: AbortSignal.abort(new Error('early')) })).rejects.toThrow('early');
  });
});

describe('a watch', () => {
  test('over HTTP/2 is cancelled upstream when its signal aborts', async () => {
    const { server, port } = await fixture.http2();
    const reset = new Promise<number>((resolve) => {
      server.on('stream', (stream: ServerHttp2Stream) => {
        stream.on('error', () => undefined).once('close', () => resolve(stream.rstCode));
        stream.respond({ ':status': 200 });
      });
    });
    const controller = new AbortController();
    const upstream = fixture.upstream(accessTo({ port }));
    const { body } = await upstream.open({ path: '/watch', signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(buffer(body)).rejects.toThrow('enough');
    expect(await reset).toBe(constants.NGHTTP2_CANCEL);
  });

  test('over HTTP/1.1 too', async () => {
    let closed: Promise<unknown> | undefined;
    const port = await https((_request, response) => {
      closed = once(response, 'close');
      response.writeHead(200).flushHeaders();
    });
    const controller = new AbortController();
    const upstream = fixture.upstream(accessTo({ port }));
    const { body } = await upstream.open({ path: '/watch', signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(buffer(body)).rejects.toThrow('enough');
    await closed;
  });

  test('that breaks off over HTTP/1.1 is an error, not an end', async () => {
    const port = await https((_request, response) => {
      response.write('{"type":"ADDED"', () => response.destroy());
    });
    const { body } = await fixture.upstream(accessTo({ port })).open({ path: '/watch', signal });
    await expect(buffer(body)).rejects.toMatchObject({ code: 'upstream_interrupted' });
  });

  test('that is compressed unasked is decoded', async () => {
    const { server, port } = await fixture.http2();
    server.on('stream', (stream: ServerHttp2Stream) => {
      stream.respond({ ':status': 200, 'content-encoding': 'gzip' });
      stream.write(gzipSync('one\n'));
      stream.end(gzipSync('two\n'));
    });
    const { body } = await fixture.upstream(accessTo({ port })).open({ path: '/watch', signal });
    expect(await text(body)).toBe('one\ntwo\n');
  });

  test('that is aborted before the head rejects with the reason', async () => {
    const port = await https(() => controller.abort(new Error('enough')));
    const controller = new AbortController();
    await expect(fixture.upstream(accessTo({ port })).open({ path: '/', signal: controller.signal })).rejects.toThrow(
      'enough',
    );
  });

  test('whose connection breaks before the head is interrupted, as it may have been processed', async () => {
    const port = await https((request) => request.destroy());
    const opening = fixture.upstream(accessTo({ port })).open({ path: '/', signal });
    await expect(opening).rejects.toMatchObject({ name: 'UpstreamInterrupted' });
  });
});

describe('a 401', () => {
  let directory: string;
  let token: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'dogwatch-upstream-'));
    token = join(directory, 'token');
  });

  afterEach(() => rm(directory, { recursive: true }));

  async function serveToken(accepted: string) {
    const seen: (string | undefined)[] = [];
    const { server, port } = await fixture.http2();
    server.on('stream', (stream: ServerHttp2Stream, { authorization }) => {
      seen.push(authorization);
      stream.respond({ ':status': authorization === `Bearer ${accepted}` ? 200 : 401 }, { endStream: true });
    });
    return { seen, port };
  }

  test('makes a rotated token be read anew and the request be sent once more', async () => {
    const { seen, port } = await serveToken('new');
    await writeFile(token, 'old');
    const upstream = fixture.upstream(accessTo({ port, user: { tokenFile: token } }));
    await upstream.ownHeaders();
    await writeFile(token, 'new');
    expect((await upstream.open({ path: '/', method: 'POST', signal })).status).toBe(200);
    expect(seen).toEqual(['Bearer old', 'Bearer new']);
  });

  test('is handed on if it comes again', async () => {
    const { seen, port } = await serveToken('another');
    await writeFile(token, 'old');
    const upstream = fixture.upstream(accessTo({ port, user: { tokenFile: token } }));
    expect((await upstream.open({ path: '/', signal })).status).toBe(401);
    expect(seen).toHaveLength(2);
  });

  test('is handed on where the credential cannot change, or is not ours', async () => {
    const { seen, port } = await serveToken('another');
    expect(
      (await fixture.upstream(accessTo({ port, user: { token: 'old' } })).open({ path: '/', signal })).status,
    ).toBe(401);
    await writeFile(token, 'old');
    const upstream = fixture.upstream(accessTo({ port, user: { tokenFile: token } }));
    const headers = { authorization: 'Bearer caller' };
    expect((await upstream.open({ path: '/', signal, headers, ownCredential: false })).status).toBe(401);
    expect(seen).toEqual(['Bearer old', 'Bearer caller']);
  });
});

describe('a server that cannot be reached', () => {
  async function failureOf(access: ClusterAccess): Promise<{ code: string; message: string }> {
    return fixture
      .upstream(access, { connectTimeoutMs: 200 })
      .open({ path: '/', signal })
      .then(
        () => expect.fail('must not succeed'),
        (error: unknown) => {
          expect(error).toMatchObject({ name: 'UpstreamUnreachable' });
          return error as { code: string; message: string };
        },
      );
  }

  test('nothing listens', async () => {
    const server = createTcpServer();
    const port = await fixture.listen(server);
    await new Promise((resolve) => server.close(resolve));
    const { code, message } = await failureOf(accessTo({ port }));
    expect(code).toBe('refused');
    expect(message).toBe(
      `cannot reach kube-apiserver at 127.0.0.1:${port}: nothing listens there: ` +
        'check that kube-apiserver runs and that the address and port are right',
    );
  });

  test('a certificate of an unknown authority', async () => {
    const port = await https(echo);
    const stranger = Buffer.from(new CertificateAuthority('stranger').certificate);
    const access = accessTo({ port, access: { certificateAuthority: { kind: 'data', pem: stranger } } });
    expect((await failureOf(access)).code).toBe('certificate_untrusted');
    const trusting = { ...access, certificateAuthority: undefined, insecureSkipTlsVerify: true };
    expect((await fixture.upstream(trusting).open({ path: '/', signal })).status).toBe(201);
  });

  test('a certificate for another name', async () => {
    const port = await https(echo);
    const access = accessTo({ port });
    expect((await failureOf({ ...access, tlsServerName: 'kubernetes.default' })).code).toBe('certificate_name');
    expect((await failureOf({ ...access, tlsServerName: '10.0.0.1' })).code).toBe('certificate_name');
    expect((await fixture.upstream({ ...access, tlsServerName: 'localhost' }).open({ path: '/', signal })).status).toBe(
      201,
    );
  });

  test('a port that speaks no TLS', async () => {
    const port = await fixture.listen(createTcpServer((socket) => socket.end('hello\r\n')));
    expect((await failureOf(accessTo({ port }))).code).toBe('tls_failed');
  });

  test('a port that says nothing', async () => {
    const port = await fixture.listen(createTcpServer());
    expect((await failureOf(accessTo({ port }))).code).toBe('timeout');
  });

  test('a port that closes', async () => {
    const port = await fixture.listen(createTcpServer((socket) => socket.destroy()));
    expect((await failureOf(accessTo({ port }))).code).toBe('connection_lost');
  });

  test('a key that does not belong to its certificate is said before anything is sent', async () => {
    const port = await https(echo);
    const mixed = { certificate: authority.client('a').certificate, privateKey: authority.client('b').privateKey };
    const upstream = fixture.upstream(accessTo({ port, user: certificateUser(mixed) }));
    await expect(upstream.open({ path: '/', signal })).rejects.toMatchObject({
      name: 'KubeconfigError',
      code: 'invalid_field',
    });
  });
});

describe('forward', () => {
  function answered(request: ReturnType<ReturnType<Fixture['upstream']>['forward']>): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => request.once('response', resolve).once('error', reject).end());
  }

  test('keeps connections for the next request and adds only Host and Connection', async () => {
    const sockets = new Set<unknown>();
    let raw: string[] = [];
    const port = await https((request, response) => {
      sockets.add(request.socket);
      raw = request.rawHeaders;
      response.end();
    });
    const upstream = fixture.upstream(accessTo({ port, user: { token: 'own' } }));
    for (let i = 0; i < 3; i++) {
      const response = await answered(
        upstream.forward({ method: 'GET', path: '/a?b', headers: { 'X-One': '1' }, identity: 'own' }),
      );
      await buffer(response);
    }
    expect(sockets.size).toBe(1);
    expect(raw).toEqual(['host', `127.0.0.1:${port}`, 'X-One', '1', 'Connection', 'keep-alive']);
  });

  test('a request of nobody never travels on a connection with the own client certificate', async () => {
    const options = { requestCert: true, rejectUnauthorized: false, ca: authority.certificate };
    const names: unknown[] = [];
    const port = await https((request, response) => {
      names.push((request.socket as TLSSocket).getPeerCertificate().subject?.CN);
      response.end();
    }, options);
    const upstream = fixture.upstream(accessTo({ port, user: certificateUser(authority.client('dogwatch')) }));
    for (const identity of ['own', 'none', 'own', 'none'] as const) {
      await buffer(await answered(upstream.forward({ method: 'GET', path: '/', headers: {}, identity })));
    }
    expect(names).toEqual(['dogwatch', undefined, 'dogwatch', undefined]);
  });

  test('refuses beyond its bound and takes requests again when others are done', async () => {
    const port = await https(() => undefined);
    const upstream = fixture.upstream(accessTo({ port }), { maxForwards: 2 });
    const forward = () => upstream.forward({ method: 'GET', path: '/', headers: {}, identity: 'none' });
    const first = forward();
    first.on('error', () => undefined).end();
    const second = forward();
    second.on('error', () => undefined).end();
    expect(forward).toThrow(expect.objectContaining({ name: 'UpstreamBusy' }) as Error);
    // The other identity has its own.
    upstream
      .forward({ method: 'GET', path: '/', headers: {}, identity: 'own' })
      .on('error', () => undefined)
      .destroy();
    const closed = new Promise((resolve) => second.once('close', resolve));
    second.destroy();
    await closed;
    const third = forward();
    expect(forward).toThrow('in flight');
    third.on('error', () => undefined).destroy();
  });

  test('a tunnel counts until its socket closes', async () => {
    const server = createHttpServer();
    server.on('upgrade', (_request, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    });
    const port = await fixture.listen(server);
    const upstream = fixture.upstream(accessTo({ port, access: plainHttp(port) }), { maxForwards: 1 });
    const headers = { connection: 'Upgrade', upgrade: 'websocket' };
    const forward = () => upstream.forward({ method: 'GET', path: '/', headers, identity: 'none', upgrade: true });
    const request = forward();
    request.end();
    const [, socket] = (await once(request, 'upgrade')) as [IncomingMessage, TLSSocket];
    expect(forward).toThrow('in flight');
    const closed = once(socket, 'close');
    socket.destroy();
    await closed;
    forward()
      .on('error', () => undefined)
      .destroy();
  });

  test('an unasked 101 is an error, not a tunnel', async () => {
    const port = await fixture.listen(
      createTcpServer((socket) =>
        socket.once('data', () => socket.write('HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n')),
      ),
    );
    const upstream = fixture.upstream(accessTo({ port, access: plainHttp(port) }));
    await expect(upstream.open({ path: '/', signal })).rejects.toMatchObject({ name: 'UpstreamInterrupted' });
  });

  test('emits UpstreamUnreachable on the request', async () => {
    const port = await fixture.listen(createTcpServer((socket) => socket.destroy()));
    const upstream = fixture.upstream(accessTo({ port }));
    const request = upstream.forward({ method: 'GET', path: '/', headers: {}, identity: 'none' });
    await expect(answered(request)).rejects.toMatchObject({ name: 'UpstreamUnreachable', code: 'connection_lost' });
  });
});
