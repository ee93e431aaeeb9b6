import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { connect, createServer } from 'node:net';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { ClientStream, Exchange } from './exchange.ts';
import { createHttpServer } from './http-server.ts';
import { systemClock } from '@dogwatch/process/clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { testIdentity } from './test-certificates.ts';
import {
  answerOf,
  type ClientRequest,
  type HttpVersion,
  openStream,
  startTestServer,
  type TestServer,
} from './test-server.ts';

const versions: HttpVersion[] = ['1.1', '2.0'];
const started: TestServer[] = [];
/** How clients call an answer that did not come to its end. */
const BROKEN_OFF = /aborted|hang up|ECONNRESET|INTERNAL_ERROR|reset/;

async function start(options: Parameters<typeof startTestServer>[0] = {}): Promise<TestServer> {
  const server = await startTestServer(options);
  started.push(server);
  return server;
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((server) => server.stop()));
});

/** One request through a server that answers with `onRequest`. */
async function ask(
  version: HttpVersion,
  onRequest: (exchange: Exchange) => void | Promise<void>,
  request: ClientRequest = {},
) {
  const server = await start({ onRequest });
  return server.request(version, request);
}

async function readAll(body: AsyncIterable<Buffer>): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of body) parts.push(part);
  return Buffer.concat(parts).toString();
}

