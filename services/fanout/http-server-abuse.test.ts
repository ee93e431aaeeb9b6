import { once } from 'node:events';
import { constants } from 'node:http2';
import type { Duplex } from 'node:stream';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { afterEach, describe, expect, test } from 'vitest';
import type { ClientStream, Exchange, UpgradeExchange } from './exchange.ts';
import { answerOf, openStream, startTestServer, type TestServer } from './test-server.ts';

const started: TestServer[] = [];

async function start(options: Parameters<typeof startTestServer>[0] = {}): Promise<TestServer> {
  const server = await startTestServer(options);
  started.push(server);
  return server;
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((server) => server.stop()));
});

/** What a server sends until it closes the connection, or until `until` was seen. */
async function readUntil(socket: Duplex, until?: string): Promise<string> {
  let text = '';
  socket.on('data', (bytes: Buffer) => (text += bytes.toString('latin1')));
  const closed = once(socket, 'close').then(() => true);
  while (until === undefined || !text.includes(until)) {
    const ended = await Promise.race([closed, once(socket, 'data').then(() => false)]);
    if (ended === true) break;
  }
  return text;
}

async function sendRaw(server: TestServer, request: string, until?: string): Promise<string> {
  const socket = await server.tls();
  const answer = readUntil(socket, until);
  socket.write(request);
  return answer;
}

