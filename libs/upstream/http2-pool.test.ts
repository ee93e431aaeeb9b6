import { once } from 'node:events';
import { constants, type Http2SecureServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import { connect, createServer, type Socket } from 'node:net';
import { buffer, text } from 'node:stream/consumers';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { authority, accessTo, certificateUser, Fixture, serverTls } from './upstream-fixture.ts';

let fixture: Fixture;
const { signal } = new AbortController();

beforeEach(() => {
  fixture = new Fixture();
});

afterEach(() => fixture.close());

/** Sessions of a server in the order they came, each with the streams that came on it. */
function observe(server: Http2SecureServer): { session: ServerHttp2Session; streams: ServerHttp2Stream[] }[] {
  const sessions: { session: ServerHttp2Session; streams: ServerHttp2Stream[] }[] = [];
  server.on('session', (session) => {
    const streams: ServerHttp2Stream[] = [];
    sessions.push({ session, streams });
    session.on('stream', (stream: ServerHttp2Stream) => streams.push(stream));
  });
  return sessions;
}

/** Answers every stream with its head only, as a watch does. */
function holdOpen(server: Http2SecureServer): void {
  server.on('stream', (stream: ServerHttp2Stream) => stream.respond({ ':status': 200 }));
}

describe('streams are spread over sessions', () => {
  test('a second session is opened when the first is full, short of the cap of the server', async () => {
    const { server, port } = await fixture.http2({ settings: { maxConcurrentStreams: 10 } });
    const sessions = observe(server);
    holdOpen(server);
    const upstream = fixture.upstream(accessTo({ port }));
    const open = () => upstream.open({ path: '/watch', signal });
    const bodies = await Promise.all(Array.from({ length: 8 }, open));
    expect(sessions.map(({ streams }) => streams.length)).toEqual([6, 2]);
    // A place that becomes free is used again.
    const closed = once(sessions[0]!.streams[0]!, 'close');
    bodies[0]!.body.destroy();
    await closed;
    await open();
    expect(sessions.map(({ streams }) => streams.length)).toEqual([7, 2]);
  });

  test('never more than 96 on one, whatever the server allows', async () => {
    const { server, port } = await fixture.http2({ settings: { maxConcurrentStreams: 1000 } });
    const sessions = observe(server);
    holdOpen(server);
    const upstream = fixture.upstream(accessTo({ port }));
    await Promise.all(Array.from({ length: 100 }, () => upstream.open({ path: '/watch', signal })));
    expect(sessions.map(({ streams }) => streams.length)).toEqual([96, 4]);
  });

  test('a server that allows very few is still used', async () => {
    const { server, port } = await fixture.http2({ settings: { maxConcurrentStreams: 1 } });
    const sessions = observe(server);
    holdOpen(server);
    const upstream = fixture.upstream(accessTo({ port }));
    await Promise.all([1, 2, 3].map(() => upstream.open({ path: '/watch', signal })));
    expect(sessions.map(({ streams }) => streams.length)).toEqual([1, 1, 1]);
  });

  test('at the bound on sessions a request is refused at once', async () => {
    const { server, port } = await fixture.http2({ settings: { maxConcurrentStreams: 5 } });
    holdOpen(server);
    const upstream = fixture.upstream(accessTo({ port }), { maxSessions: 2 });
    await Promise.all([1, 2].map(() => upstream.open({ path: '/watch', signal })));
    await expect(upstream.open({ path: '/watch', signal })).rejects.toMatchObject({
      name: 'UpstreamBusy',
      code: 'upstream_busy',
    });
  });
});

describe('sessions that end', () => {
  test('after GOAWAY open streams live on and new ones go elsewhere', async () => {
    const { server, port } = await fixture.http2();
    const sessions = observe(server);
    holdOpen(server);
    const upstream = fixture.upstream(accessTo({ port }));
    const { body } = await upstream.open({ path: '/watch', signal });
    const first = sessions[0]!;
    first.session.goaway(constants.NGHTTP2_NO_ERROR);
    // Its bytes come after the GOAWAY on the same connection.
    first.streams[0]!.write('still here');
    await once(body, 'readable');
    await upstream.open({ path: '/watch', signal });
    expect(sessions.map(({ streams }) => streams.length)).toEqual([1, 1]);
    first.streams[0]!.end(', and on');
    expect(await text(body)).toBe('still here, and on');
  });

  test('a stream that GOAWAY left unprocessed is sent again on another session', async () => {
    const { server, port } = await fixture.http2();
    const sessions = observe(server);
    server.on('stream', (stream: ServerHttp2Stream, headers) => {
      const unprocessed = headers[':path'] === '/second' && sessions.length === 1;
      if (unprocessed) sessions[0]!.session.goaway(constants.NGHTTP2_NO_ERROR, 1);
      else stream.respond({ ':status': 200 });
    });
    const upstream = fixture.upstream(accessTo({ port }));
    const first = await upstream.open({ path: '/first', signal });
    expect((await upstream.open({ path: '/second', method: 'POST', body: 'x', signal })).status).toBe(200);
    expect(sessions).toHaveLength(2);
    sessions[0]!.streams[0]!.end('whole');
    expect(await text(first.body)).toBe('whole');
  });

  test('a refused stream is sent again, but not for ever', async () => {
    const { server, port } = await fixture.http2();
    let hits = 0;
    server.on('stream', (stream: ServerHttp2Stream) => {
      hits += 1;
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
    });
    const upstream = fixture.upstream(accessTo({ port }));
    await expect(upstream.open({ path: '/', signal })).rejects.toMatchObject({ name: 'UpstreamBusy' });
    expect(hits).toBe(4);
  });

  test('any other failure before the head is not sent again', async () => {
    const { server, port } = await fixture.http2();
    let hits = 0;
    server.on('stream', (stream: ServerHttp2Stream) => {
      hits += 1;
      stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    });
    const upstream = fixture.upstream(accessTo({ port }));
    await expect(upstream.open({ path: '/', method: 'POST', signal })).rejects.toMatchObject({
      name: 'UpstreamInterrupted',
    });
    expect(hits).toBe(1);
  });

  test('a lost connection is an error on its streams, and the next request dials anew', async () => {
    const { server, port } = await fixture.http2();
    const sessions = observe(server);
    const sockets: TLSSocket[] = [];
    server.on('secureConnection', (socket) => sockets.push(socket));
    holdOpen(server);
    const upstream = fixture.upstream(accessTo({ port }));
    const { body } = await upstream.open({ path: '/watch', signal });
    sockets[0]!.destroy();
    await expect(buffer(body)).rejects.toMatchObject({ code: 'upstream_interrupted' });
    await upstream.open({ path: '/watch', signal });
    expect(sessions).toHaveLength(2);
  });

  test('a session that does not answer a PING is given up, with its streams', async () => {
    const { server, port } = await fixture.http2();
    holdOpen(server);
    const frozen = await freezableProxy(port);
    const upstream = fixture.upstream(accessTo({ port: frozen.port }), { pingMs: 30 });
    const { body } = await upstream.open({ path: '/watch', signal });
    frozen.freeze();
    await expect(buffer(body)).rejects.toMatchObject({ code: 'upstream_interrupted' });
    await vi.waitFor(() => expect(fixture.problems).toMatchObject([{ code: 'upstream_interrupted' }]));
    expect(fixture.problems[0]?.message).toContain('PING');
  });

  test('a session that answers its PINGs lives', async () => {
    const { server, port } = await fixture.http2();
    holdOpen(server);
    const pings: unknown[] = [];
    const enough = new Promise<void>((resolve) => {
      server.on('session', (session) => session.on('ping', (payload) => pings.push(payload) === 4 && resolve()));
    });
    const upstream = fixture.upstream(accessTo({ port }), { pingMs: 20 });
    const { body } = await upstream.open({ path: '/watch', signal });
    await enough;
    expect(body.destroyed).toBe(false);
  });

  test('an idle session is closed, one in use is not', async () => {
    const { server, port } = await fixture.http2();
    const sessions = observe(server);
    server.on('stream', (stream: ServerHttp2Stream) => {
      stream.respond({ ':status': 200 });
      setTimeout(() => stream.end('x'), 60);
    });
    const upstream = fixture.upstream(accessTo({ port }), { idleMs: 30 });
    const { body } = await upstream.open({ path: '/', signal });
    expect(await text(body)).toBe('x');
    await once(sessions[0]!.session, 'close');
    expect(sessions).toHaveLength(1);
  });

  test('close ends the streams and refuses new requests', async () => {
    const { server, port } = await fixture.http2();
    holdOpen(server);
    const upstream = fixture.upstream(accessTo({ port }));
    const { body } = await upstream.open({ path: '/watch', signal });
    upstream.close();
    await expect(buffer(body)).rejects.toMatchObject({ code: 'upstream_interrupted' });
    await expect(upstream.open({ path: '/', signal })).rejects.toMatchObject({
      name: 'UpstreamUnreachable',
      code: 'closed',
    });
    expect(() => upstream.forward({ method: 'GET', path: '/', headers: {}, identity: 'own' })).toThrow('shutting down');
    expect(fixture.problems).toEqual([]);
  });
});

describe('flow control', () => {
  test('a watch that is not read takes 10 MB without holding up the server or its neighbours', async () => {
    const { server, port } = await fixture.http2();
    const size = 10 * 1024 * 1024;
    const sent = new Promise<void>((resolve) => {
      server.on('stream', (stream: ServerHttp2Stream, headers) => {
        stream.respond({ ':status': 200 });
        if (headers[':path'] === '/small') stream.end('small');
        else stream.end(Buffer.alloc(size), resolve);
      });
    });
    const upstream = fixture.upstream(accessTo({ port }));
    const { body } = await upstream.open({ path: '/big', signal });
    await sent;
    expect(await text((await upstream.open({ path: '/small', signal })).body)).toBe('small');
    expect((await buffer(body)).length).toBe(size);
  });
});

describe('whose connection', () => {
  test('requests without the own credential never travel with the own client certificate', async () => {
    const { server, port } = await fixture.http2({
      requestCert: true,
      rejectUnauthorized: false,
      ca: authority.certificate,
    });
    const names: (string | undefined)[] = [];
    server.on('stream', (stream: ServerHttp2Stream) => {
      const { CN } = (stream.session!.socket as TLSSocket).getPeerCertificate().subject ?? {};
      names.push(CN?.toString());
      stream.respond({ ':status': 200 }, { endStream: true });
    });
    const upstream = fixture.upstream(accessTo({ port, user: certificateUser(authority.client('dogwatch')) }));
    await upstream.open({ path: '/', signal });
    await upstream.open({ path: '/', signal, ownCredential: false, headers: { authorization: 'Bearer caller' } });
    await upstream.open({ path: '/', signal });
    expect(names).toEqual(['dogwatch', undefined, 'dogwatch']);
  });
});

describe('servers that do not get far', () => {
  test('TLS without HTTP/2 settings is a timeout', async () => {
    const server = createTlsServer({ ...serverTls, ALPNProtocols: ['h2'] }, (socket) =>
      socket.on('error', () => undefined),
    );
    const port = await fixture.listen(server);
    const upstream = fixture.upstream(accessTo({ port }), { connectTimeoutMs: 50 });
    await expect(upstream.open({ path: '/', signal })).rejects.toMatchObject({
      name: 'UpstreamUnreachable',
      code: 'timeout',
    });
  });

  test('one that closes after the handshake', async () => {
    const server = createTlsServer({ ...serverTls, ALPNProtocols: ['h2'] }, (socket) => socket.destroy());
    const port = await fixture.listen(server);
    const upstream = fixture.upstream(accessTo({ port }));
    await expect(upstream.open({ path: '/', signal })).rejects.toMatchObject({ code: 'connection_lost' });
  });

  test('an abort while dialing rejects at once with its reason', async () => {
    const server = createServer();
    const port = await fixture.listen(server);
    const controller = new AbortController();
    const upstream = fixture.upstream(accessTo({ port }));
    const opening = upstream.open({ path: '/', signal: controller.signal });
    const reason = new Error('enough');
    server.once('connection', () => controller.abort(reason));
    await expect(opening).rejects.toBe(reason);
  });
});

/** A relay to `port` that stops passing bytes on, as a network does that drops packets. */
async function freezableProxy(port: number): Promise<{ port: number; freeze(): void }> {
  const pairs: [Socket, Socket][] = [];
  const server = createServer((client) => {
    const target = connect(port, '127.0.0.1');
    pairs.push([client, target]);
    client.pipe(target).pipe(client);
    client.on('error', () => target.destroy()).on('close', () => target.destroy());
    target.on('error', () => client.destroy()).on('close', () => client.destroy());
  });
  return {
    port: await fixture.listen(server),
    freeze: () => {
      for (const [client, target] of pairs) {
        client.unpipe(target);
        target.unpipe(client);
      }
    },
  };
}
