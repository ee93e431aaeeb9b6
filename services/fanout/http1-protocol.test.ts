import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { afterEach, describe, expect, test } from 'vitest';
import type { ClientStream, Exchange, UpgradeExchange } from './exchange.ts';
import { startTestServer, type TestServer } from './test-server.ts';

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
        if (exchange.url === '/refuse') return exchange.respond(403, {}, '');
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

/** As `once(socket, 'close')`, but errors on the way are no failure. */
function closing(socket: Duplex): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
  });
}