describe.each(versions)('over HTTP/%s', (version) => {
  test('a request arrives with its target, headers, peer and body', async () => {
    const answer = await ask(
      version,
      async (exchange) => {
        const { method, url, httpVersion, headers, connection } = exchange;
        const body = await readAll(exchange.body());
        exchange.respond(
          200,
          {},
          JSON.stringify({ method, url, httpVersion, headers, peer: connection.remoteAddress, body }),
        );
      },
      {
        method: 'PUT',
        path: '/api/v1?x=%2F',
        headers: { 'x-a': '1', 'impersonate-group': ['a, b', 'c'] },
        body: 'hello',
      },
    );
    expect(JSON.parse(answer.body)).toEqual({
      method: 'PUT',
      url: '/api/v1?x=%2F',
      httpVersion: version,
      headers: expect.objectContaining({
        host: expect.stringMatching(/^127\.0\.0\.1:\d+$/) as string,
        'x-a': '1',
        'impersonate-group': ['a, b', 'c'],
      }) as object,
      peer: '127.0.0.1',
      body: 'hello',
    });
    expect(
      Object.keys((JSON.parse(answer.body) as { headers: object }).headers).filter((name) => name.startsWith(':')),
    ).toEqual([]);
  });

  test('a whole answer has the headers given, its length, the date, and nothing else', async () => {
    const answer = await ask(version, (exchange) =>
      exchange.respond(403, { 'audit-id': 'x', warning: ['a', 'b'] }, 'no'),
    );
    expect(answer).toMatchObject({ status: 403, body: 'no' });
    const names = Object.keys(answer.headers).filter((name) => name !== ':status');
    expect(names.sort()).toEqual(['audit-id', 'content-length', 'date', 'warning']);
    expect(answer.headers['warning']).toBe('a, b');
  });

  test.each<[string, ClientRequest, number, string | undefined]>([
    ['HEAD', { method: 'HEAD' }, 200, '4'],
    ['204', {}, 204, undefined],
    ['304', {}, 304, undefined],
  ])('%s has no body, whole, streamed or piped', async (_name, request, status, length) => {
    const written: boolean[] = [];
    const server = await start({
      onRequest: (exchange) => {
        if (exchange.url === '/whole') exchange.respond(status, {}, 'body');
        if (exchange.url === '/piped') exchange.pipe(status, { 'content-length': '4' }, PassThrough.from([]));
        if (exchange.url === '/streamed') {
          const stream = exchange.stream(status, {});
          written.push(stream.write(Buffer.from('body')));
          stream.end();
        }
      },
    });
    for (const path of ['/whole', '/piped', '/streamed']) {
      expect(await server.request(version, { ...request, path })).toMatchObject({ status, body: '' });
    }
    expect((await server.request(version, { ...request, path: '/whole' })).headers['content-length']).toBe(length);
    expect(written).toEqual([true]);
  });

  test('a streamed answer arrives piece by piece', async () => {
    const pieces = Promise.withResolvers<ClientStream>();
    const answer = ask(version, (exchange) => {
      const stream = exchange.stream(200, { 'content-type': 'application/json' });
      expect(exchange.started).toBe(true);
      pieces.resolve(stream);
    });
    const stream = await pieces.promise;
    stream.write(Buffer.from('{"type":'));
    await new Promise(setImmediate);
    stream.write(Buffer.from('"ADDED"}\n'));
    stream.end();
    expect(await answer).toMatchObject({
      status: 200,
      body: '{"type":"ADDED"}\n',
      headers: { 'content-type': 'application/json' },
    });
  });

  test('a piped answer loses the hop-by-hop headers of the other hop', async () => {
    const answer = await ask(version, (exchange) => {
      const headers = {
        'content-type': 'text/plain',
        'transfer-encoding': 'chunked',
        'keep-alive': 'timeout=5',
        upgrade: 'h2c',
      };
      exchange.pipe(200, headers, PassThrough.from([Buffer.from('a'), Buffer.from('b')]));
    });
    expect(answer.body).toBe('ab');
    expect(answer.headers['keep-alive']).toBeUndefined();
    expect(answer.headers.upgrade).toBeUndefined();
  });

  test('a piped body that breaks off is not taken for whole', async () => {
    const body = new PassThrough();
    const answer = ask(version, (exchange) => {
      exchange.pipe(200, {}, body);
      body.write('half', () => body.destroy(new Error('upstream is gone')));
    });
    await expect(answer).rejects.toThrow(BROKEN_OFF);
  });

  test.each(['before the answer', 'while it streams'])('aborting %s is seen as an error', async (when) => {
    const answer = ask(version, (exchange) => {
      if (when === 'before the answer') exchange.abort();
      else exchange.stream(200, {}).abort();
    });
    await expect(answer).rejects.toThrow(BROKEN_OFF);
  });

  test('onClose is called once, for a complete answer and for a client that left', async () => {
    const closed = vi.fn<(path: string) => void>();
    const streaming = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<void>();
    const server = await start({
      onRequest: (exchange) => {
        exchange.onClose(() => closed(exchange.url));
        if (exchange.url === '/whole') return exchange.respond(200, {}, '');
        exchange.stream(200, {}).listen({ onDrain: () => {}, onClose: () => gone.resolve() });
        streaming.resolve();
      },
    });
    await server.request(version, { path: '/whole' });
    await expect.poll(() => closed.mock.calls).toEqual([['/whole']]);

    const socket = version === '1.1' ? await server.tls() : server.http2();
    if ('request' in socket) openStream(socket, { path: '/watch' });
    else socket.write('GET /watch HTTP/1.1\r\nhost: x\r\n\r\n');
    await streaming.promise;
    socket.destroy();
    await gone.promise;
    await expect.poll(() => closed.mock.calls).toEqual([['/whole'], ['/watch']]);
    await expect.poll(() => server.server.connectionCount).toBe(0);
  });

  test('answering a client that is gone does nothing', async () => {
    const arrived = Promise.withResolvers<Exchange>();
    const server = await start({ onRequest: (exchange) => arrived.resolve(exchange) });
    const request = server.request(version, {}).catch(() => 'gone');
    const exchange = await arrived.promise;
    const closed = new Promise<void>((resolve) => {
      exchange.onClose(resolve);
    });
    exchange.abort();
    await closed;
    exchange.respond(200, {}, 'late');
    const body = new PassThrough();
    exchange.pipe(200, {}, body);
    expect(body.destroyed).toBe(true);
    const late = exchange.stream(200, {});
    const told = new Promise<void>((resolve) => {
      late.listen({ onDrain: () => {}, onClose: resolve });
    });
    expect(late.write(Buffer.from('x'))).toBe(false);
    late.end();
    await told;
    expect(await request).toBe('gone');
  });

  test('G13: a handler that throws, or rejects, is a 500 and a line in the log without the query', async () => {
    const server = await start({
      onRequest: (exchange) => {
        if (exchange.url.startsWith('/throws')) throw new Error('planned');
        return Promise.reject(new Error('planned'));
      },
    });
    expect(await server.request(version, { path: '/throws?token=secret' })).toMatchObject({ status: 500 });
    expect(await server.request(version, { path: '/rejects' })).toMatchObject({ status: 500 });
    expect(server.log.filter((line) => line.includes('planned'))).toHaveLength(2);
    expect(server.log.join('')).not.toContain('secret');
  });

  test('write says false only when bytes wait, and onDrain comes once when they are gone', async () => {
    const chunk = Buffer.alloc(32 * 1024);
    const opened = Promise.withResolvers<ClientStream>();
    const server = await start({ onRequest: (exchange) => opened.resolve(exchange.stream(200, {})) });
    const reader = await slowReader(server, version);
    const stream = await opened.promise;
    const onDrain = vi.fn<() => void>();
    stream.listen({ onDrain, onClose: () => {} });
    expect(stream.write(Buffer.from('small'))).toBe(true);
    let written = 0;
    while (written < 4_000 && stream.write(chunk)) written += 1;
    for (let turn = 0; turn < 50 && written < 4_000; turn++) {
      // What the kernel takes at once drains; go on until the reader is what holds it up.
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (onDrain.mock.calls.length === 0) break;
      onDrain.mockClear();
      while (stream.write(chunk)) written += 1;
    }
    expect(onDrain).not.toHaveBeenCalled();
    reader.resume();
    await expect.poll(() => onDrain.mock.calls.length).toBe(1);
    expect(stream.write(chunk)).toBe(true);
  });
});

/** A client that opened a request and reads nothing until `resume`. */
async function slowReader(server: TestServer, version: HttpVersion): Promise<{ resume(): void }> {
  if (version === '1.1') {
    const socket = await server.tls();
    socket.pause();
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    return socket;
  }
  const stream = openStream(server.http2(), {});
  await once(stream, 'response');
  stream.pause();
  return stream;
}

