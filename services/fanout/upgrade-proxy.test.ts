import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { certificateCaller, ProxyFixture, type ProxyOptions } from './proxy-fixture.ts';

let fixture: ProxyFixture;

beforeEach(() => {
  fixture = new ProxyFixture();
});

afterEach(() => fixture.close());

const SWITCHING =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4\r\n\r\n';

function requestHead({ method = 'POST', upgrade = 'SPDY/3.1', more = '' } = {}): string {
  return `${method} /exec?command=sh HTTP/1.1\r\nHost: dogwatch\r\nConnection: Upgrade\r\nUpgrade: ${upgrade}\r\n${more}\r\n`;
}

/** A client of dogwatch and what upstream sees of its upgrade. */
async function startUpgrade({ upstream, ...options }: Partial<ProxyOptions> = {}) {
  const { front, upstreamServer } = await fixture.start({ upstream: upstream ?? (() => undefined), ...options });
  // A listener for requests gets those upgrades too that nobody takes.
  const upgraded = new Promise<{ request: IncomingMessage; server: Duplex; head: Buffer }>((resolve) => {
    if (upstream !== undefined) return;
    upstreamServer?.on('upgrade', (request, server: Duplex, head: Buffer) => {
      server.on('error', () => undefined);
      // As Go's servers: a FIN is not answered by one.
      server.allowHalfOpen = true;
      resolve({ request, server, head });
    });
  });
  const client: TLSSocket = await front.tls({ ALPNProtocols: ['http/1.1'], allowHalfOpen: true } as object);
  return { front, client, upgraded };
}

/** A tunnel, its 101 read. */
async function startTunnel() {
  const { client, upgraded } = await startUpgrade();
  client.write(requestHead());
  const { request, server, head } = await upgraded;
  server.write(SWITCHING);
  const [answer] = (await once(client, 'data')) as [Buffer];
  client.pause();
  return { client, server, request, head, answer: answer.toString() };
}

/** Everything until the end, as text. */
async function answerOf(client: TLSSocket): Promise<{ head: string; body: string }> {
  const [head = '', body = ''] = (await text(client)).split('\r\n\r\n', 2);
  return { head, body };
}

describe('an upgrade that upstream agrees to', () => {
  test('is asked for as the client did, and answered as upstream did', async () => {
    const { request, answer } = await startTunnel();
    expect(request).toMatchObject({
      method: 'POST',
      url: '/exec?command=sh',
      headers: { connection: 'Upgrade', upgrade: 'SPDY/3.1' },
    });
    expect(answer.split('\r\n').toSorted()).toEqual([
      '',
      '',
      'HTTP/1.1 101 Switching Protocols',
      'connection: Upgrade',
      'upgrade: SPDY/3.1',
      'x-stream-protocol-version: v4',
    ]);
  });

  test('carries what either side sent right behind its head', async () => {
    const { client, upgraded } = await startUpgrade();
    client.write(`${requestHead({ method: 'GET', upgrade: 'websocket' })}early client`);
    const { server, head } = await upgraded;
    server.write(`${SWITCHING}early server`);
    const seen = head.length > 0 ? head : ((await once(server, 'data')) as [Buffer])[0];
    expect(seen.toString()).toBe('early client');
    server.end();
    expect(await text(client)).toMatch(/early server$/);
  });

  test('carries 10 MB each way', async () => {
    const { client, server } = await startTunnel();
    const [up, down] = [randomBytes(10 * 1024 * 1024), randomBytes(10 * 1024 * 1024)];
    client.end(up);
    server.end(down);
    const [atServer, atClient] = await Promise.all([buffer(server), buffer(client)]);
    const sum = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    expect([sum(atServer), sum(atClient)]).toEqual([sum(up), sum(down)]);
  });

  test('a client that has said all still hears the answer', async () => {
    const { client, server } = await startTunnel();
    client.end('question');
    expect(await text(server)).toBe('question');
    server.end('answer');
    expect(await text(client)).toBe('answer');
  });

  test('a server that has said all still hears the client', async () => {
    const { client, server } = await startTunnel();
    server.end('bye');
    expect(await text(client)).toBe('bye');
    client.end('thanks');
    expect(await text(server)).toBe('thanks');
  });

  test('a reader that stops holds up the writer', async () => {
    const { server } = await startTunnel();
    const chunk = Buffer.alloc(64 * 1024);
    let sent = 0;
    while (sent < 256 * 1024 * 1024) {
      if (!server.write(chunk) && !(await drains(server))) break;
      sent += chunk.length;
    }
    expect(sent).toBeLessThan(64 * 1024 * 1024);
  });

  test.each(['client', 'server'] as const)('a %s that is gone takes the other with it', async (who) => {
    const ends = await startTunnel();
    const other = who === 'client' ? ends.server : ends.client;
    const closed = new Promise((resolve) => other.once('close', () => resolve('closed')));
    other.on('error', () => undefined).resume();
    ends[who].destroy();
    // What looks like a half-close shows itself as soon as somebody writes.
    const writing = setInterval(() => other.write('anybody there?'), 5);
    expect(await closed).toBe('closed');
    clearInterval(writing);
  });
});

