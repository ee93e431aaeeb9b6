// Rows about connections, heads and refusals, each done at kube-apiserver itself and through dogwatch.
import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2, constants, type Settings } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Endpoint } from '../support/kube-client.ts';
import { Sides } from './sides.ts';
import { NEEDS_DOGWATCH, Stage } from './stage.ts';

const MAPS = '/api/v1/namespaces/rows/configmaps';
const FUTURE = '9999999999999';
const SIE = 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan';

let stage: Stage;
let sides: Sides;
const sessions: ClientHttp2Session[] = [];

beforeAll(async () => {
  sides = await Sides.start();
  ({ stage } = sides);
  await stage.plane.admin.create('/api/v1/namespaces', { metadata: { name: 'rows' } });
  for (const name of ['a', 'b']) await stage.plane.admin.create(MAPS, { metadata: { name } });
});

afterEach(() => {
  sides?.closeWatches();
  for (const session of sessions.splice(0)) session.destroy();
});

afterAll(() => sides?.stop());

const both = (): Endpoint[] => [stage.plane.endpoint, stage.through];

function dial({ server, ca }: Endpoint): ClientHttp2Session {
  const session = connectHttp2(server, { ca });
  session.on('error', () => {});
  sessions.push(session);
  return session;
}

async function statusOf(session: ClientHttp2Session, path: string): Promise<number> {
  const stream = session.request({ ':path': path, authorization: `Bearer ${stage.plane.token('admin')}` });
  const [headers] = (await once(stream, 'response')) as [{ ':status': number }];
  stream.resume();
  if (!stream.closed) await once(stream, 'close');
  expect(stream.rstCode).toBe(0);
  return headers[':status'];
}

describe('refusals and views', () => {
  const table = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' };
  test.each<[row: string, path: string, status: number, headers?: Record<string, string>]>([
    ['G7: no such path', '/none/such', 404],
    ['O5: a subresource', '/api/v1/namespaces/rows/status', 200],
    ['N2: a Table, without its ages', `/api/v1/namespaces/none/configmaps`, 200, table],
    ['S1: a field label of a built-in type', '/api/v1/namespaces/rows/pods?fieldSelector=spec.nodeName%3Dx', 200],
    ['S3: an unknown field label', `${MAPS}?fieldSelector=spec.absent%3Dx`, 400],
    ['N1: an Accept with qualities', MAPS, 200, { accept: 'application/cbor;q=0.9,application/json;q=0.7' }],
    ['G9: no acceptable type', MAPS, 406, { accept: 'text/html' }],
    ['N7: a list', `${MAPS}?resourceVersion=0`, 200],
  ])('%s', async (_row, path, status, headers = {}) => {
    const answer = await sides.expectSame(path, { status, headers });
    expect(answer.status).toBe(status);
  });

  test('G8: a method that a collection has not', async () => {
    const answers = [];
    for (const client of [sides.direct, sides.through]) answers.push(await client.request('PUT', MAPS, { body: {} }));
    expect(answers[1]).toMatchObject({ status: 405, body: answers[0]?.body });
    expect(answers[0]?.status).toBe(405);
  });

  test('W11: what fails behind the head of a watch is an event', async () => {
    const pair = await sides.watch(`${MAPS}?watch=1&${SIE}&resourceVersion=${FUTURE}`);
    for (const watch of [pair.direct, pair.through]) {
      expect(watch.status).toBe(200);
      expect(await watch.next()).toMatchObject({ type: 'ERROR', object: { code: 504, reason: 'Timeout' } });
      expect(await watch.next()).toBeUndefined();
    }
  });

  test('W18, W22: watching is a right of its own, and its selectors are part of the question', async () => {
    for (const query of ['watch=1', 'watch=1&fieldSelector=metadata.name%3Da']) {
      const bodies = [];
      for (const endpoint of both()) {
        const nobody = stage.plane.client('nobody', endpoint);
        const { status, body } = await nobody.request('GET', `${MAPS}?${query}`);
        nobody.close();
        expect(status).toBe(403);
        bodies.push(body);
      }
      expect(bodies[1]).toBe(bodies[0]);
      expect(bodies[1]).toContain('cannot watch resource');
    }
  });

  test('W21: a watch of events', async () => {
    const path = '/api/v1/namespaces/rows/events?watch=1&timeoutSeconds=10';
    const pair = await sides.watch(path);
    await stage.plane.admin.create('/api/v1/namespaces/rows/events', {
      metadata: { name: 'one' },
      involvedObject: { kind: 'ConfigMap', namespace: 'rows', name: 'a' },
    });
    const [event] = await sides.expectSameNext(pair, 1);
    expect(event).toMatchObject({ type: 'ADDED', object: { metadata: { name: 'one' } } });
  });

  test.skipIf(NEEDS_DOGWATCH !== undefined)('H3: only upstream’s own answers name a priority level', async () => {
    const level = async (path: string) =>
      (await sides.through.request('GET', path)).headers['x-kubernetes-pf-flowschema-uid'];
    expect(await level(`${MAPS}/a`)).toMatch(/^[\da-f-]{36}$/);
    expect(await level(`${MAPS}?resourceVersion=0`)).toBeUndefined();
  });

  test('H5: nothing has an ETag', async () => {
    for (const client of [sides.direct, sides.through]) {
      const { headers } = await client.request('GET', MAPS);
      expect(headers['etag']).toBeUndefined();
      expect(headers['last-modified']).toBeUndefined();
    }
  });

  test('H10: a list that is not done by its deadline is 504', async () => {
    const path = `${MAPS}?resourceVersion=${FUTURE}&resourceVersionMatch=NotOlderThan&timeout=1s`;
    for (const client of [sides.direct, sides.through]) expect((await client.request('GET', path)).status).toBe(504);
  });
});