describe('listening', () => {
  test('a port in use, and an address that is not here, are errors with a code', async () => {
    const { port } = await start();
    await expect(start({ port })).rejects.toMatchObject({ name: 'ListenError', code: 'port_in_use' });
    await expect(start({ address: '192.0.2.1' })).rejects.toMatchObject({ code: 'no_such_address' });
    expect(started).toHaveLength(1);
  });

  test('run() and listening reject with the same error', async () => {
    const blocker = createServer().listen(0, '127.0.0.1');
    await once(blocker, 'listening');
    const { port } = blocker.address() as { port: number };
    const { pem } = testIdentity();
    const server = createHttpServer({
      tls: { cert: Buffer.from(pem.cert), key: Buffer.from(pem.key), requestClientCertificate: false },
      address: '127.0.0.1',
      port,
      onRequest: () => {},
      onUpgrade: () => {},
      clock: systemClock,
      log: createLogger({ level: 'error', pretty: false, destination: { write: () => {} } }),
    });
    const error: unknown = await server.run(new AbortController().signal).catch((reason: unknown) => reason);
    await expect(server.listening).rejects.toBe(error);
    blocker.close();
  });
});

describe('connections', () => {
  test('are counted, and those beyond the bound are closed', async () => {
    const server = await start({ limits: { maxConnections: 2 } });
    const [first] = await Promise.all([server.tls(), server.tls()]);
    await expect.poll(() => server.server.connectionCount).toBe(2);
    await expect(Promise.race([server.tls(), refused(server)])).rejects.toThrow(/refused|disconnected|ECONNRESET/);
    expect(server.server.refusedConnections).toBeGreaterThan(0);
    first!.destroy();
    await expect.poll(() => server.server.connectionCount).toBe(1);
    await server.tls();
  });

  test('that never finish their handshake are cut', async () => {
    const { port } = await start({ limits: { handshakeTimeoutMs: 50 } });
    const socket = connect(port, '127.0.0.1').resume();
    await once(socket, 'close');
    expect(socket.bytesRead).toBe(0);
  });

  test('cannot be had below TLS 1.2', async () => {
    const server = await start();
    await expect(server.tls({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1' })).rejects.toThrow(
      /protocol version|unsupported|no protocols/i,
    );
  });

  test('that speak something else than TLS do no harm', async () => {
    const server = await start();
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.0\r\n\r\n');
    await once(socket, 'close');
    expect(await server.request('2.0', {})).toMatchObject({ status: 200 });
  });
});

async function refused(server: TestServer): Promise<never> {
  await expect.poll(() => server.server.refusedConnections).toBeGreaterThan(0);
  throw new Error('refused');
}

describe('shutting down', () => {
  test.each(versions)('H11: lets an answer over HTTP/%s end, and takes no new request', async (version) => {
    const opened = Promise.withResolvers<ClientStream>();
    const server = await start({
      onRequest: (exchange) =>
        exchange.url === '/watch' ? opened.resolve(exchange.stream(200, {})) : exchange.respond(200, {}, ''),
    });
    const session = server.http2();
    const answer =
      version === '1.1' ? server.request('1.1', { path: '/watch' }) : answerOf(openStream(session, { path: '/watch' }));
    const stream = await opened.promise;
    const goneAway = version === '1.1' ? undefined : once(session, 'goaway');
    const stopped = stop(server);
    await goneAway;
    await expect(server.tls()).rejects.toThrow('ECONNREFUSED');
    stream.write(Buffer.from('last words'));
    stream.end();
    expect(await answer).toMatchObject({ body: 'last words' });
    await stopped;
  });

  test.each(versions)('cuts what is left over HTTP/%s after the grace', async (version) => {
    const opened = Promise.withResolvers<ClientStream>();
    const server = await start({
      limits: { shutdownGraceMs: 50 },
      onRequest: (exchange) => opened.resolve(exchange.stream(200, {})),
    });
    await slowReader(server, version);
    const stream = await opened.promise;
    const closed = new Promise<void>((resolve) => {
      stream.listen({ onDrain: () => {}, onClose: resolve });
    });
    await stop(server);
    await closed;
    expect(server.server.connectionCount).toBe(0);
  });

  test('closes idle connections at once, and answers under way say Connection: close', async () => {
    const arrived = Promise.withResolvers<Exchange>();
    const server = await start({ onRequest: (exchange) => arrived.resolve(exchange) });
    const idle = await server.tls();
    const busy = await server.tls();
    busy.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    const exchange = await arrived.promise;
    const stopped = stop(server);
    await once(idle.resume(), 'close');
    const answered = once(busy, 'data');
    exchange.respond(200, {}, 'x');
    expect(String(await answered)).toMatch(/connection: close/i);
    await stopped;
  });
});

/** As `stop`, without destroying the clients first. */
function stop(server: TestServer): Promise<void> {
  started.splice(started.indexOf(server), 1);
  return server.stop({ keepClients: true });
}