describe('an upgrade that upstream does not agree to', () => {
  test.each([
    ['with a length', { 'content-length': '7' }, 'content-length: 7'],
    ['without', {}, 'transfer-encoding: chunked'],
  ])('its answer is an ordinary one, %s, and both sides are closed', async (_what, headers, framing) => {
    let upstreamClosed: Promise<unknown> | undefined;
    const { client } = await startUpgrade({
      upstream: (request, response) => {
        upstreamClosed = once(request.socket, 'close');
        response.writeHead(403, { 'x-why': 'rights', ...headers }).end('no way!');
      },
    });
    // SPDY clients do not wait: what they send must not be taken for another request.
    client.write(`${requestHead()}GET /smuggled HTTP/1.1\r\n\r\n`);
    const { head, body } = await answerOf(client);
    client.end();
    expect(head).toMatch(/^HTTP\/1.1 403 Forbidden\r\n/);
    expect(head).toContain('x-why: rights');
    expect(head).toContain('connection: close');
    expect(head).toContain(framing);
    expect(body).toContain('no way!');
    expect(body.endsWith(framing.startsWith('transfer') ? '\r\n0' : 'no way!')).toBe(true);
    await upstreamClosed;
  });

  test('an answer that breaks off does not end cleanly', async () => {
    const { client } = await startUpgrade({
      upstream: (_request, response) => {
        response.write('half of', () => setTimeout(() => response.destroy(), 20));
      },
    });
    client.write(requestHead());
    const { body } = await answerOf(client);
    expect(body).toContain('half of');
    expect(body).not.toContain('\r\n0');
  });

  test('a refusal dressed up with upgrade headers opens no tunnel (CVE-2018-1002105)', async () => {
    const { client, upgraded } = await startUpgrade();
    client.write(requestHead());
    const { server } = await upgraded;
    const tunnelled = text(server);
    server.once('end', () => server.end());
    server.write('HTTP/1.1 403 Forbidden\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 2\r\n\r\nno');
    client.once('data', () => client.write('GET /smuggled HTTP/1.1\r\n\r\n'));
    const { head, body } = await answerOf(client);
    client.end();
    expect(head).toMatch(/^HTTP\/1.1 403 /);
    expect(head).toContain('connection: close');
    expect(head).not.toContain('upgrade:');
    expect(body).toBe('no');
    expect(await tunnelled).toBe('');
  });

  test('a redirect is not passed on (CVE-2020-8559)', async () => {
    const { client } = await startUpgrade({
      upstream: (_request, response) => response.writeHead(302, { location: 'https://attacker/' }).end(),
    });
    client.write(requestHead());
    const answer = await text(client);
    expect(answer).toContain('HTTP/1.1 502');
    expect(answer).not.toContain('attacker');
  });

  test('a 401 to dogwatch’s own credential is not the caller’s', async () => {
    const { client } = await startUpgrade({
      upstream: (_request, response) => response.writeHead(401).end(),
      caller: certificateCaller,
    });
    client.write(requestHead());
    expect((await answerOf(client)).head).toContain('HTTP/1.1 503');
  });
});

describe('an upgrade that does not get upstream', () => {
  test.each([
    ['another method', requestHead({ method: 'PUT' }), 405],
    ['another protocol', requestHead({ upgrade: 'SPDY/99' }), 400],
    ['a body', requestHead({ more: 'Content-Length: 3\r\n' }), 400],
    ['a chunked body', requestHead({ more: 'Transfer-Encoding: chunked\r\n' }), 400],
  ])('%s is refused', async (_what, head, status) => {
    let hits = 0;
    const { client } = await startUpgrade({ upstream: () => (hits += 1) });
    client.write(head);
    const answer = await answerOf(client);
    expect(answer.head).toContain(`HTTP/1.1 ${status} `);
    expect(JSON.parse(answer.body)).toMatchObject({ kind: 'Status', code: status });
    expect(hits).toBe(0);
  });

  test('impersonation by a certificate caller is refused', async () => {
    const { client } = await startUpgrade({ caller: certificateCaller });
    client.write(requestHead({ more: 'Impersonate-User: admin\r\n' }));
    expect((await answerOf(client)).head).toContain('HTTP/1.1 403 ');
  });

  test('an unreachable kube-apiserver is a 503', async () => {
    const refusing = createTcpServer();
    const port = await fixture.listen(refusing);
    await new Promise((resolve) => refusing.close(resolve));
    const { client } = await startUpgrade({ upstream: port });
    client.write(requestHead());
    const { head, body } = await answerOf(client);
    expect(head).toContain('HTTP/1.1 503 ');
    expect(head).toContain('retry-after: 1');
    expect(JSON.parse(body)).toMatchObject({ message: 'dogwatch cannot reach kube-apiserver' });
  });

  test('a client that goes away before the answer takes its request with it', async () => {
    const { client, upgraded } = await startUpgrade();
    client.write(requestHead());
    const { server } = await upgraded;
    const closed = new Promise((resolve) => server.once('close', () => resolve('closed')));
    server.resume().once('end', () => server.end());
    client.destroy();
    expect(await closed).toBe('closed');
  });

  test('a certificate caller’s upgrade is dogwatch impersonating them', async () => {
    const { client, upgraded } = await startUpgrade({ caller: certificateCaller });
    client.write(requestHead({ more: 'Authorization: Bearer junk\r\n' }));
    const { request } = await upgraded;
    expect(request.headers).toMatchObject({ authorization: 'Bearer own', 'impersonate-user': 'jane' });
  });
});

/** False if nothing was taken for 300 ms. */
function drains(stream: Duplex): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), 300);
    stream.once('drain', () => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}