describe('connections', () => {
  test('H6, H7: streams are bounded, each side at its own number, and a head of 32 KiB is taken', async () => {
    for (const endpoint of both()) {
      const session = dial(endpoint);
      const [settings] = (await once(session, 'remoteSettings')) as [Settings];
      expect(settings.maxConcurrentStreams).toBeGreaterThanOrEqual(100);
      expect(settings.initialWindowSize).toBeGreaterThanOrEqual(64 * 1024);
      expect(await statusOf(session, `${MAPS}?foo=${'x'.repeat(32 * 1024)}`)).toBe(200);
    }
  });

  test('H7: below TLS 1.2 there is no connection', async () => {
    for (const { server, ca } of both()) {
      const port = Number(new URL(server).port);
      const options = { host: '127.0.0.1', port, ca, minVersion: 'TLSv1', maxVersion: 'TLSv1.1' } as const;
      const socket = connectTls({ ...options, ciphers: 'DEFAULT@SECLEVEL=0' });
      await expect(once(socket, 'secureConnect')).rejects.toThrow(/SSL|TLS|ECONNRESET|disconnected/i);
      socket.destroy();
    }
  });

  test('H8: a PING is answered', async () => {
    for (const endpoint of both()) {
      const session = dial(endpoint);
      await once(session, 'remoteSettings');
      const payload = Buffer.from('dogwatch');
      const answered = Promise.withResolvers<Buffer>();
      session.ping(payload, (error, _ms, echoed) => (error ? answered.reject(error) : answered.resolve(echoed)));
      expect(await answered.promise).toEqual(payload);
    }
  });

  test('H13: nothing bounds the watches of a user but what the connections carry', async () => {
    const watches = await Promise.all(
      both().flatMap((endpoint) =>
        Array.from({ length: 300 }, () => sides.watchAt(endpoint, `${MAPS}?watch=1&resourceVersion=0`)),
      ),
    );
    expect(watches.filter(({ status }) => status !== 200)).toEqual([]);
  });

  test('H12: open watches take no place from other requests', async () => {
    for (const endpoint of both()) {
      await Promise.all(
        Array.from({ length: 100 }, () => sides.watchAt(endpoint, `${MAPS}?watch=1&resourceVersion=0`)),
      );
      const session = dial(endpoint);
      const statuses = await Promise.all(Array.from({ length: 20 }, () => statusOf(session, MAPS)));
      expect(new Set(statuses)).toEqual(new Set([200]));
    }
  });
});

describe('H9: --goaway-chance', () => {
  const flags = ['--goaway-chance=0.02'];
  let often: Stage;

  beforeAll(async () => {
    often = await Stage.start({ apiserverFlags: flags, dogwatchFlags: flags });
  });

  afterAll(() => often?.stop());

  test('a connection gets GOAWAY sooner or later; no request is lost, and its watches go on', async () => {
    for (const endpoint of [often.plane.endpoint, often.through]) {
      const authorization = `Bearer ${often.plane.token('admin')}`;
      const session = dial(endpoint);
      let goneAway: number | undefined;
      session.once('goaway', (code: number) => (goneAway = code));
      const path = '/api/v1/namespaces?watch=1&resourceVersion=0';
      const watch = session.request({ ':path': path, authorization });
      const [head] = (await once(watch, 'response')) as [{ ':status': number }];
      expect(head[':status']).toBe(200);
      let text = '';
      watch.setEncoding('utf8').on('data', (part: string) => (text += part));
      // 0.98 to the power of 2,000 is one in 10^17.
      for (let sent = 0; sent < 2_000 && goneAway === undefined; sent++) {
        const stream = session.request({ ':path': '/version', authorization });
        const [answer] = (await once(stream, 'response')) as [{ ':status': number }];
        stream.resume();
        if (!stream.closed) await once(stream, 'close');
        expect([answer[':status'], stream.rstCode]).toEqual([200, constants.NGHTTP2_NO_ERROR]);
      }
      expect(goneAway).toBe(constants.NGHTTP2_NO_ERROR);
      const name = `after-${new URL(endpoint.server).port}`;
      await often.plane.admin.create('/api/v1/namespaces', { metadata: { name } });
      await expect.poll(() => text, { timeout: 10_000 }).toContain(name);
    }
  }, 60_000);
});