describe('HTTP/1.1', () => {
  test.each([
    [
      'both Content-Length and Transfer-Encoding',
      'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['Transfer-Encoding that is not chunked', 'POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n'],
    ['two different Content-Lengths', 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n'],
    ['no Host', 'GET / HTTP/1.1\r\n\r\n'],
    ['a bare line feed', 'GET / HTTP/1.1\nhost: x\n\n'],
    ['a space before the colon', 'GET / HTTP/1.1\r\nhost: x\r\nauthorization : y\r\n\r\n'],
    ['a folded header', 'GET / HTTP/1.1\r\nhost: x\r\na: b\r\n c: d\r\n\r\n'],
    ['a NUL in a header', 'GET / HTTP/1.1\r\nhost: x\r\na: b\0c\r\n\r\n'],
    ['a Connection header that strips identity', 'GET / HTTP/1.1\r\nhost: x\r\nconnection: Impersonate-User\r\n\r\n'],
    ['an authority as target', 'GET x:443 HTTP/1.1\r\nhost: x\r\n\r\n'],
  ])('%s is 400 and the end of the connection', async (_name, request) => {
    const seen: string[] = [];
    const server = await start({
      onRequest: (exchange) => {
        seen.push(exchange.url);
        exchange.respond(200, {}, '');
      },
    });
    expect(await sendRaw(server, request)).toMatch(/^HTTP\/1\.1 400 /);
    expect(seen).toEqual([]);
  });

  test('too many headers are 431', async () => {
    expect(await sendRaw(await start(), `GET / HTTP/1.1\r\nhost: x\r\n${'a: b\r\n'.repeat(200)}\r\n`)).toMatch(
      /^HTTP\/1\.1 431 /,
    );
  });

  test('too large a header is 431', async () => {
    const socket = await (await start()).tls();
    const answer = readUntil(socket);
    socket.write(`GET / HTTP/1.1\r\nhost: x\r\na: ${'b'.repeat(60 * 1024)}`);
    // In a piece of its own: what is not read when the server closes would turn its answer into a reset.
    await new Promise((resolve) => setTimeout(resolve, 30));
    socket.write('b'.repeat(6 * 1024));
    expect(await answer).toMatch(/^HTTP\/1\.1 431 /);
  });

  test('128 headers and 60 KiB are fine', async () => {
    const headers = `${'a: b\r\n'.repeat(126)}c: ${'d'.repeat(60 * 1024)}\r\n`;
    expect(await sendRaw(await start(), `GET / HTTP/1.1\r\nhost: x\r\n${headers}\r\n`, 'ok')).toMatch(
      /^HTTP\/1\.1 200 /,
    );
  });

  test('CONNECT is 405', async () => {
    expect(await sendRaw(await start(), 'CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n')).toMatch(/^HTTP\/1\.1 405 /);
  });

  test('a head that does not come to its end is cut', async () => {
    const server = await start({ limits: { headersTimeoutMs: 50 } });
    expect(await sendRaw(server, 'GET / HTTP/1.1\r\nhost:')).toMatch(/^HTTP\/1\.1 408 /);
  });

  test('pipelined requests are answered one after the other', async () => {
    const waiting: Exchange[] = [];
    const server = await start({ onRequest: (exchange) => void waiting.push(exchange) });
    const socket = await server.tls();
    const answer = readUntil(socket, 'second');
    socket.write('GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\n');
    await expect.poll(() => waiting.length).toBe(1);
    waiting[0]!.respond(200, {}, 'first');
    await expect.poll(() => waiting.length).toBe(2);
    waiting[1]!.respond(200, {}, 'second');
    expect(await answer).toMatch(/first[^]*second/);
  });

  test('more of them than the bound cut the connection', async () => {
    const server = await start({ limits: { maxPipelinedRequests: 3 }, onRequest: () => {} });
    expect(await sendRaw(server, 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(5))).toBe('');
  });

  test('an unwanted body is passed over to reach the next request, within bounds', async () => {
    const server = await start({ onRequest: (exchange) => exchange.respond(401, {}, exchange.url) });
    const socket = await server.tls();
    const answer = readUntil(socket, '/2');
    socket.write('POST /1 HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n');
    socket.write(Buffer.alloc(100_000));
    socket.write('GET /2 HTTP/1.1\r\nhost: x\r\n\r\n');
    expect(await answer).toContain('/1');

    const flooding = await server.tls();
    flooding.resume().write('POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n');
    const chunk = Buffer.from(`10000\r\n${'x'.repeat(65_536)}\r\n`);
    const flood = setInterval(() => flooding.write(chunk), 1);
    await closing(flooding);
    clearInterval(flood);
  });

  test('100-continue is sent when, and only when, the body is wanted', async () => {
    const server = await start({
      onRequest: async (exchange) => {
        if (exchange.url === '/refuse') return exchange.respond(403, { connection: 'close' }, '');
        let body = '';
        for await (const part of exchange.body() as AsyncIterable<Buffer>) body += part.toString();
        exchange.respond(200, { connection: 'close' }, body);
      },
    });
    const head = 'HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n';
    expect(await sendRaw(server, `POST /refuse ${head}`)).toMatch(/^HTTP\/1\.1 403 /);
    const socket = await server.tls();
    const answer = readUntil(socket);
    socket.write(`POST /take ${head}`);
    await once(socket, 'data');
    socket.write('hi');
    expect(await answer).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 [^]*hi$/);
  });

  test('WebSocket and SPDY are handed over as raw sockets with what followed the head', async () => {
    const upgrades: UpgradeExchange[] = [];
    const server = await start({
      onUpgrade: (exchange) => {
        upgrades.push(exchange);
        exchange.socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n');
      },
    });
    for (const protocol of ['websocket', 'SPDY/3.1']) {
      const request = `GET /exec?x HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: ${protocol}\r\n\r\nearly`;
      expect(await sendRaw(server, request)).toMatch(/^HTTP\/1\.1 101 /);
    }
    expect(upgrades.map(({ url, head }) => [url, head.toString()])).toEqual([
      ['/exec?x', 'early'],
      ['/exec?x', 'early'],
    ]);
  });

  test('other upgrades are ordinary requests', async () => {
    const request =
      'GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAA\r\n\r\n';
    expect(await sendRaw(await start(), request, 'ok')).toMatch(/^HTTP\/1\.1 200 /);
  });

  test('a socket that takes nothing for the stall time is cut', async () => {
    const clock = createFakeClock();
    const opened = Promise.withResolvers<ClientStream>();
    const server = await start({ clock, onRequest: (exchange) => opened.resolve(exchange.stream(200, {})) });
    const socket = await server.tls();
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    const stream = await opened.promise;
    const closed = new Promise<void>((resolve) => {
      stream.listen({ onDrain: () => {}, onClose: resolve });
    });
    await clock.advanceAsync(400_000);
    expect(stream.write(Buffer.alloc(32 * 1024 * 1024))).toBe(false);
    await clock.advanceAsync(170_000);
    expect(server.server.connectionCount).toBe(1);
    await clock.advanceAsync(20_000);
    await closed;
  });
});

describe('HTTP/2', () => {
  test('push and extended CONNECT are not offered, and streams are bounded', async () => {
    const session = (await start()).http2();
    const [settings] = (await once(session, 'remoteSettings')) as [
      { enableConnectProtocol?: boolean; maxConcurrentStreams: number },
    ];
    expect(settings.enableConnectProtocol).toBeFalsy();
    expect(settings.maxConcurrentStreams).toBe(250);
  });

  test.each([
    ['CONNECT', { ':method': 'CONNECT', ':authority': 'x:443' }, 405],
    ['a Host that differs from :authority', { ':path': '/', ':authority': 'x', host: 'other' }, 400],
    ['a fragment', { ':path': '/api#x' }, 400],
  ])('%s is refused', async (_name, head, status) => {
    const seen: string[] = [];
    const server = await start({ onRequest: (exchange) => void seen.push(exchange.url) });
    const stream = server.http2().request(head);
    const [headers] = (await once(stream, 'response')) as [{ ':status': number }];
    expect(headers[':status']).toBe(status);
    expect(seen).toEqual([]);
    stream.close();
  });

  test.each([
    ['too many headers', Object.fromEntries(Array.from({ length: 150 }, (_, index) => [`x-${index}`, 'y']))],
    ['too large a header', { 'x-large': 'y'.repeat(80_000) }],
  ])('%s refuse the stream, not the connection', async (_name, headers) => {
    const server = await start();
    const session = server.http2();
    await once(session, 'remoteSettings');
    await expect(answerOf(openStream(session, { headers }))).rejects.toThrow(/ENHANCE_YOUR_CALM|REFUSED_STREAM|reset/);
    expect(await answerOf(openStream(session, {}))).toMatchObject({ status: 200 });
  });

  test.each([
    ['401', 401, {}],
    ['Connection: close', 200, { connection: 'close' }],
  ])('%s is the last answer of its connection', async (_name, status, headers) => {
    const server = await start({ onRequest: (exchange) => exchange.respond(status, headers, 'x') });
    const session = server.http2();
    const goneAway = once(session, 'goaway');
    const closed = once(session, 'close');
    const answer = await answerOf(openStream(session, {}));
    expect(answer).toMatchObject({ status, body: 'x' });
    expect(answer.headers.connection).toBeUndefined();
    await goneAway;
    await closed;
  });

  test('after GOAWAY, streams under way go on', async () => {
    const opened = Promise.withResolvers<ClientStream>();
    const server = await start({
      onRequest: (exchange) =>
        exchange.url === '/watch' ? opened.resolve(exchange.stream(200, {})) : exchange.respond(401, {}, ''),
    });
    const session = server.http2();
    const watch = answerOf(openStream(session, { path: '/watch' }));
    const stream = await opened.promise;
    const goneAway = once(session, 'goaway');
    await answerOf(openStream(session, {}));
    await goneAway;
    stream.write(Buffer.from('still here'));
    stream.end();
    expect(await watch).toMatchObject({ body: 'still here' });
  });

  test('a malformed HEADERS frame costs only its own connection (CVE-2025-59465)', async () => {
    const server = await start();
    for (const payload of ['ffffffffffffffff', '00', '8182']) {
      const socket = await server.tls({ ALPNProtocols: ['h2'] });
      const block = Buffer.from(payload, 'hex');
      const frame = Buffer.concat([Buffer.from([0, 0, block.length, 1, 5, 0, 0, 0, 1]), block]);
      socket.write(Buffer.concat([PREFACE, frame]));
      socket.resume().end();
      await once(socket, 'close');
    }
    expect(await server.request('2.0', {})).toMatchObject({ status: 200 });
  });

  test.each<[string, Buffer | undefined, number, boolean]>([
    [
      'SETTINGS with more entries than the bound',
      frameOf(4, 0, 0, Buffer.alloc(6 * 40, Buffer.from('000400000001', 'hex'))),
      1,
      true,
    ],
    ['requests that are reset at once (CVE-2023-44487)', undefined, 3_000, true],
    ['PINGs whose answers nobody reads', frameOf(6, 0, 0, Buffer.alloc(8)), 200_000, false],
  ])('%s end the connection', async (_name, frame, count, reads) => {
    const server = await start({ onRequest: () => {} });
    const socket = await server.tls({ ALPNProtocols: ['h2'] });
    const closed = closing(socket);
    if (reads) socket.resume();
    socket.write(PREFACE);
    for (let sent = 0; sent < count && !socket.destroyed; sent++) {
      socket.write(frame ?? resetRequest(sent * 2 + 1));
      if (sent % 500 === 499) await new Promise((resolve) => setImmediate(resolve));
      if (socket.writableLength > 8 * 1024 * 1024) break;
    }
    await closed;
    await expect.poll(() => server.server.connectionCount).toBe(0);
  });

  test('watches that nobody reads do not keep new streams from opening', async () => {
    const blocked: ClientStream[] = [];
    const server = await start({
      onRequest: (exchange) => {
        if (exchange.url !== '/watch') return exchange.respond(200, {}, 'ok');
        const stream = exchange.stream(200, {});
        while (stream.write(Buffer.alloc(16 * 1024)));
        blocked.push(stream);
      },
    });
    const session = server.http2();
    for (let count = 0; count < 100; count++) openStream(session, { path: '/watch' }).pause();
    await expect.poll(() => blocked.length).toBe(100);
    expect(await answerOf(openStream(session, {}))).toMatchObject({ status: 200 });
  });

  test('a peer that falls silent gets a PING and is cut without an answer; one that answers stays', async () => {
    const clock = createFakeClock();
    const server = await start({ clock, onRequest: (exchange) => void exchange.stream(200, {}) });
    const alive = server.http2();
    const dead = await server.tls({ ALPNProtocols: ['h2'] });
    dead.write(Buffer.concat([PREFACE, request(1)]));
    await once(openStream(alive, {}), 'response');
    await expect.poll(() => server.server.connectionCount).toBe(2);
    const pinged = once(alive, 'ping');
    const cut = once(dead.resume(), 'close');
    await clock.advanceAsync(32_000);
    await pinged;
    for (let second = 0; second < 16; second++) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      await clock.advanceAsync(1_000);
    }
    await cut;
    expect(alive.destroyed).toBe(false);
  });

  test('a connection without a stream is closed after the idle time, one with a stream is not', async () => {
    const clock = createFakeClock();
    const server = await start({
      clock,
      limits: { idleTimeoutMs: 5_000 },
      onRequest: (exchange) =>
        void (exchange.url === '/watch' ? exchange.stream(200, {}) : exchange.respond(200, {}, '')),
    });
    const [idle, busy] = [server.http2(), server.http2()];
    await answerOf(openStream(idle, {}));
    await once(openStream(busy, { path: '/watch' }), 'response');
    const closed = once(idle, 'close');
    await clock.advanceAsync(7_000);
    await closed;
    expect(busy.destroyed).toBe(false);
  });

  test('request trailers and response trailers do no harm', async () => {
    const server = await start();
    const session = server.http2();
    const stream = session.request({ ':method': 'POST', ':path': '/' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-trailer': '1' }));
    stream.end('body');
    expect(await answerOf(stream)).toMatchObject({ status: 200 });
    expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
  });
});

const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);

/** As `once(socket, 'close')`, but errors on the way are no failure. */
function closing(socket: Duplex): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
  });
}

function frameOf(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** HEADERS with END_STREAM and END_HEADERS: GET https://x/ in HPACK without indexing. */
function request(stream: number): Buffer {
  return frameOf(1, 5, stream, Buffer.from([0x82, 0x84, 0x87, 0x01, 0x01, 0x78]));
}

function resetRequest(stream: number): Buffer {
  return Buffer.concat([request(stream), frameOf(3, 0, stream, Buffer.from([0, 0, 0, 8]))]);
}
