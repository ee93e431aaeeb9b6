import { once } from 'node:events';
import { constants } from 'node:http2';
import type { Duplex } from 'node:stream';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { afterEach, describe, expect, test } from 'vitest';
import type { ClientStream } from './exchange.ts';
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
    ['G4: 401', 401, {}],
    ['H9: Connection: close', 200, { connection: 'close' }],
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

  test(
    'a client that cancels hundreds of watches at once, or every second, is not cut',
    { timeout: 15_000 },
    async () => {
      const server = await start({ onRequest: (exchange) => void exchange.stream(200, {}) });
      const session = server.http2();
      await once(session, 'remoteSettings');
      const cancel = async (count: number) => {
        const streams = Array.from({ length: count }, () => openStream(session, { path: '/watch' }));
        await Promise.all(streams.map((stream) => once(stream, 'response')));
        await Promise.all(streams.map((stream) => (stream.close(constants.NGHTTP2_CANCEL), once(stream, 'close'))));
      };
      for (let round = 0; round < 4; round++) await cancel(200);
      // More than the burst in all: what a second gives back has to carry it. The seconds are nghttp2's own.
      for (let second = 0; second < 4; second++) {
        const over = new Promise((resolve) => setTimeout(resolve, 1_000));
        for (let round = 0; round < 2; round++) await cancel(100);
        await over;
      }
      expect(session.destroyed).toBe(false);
      expect(server.server.connectionCount).toBe(1);
    },
  );

  test('H9: a request whose turn it is gets GOAWAY with its answer; the watches of its connection go on', async () => {
    const turns = [false, true];
    const opened = Promise.withResolvers<ClientStream>();
    const server = await start({
      isLast: () => turns.shift() ?? false,
      onRequest: (exchange) =>
        exchange.url === '/watch' ? opened.resolve(exchange.stream(200, {})) : exchange.respond(200, {}, 'ok'),
    });
    const session = server.http2();
    const watch = answerOf(openStream(session, { path: '/watch' }));
    const stream = await opened.promise;
    const goneAway = once(session, 'goaway') as Promise<[code: number]>;
    expect(await answerOf(openStream(session, {}))).toMatchObject({ status: 200, body: 'ok' });
    expect((await goneAway)[0]).toBe(constants.NGHTTP2_NO_ERROR);
    stream.write(Buffer.from('still here'));
    stream.end();
    expect(await watch).toMatchObject({ body: 'still here' });
    expect(await server.request('2.0', {})).toMatchObject({ status: 200 });
  });

  test('H9: HTTP/1.1 connections have no turn', async () => {
    const server = await start({ isLast: () => true });
    const { headers } = await server.request('1.1', {});
    expect(headers.connection).not.toBe('close');
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

  test('watches that nobody reads do not starve another one of their connection', async () => {
    const total = 4 * 1024 * 1024;
    const chunk = Buffer.alloc(8 * 1024);
    const server = await start({
      onRequest: (exchange) => {
        const stream = exchange.stream(200, {});
        let left = exchange.url === '/read' ? total : Infinity;
        const write = () => {
          while (left > 0) {
            left -= chunk.length;
            if (!stream.write(chunk)) return;
          }
          stream.end();
        };
        stream.listen({ onDrain: write, onClose: () => {} });
        write();
      },
    });
    const session = server.http2();
    for (let count = 0; count < 20; count++) openStream(session, { path: '/stuck' }).pause();
    const answer = await answerOf(openStream(session, { path: '/read' }));
    expect(answer.body).toHaveLength(total);
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
