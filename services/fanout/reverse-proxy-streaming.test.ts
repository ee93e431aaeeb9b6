import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ClientHttp2Stream, constants } from 'node:http2';
import { PassThrough } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ProxyFixture, recorder } from './proxy-fixture.ts';
import { answerOf, type ClientRequest, type HttpVersion, openStream, type TestServer } from './test-server.ts';

let fixture: ProxyFixture;

beforeEach(() => {
  fixture = new ProxyFixture();
});

afterEach(() => fixture.close());

const versions: HttpVersion[] = ['1.1', '2.0'];

describe('framing of the request body', () => {
  async function framingOf(version: HttpVersion, options: ClientRequest) {
    const { seen, listener } = recorder();
    const { front } = await fixture.start({ upstream: listener });
    await front.request(version, options);
    const [{ headers, body } = expect.fail('not seen')] = seen;
    return { length: headers['content-length'], coding: headers['transfer-encoding'], body };
  }

  test.each<[string, HttpVersion, Parameters<typeof framingOf>[1], Awaited<ReturnType<typeof framingOf>>]>([
    ['none', '1.1', {}, { length: undefined, coding: undefined, body: '' }],
    ['none', '2.0', {}, { length: undefined, coding: undefined, body: '' }],
    [
      'a POST of nothing',
      '1.1',
      { method: 'POST', headers: { 'content-length': '0' } },
      { length: '0', coding: undefined, body: '' },
    ],
    ['a POST of nothing', '2.0', { method: 'POST' }, { length: '0', coding: undefined, body: '' }],
    [
      'a length',
      '1.1',
      { method: 'POST', headers: { 'content-length': '3' }, body: 'abc' },
      { length: '3', coding: undefined, body: 'abc' },
    ],
    [
      'a length',
      '2.0',
      { method: 'DELETE', headers: { 'content-length': '3' }, body: 'abc' },
      { length: '3', coding: undefined, body: 'abc' },
    ],
    [
      'chunks',
      '1.1',
      { method: 'PUT', headers: { 'transfer-encoding': 'chunked' }, body: 'abc' },
      { length: undefined, coding: 'chunked', body: 'abc' },
    ],
    [
      'frames without a length',
      '2.0',
      { method: 'DELETE', body: 'abc' },
      { length: undefined, coding: 'chunked', body: 'abc' },
    ],
    [
      'a GET with a body',
      '1.1',
      { headers: { 'content-length': '3' }, body: 'abc' },
      { length: '3', coding: undefined, body: 'abc' },
    ],
  ])('%s over HTTP/%s', async (_what, version, options, expected) => {
    expect(await framingOf(version, options)).toEqual(expected);
  });

  test('a coding that is not taken off here is refused', async () => {
    const { front } = await fixture.start({ upstream: recorder().listener });
    const headers = { 'transfer-encoding': 'gzip, chunked' };
    expect(await front.request('1.1', { method: 'POST', headers, body: 'x' })).toMatchObject({ status: 400 });
  });

  test('Connection cannot take the length away', async () => {
    expect(
      await framingOf('1.1', {
        method: 'POST',
        headers: { connection: 'content-length', 'content-length': '3' },
        body: 'abc',
      }),
    ).toEqual({
      length: '3',
      coding: undefined,
      body: 'abc',
    });
  });

  test('Expect is answered here and not passed on', async () => {
    const { seen, listener } = recorder();
    const { front } = await fixture.start({ upstream: listener });
    const socket = await front.tls({ ALPNProtocols: ['http/1.1'] });
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n');
    const [interim] = (await once(socket, 'data')) as [Buffer];
    expect(interim.toString()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    socket.write('ok');
    await once(socket, 'data');
    expect(seen).toMatchObject([{ body: 'ok' }]);
    expect(seen[0]?.headers).not.toHaveProperty('expect');
  });
});

describe('streaming', () => {
  test('each part of an answer is flushed at once, as kubectl logs -f needs it', async () => {
    let logs: ServerResponse | undefined;
    const { front } = await fixture.start({
      upstream: (_request, response) => {
        logs = response;
        response.writeHead(200).flushHeaders();
      },
    });
    const stream = openStream(front.http2(), { path: '/logs' });
    await once(stream, 'response');
    for (const line of ['one\n', 'two\n']) {
      const arrived = once(stream, 'data');
      logs?.write(line);
      expect(String((await arrived)[0])).toBe(line);
    }
    logs?.end();
    await once(stream, 'end');
  });

  test('each part of a body is handed on at once', async () => {
    const arrived = new PassThrough();
    const { front } = await fixture.start({
      upstream: (request, response) => {
        request.pipe(arrived);
        request.once('end', () => response.end());
      },
    });
    const stream = front.http2().request({ ':method': 'POST', ':path': '/' });
    for (const part of ['one', 'two']) {
      const data = once(arrived, 'data');
      stream.write(part);
      expect(String((await data)[0])).toBe(part);
    }
    stream.end();
    expect((await answerOf(stream)).status).toBe(200);
  });

  test.each(versions)('10 MB each way over HTTP/%s arrive intact', async (version) => {
    const { front } = await fixture.start({
      upstream: (request, response) => void pipeline(request, response).catch(() => undefined),
    });
    const body = randomBytes(10 * 1024 * 1024);
    const echoed = version === '1.1' ? await echo1(front, body) : await echo2(front, body);
    expect(sha256(echoed)).toBe(sha256(body));
  });

  test('a client that does not read holds up upstream, not memory', async () => {
    let sent = 0;
    let full: () => void = () => undefined;
    const stalled = new Promise<void>((resolve) => (full = resolve));
    const { front } = await fixture.start({
      upstream: (_request, response) => {
        const more = () => {
          while (!response.destroyed && response.write(Buffer.alloc(64 * 1024))) sent += 64 * 1024;
          setTimeout(full, 200);
        };
        response.on('drain', more);
        more();
      },
    });
    const stream = openStream(front.http2(), {});
    await once(stream, 'response');
    await stalled;
    expect(sent).toBeLessThan(32 * 1024 * 1024);
    stream.close(constants.NGHTTP2_CANCEL);
  });

  test('an early answer reaches a client that is still sending, over HTTP/2', async () => {
    const { front } = await fixture.start({ upstream: refuseBody });
    const stream = front.http2().request({ ':method': 'POST', ':path': '/' });
    stream.on('error', () => undefined).write(Buffer.alloc(32 * 1024));
    stream.once('response', () => stream.end(Buffer.alloc(1024 * 1024)));
    expect(await answerOf(stream)).toMatchObject({ status: 413, body: 'too large' });
  });

  test('an early answer over HTTP/1.1 is the last on its connection', async () => {
    const { front } = await fixture.start({ upstream: refuseBody });
    const socket = await front.tls({ ALPNProtocols: ['http/1.1'] });
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nbegin');
    const answer = await text(socket);
    expect(answer).toMatch(/^HTTP\/1.1 413 /);
    expect(answer).toContain('connection: close');
    expect(answer).toContain('too large');
  });
});

describe('a client that goes away takes its request with it', () => {
  test('before the answer', async () => {
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    const { promise: asked, resolve: ask } = Promise.withResolvers<void>();
    const { front } = await fixture.start({
      upstream: (request) => {
        request.once('close', resolve);
        ask();
      },
    });
    const stream = openStream(front.http2(), {});
    await asked;
    stream.close(constants.NGHTTP2_CANCEL);
    await expect(gone).resolves.toBeUndefined();
  });

  test('in the middle of the answer', async () => {
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    const { front } = await fixture.start({
      upstream: (_request, response) => {
        response.once('close', resolve);
        response.write('first');
      },
    });
    const socket = await front.tls({ ALPNProtocols: ['http/1.1'] });
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(socket, 'data');
    socket.destroy();
    await expect(gone).resolves.toBeUndefined();
  });

  test.each<[how: string, leave: (stream: ClientHttp2Stream) => void]>([
    ['by RST_STREAM with an error', (stream) => void stream.destroy(new Error('enough'))],
    ['by RST_STREAM without one', (stream) => void stream.destroy()],
    ['with its connection', (stream) => stream.session?.destroy()],
  ])('in the middle of the body, which upstream must not take for whole: %s', async (_how, leave) => {
    const { promise: outcome, resolve } = Promise.withResolvers<string>();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const { front, log } = await fixture.start({
      upstream: (request) => {
        request.once('data', () => begin());
        request.once('end', () => resolve('end')).once('error', () => resolve('error'));
      },
    });
    const stream = front.http2().request({ ':method': 'POST', ':path': '/' });
    stream.on('error', () => undefined).write('half of');
    await begun;
    leave(stream);
    expect(await outcome).toBe('error');
    // That is no failure of upstream's.
    expect(log).toEqual([]);
  });
});

async function echo1(front: TestServer, body: Buffer): Promise<Buffer> {
  const socket = await front.tls({ ALPNProtocols: ['http/1.1'] });
  socket.write(`POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`);
  socket.write(body);
  const raw = await buffer(socket);
  return unchunk(raw.subarray(raw.indexOf('\r\n\r\n') + 4));
}

async function echo2(front: TestServer, body: Buffer): Promise<Buffer> {
  const stream = front.http2().request({ ':method': 'POST', ':path': '/' });
  const [echoed] = await Promise.all([buffer(stream), pipeline(slices(body), stream)]);
  return echoed;
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function refuseBody(_request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(413, { connection: 'close' }).end('too large');
}

function* slices(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 64 * 1024) yield bytes.subarray(at, at + 64 * 1024);
}

/** The content of a chunked body. */
function unchunk(raw: Buffer): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  for (;;) {
    const lineEnd = raw.indexOf('\r\n', at);
    const size = Number.parseInt(raw.subarray(at, lineEnd).toString(), 16);
    if (size === 0) return Buffer.concat(parts);
    parts.push(raw.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
}
