// How watches travel, and what stands in the heads of answers: each case is done at kube-apiserver itself and through
// dogwatch.
import { randomUUID } from 'node:crypto';
import { type CaseEvent, CaseWatch } from '@dogwatch/bench/case-watch.ts';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { KubeClient } from '../support/kube-client.ts';
import { readWebSocket } from '../support/web-socket-watch.ts';
import { Sides, initialEvents } from './sides.ts';
import type { Stage } from './stage.ts';

const SIE = 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan';
const WATCH_LIST = `watch=1&allowWatchBookmarks=true&${SIE}`;
const CONFIG_MAPS = '/api/v1/namespaces/wire/configmaps';

let stage: Stage;
let sides: Sides;
let admin: KubeClient;

beforeAll(async () => {
  sides = await Sides.start();
  ({ stage } = sides);
  ({ admin } = stage.plane);
  await admin.create('/api/v1/namespaces', { metadata: { name: 'wire' } });

  afterEach(() => sides?.closeWatches());

  afterAll(() => sides?.stop());
  for (const name of ['c', 'a', 'b']) await admin.create(CONFIG_MAPS, { metadata: { name }, data: { value: '0' } });
});

describe('framing', () => {
  test('F1, F7: JSON lines, and a head that comes before there is anything to say', async () => {
    const query = 'watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan';
    // It opens when its head is there.
    const pair = await sides.watch(`${CONFIG_MAPS}?${query}&fieldSelector=metadata.name%3Dnever`);
    for (const { headers } of [pair.direct, pair.through]) {
      expect(headers['content-type']).toBe('application/json');
      expect(headers['transfer-encoding']).toBe('chunked');
      expect(headers['content-length']).toBeUndefined();
    }
  });

  test('F2: a stream of protobuf names itself', async () => {
    const accept = 'application/vnd.kubernetes.protobuf';
    for (const endpoint of [stage.plane.endpoint, stage.through]) {
      const watch = await CaseWatch.open(endpoint, stage.plane.token('admin'), `${CONFIG_MAPS}?${WATCH_LIST}`, accept);
      expect(watch.headers['content-type']).toBe(`${accept};stream=watch`);
      watch.close();
    }
  });

  test('F3: there is no stream of YAML', async () => {
    const headers = { accept: 'application/yaml' };
    const { body } = await sides.expectSame(`${CONFIG_MAPS}?watch=1&resourceVersion=0`, { status: 406, headers });
    expect(body).toContain('only the following media types are accepted');
  });

  test('F5: over a WebSocket, each event is a frame', async () => {
    const path = `${CONFIG_MAPS}?watch=1&allowWatchBookmarks=1&${SIE}&resourceVersion=0`;
    const answers = [];
    for (const endpoint of [stage.plane.endpoint, stage.through]) {
      const request = { path, token: stage.plane.token('admin'), count: 3, say: 'is not listened to' };
      const { status, frames, headers } = await readWebSocket(endpoint, request);
      answers.push({ status, frames, protocol: headers['sec-websocket-protocol'] });
    }
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[1]?.status).toBe(101);
    expect(answers[1]?.frames.map((text) => (JSON.parse(text) as CaseEvent).object.metadata.name)).toEqual([
      'a',
      'b',
      'c',
    ]);
  });

  test('F5: who may not watch is refused before the upgrade', async () => {
    const request = { path: `${CONFIG_MAPS}?watch=1`, token: stage.plane.token('nobody'), count: 1 };
    const [left, right] = [
      await readWebSocket(stage.plane.endpoint, request),
      await readWebSocket(stage.through, request),
    ];
    expect([right.status, right.body]).toEqual([left.status, left.body]);
    expect(right.status).toBe(403);
  });

  test('F6: what is there at once leaves at once, in few pieces; a single event does not wait for others', async () => {
    const many = 300;
    await admin.create('/api/v1/namespaces', { metadata: { name: 'many' } });
    const path = '/api/v1/namespaces/many/configmaps';
    for (let at = 0; at < many; at += 20) {
      const names = Array.from({ length: 20 }, (_, i) => `m-${at + i}`);
      await Promise.all(names.map((name) => admin.create(path, { metadata: { name } })));
    }
    const pair = await sides.watch(`${path}?${WATCH_LIST}`);
    for (const watch of [pair.direct, pair.through]) {
      expect(await initialEvents(watch)).toHaveLength(many + 1);
      expect(watch.pieces).toBeLessThan(many / 2);
    }
    const [start, before] = [performance.now(), [pair.direct.pieces, pair.through.pieces]];
    await admin.create(path, { metadata: { name: 'single' } });
    await sides.expectSameNext(pair, 1);
    expect(performance.now() - start).toBeLessThan(2_000);
    expect([pair.direct.pieces, pair.through.pieces]).toEqual(before.map((pieces) => pieces + 1));
  });
});

describe('headers', () => {
  const requests: readonly [what: string, path: string, status: number][] = [
    ['a list from the cache', `${CONFIG_MAPS}?resourceVersion=0`, 200],
    ['a consistent list', CONFIG_MAPS, 200],
    ['an object', `${CONFIG_MAPS}/a`, 200],
    ['an object from the cache', `${CONFIG_MAPS}/a?resourceVersion=0`, 200],
    ['an object that is not there', `${CONFIG_MAPS}/absent?resourceVersion=0`, 404],
    ['a watch', `${CONFIG_MAPS}?watch=1&resourceVersion=0&timeoutSeconds=1`, 200],
    ['a bad query', `${CONFIG_MAPS}?limit=x`, 400],
    ['an invalid query', `${CONFIG_MAPS}?resourceVersionMatch=Exact`, 422],
    ['an unknown path', '/apis/none.example.com/v1/things', 404],
    ['O4: an export', `${CONFIG_MAPS}/a?export=true&resourceVersion=0`, 400],
  ];

  test.each(requests)('H1: the Audit-Id of %s is the one that was sent, or a new one', async (_, path, status) => {
    const id = randomUUID();
    const { headers } = await sides.expectSame(path, { status, headers: { 'audit-id': id } });
    expect(headers['audit-id']).toBe(id);
    const own = [];
    for (let i = 0; i < 2; i += 1) own.push((await sides.through.request('GET', path)).headers['audit-id']);
    expect(new Set(own).size).toBe(2);
    for (const made of own) expect(made).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
  });

  test.each(requests)('H2: %s is not to be kept', async (_, path, status) => {
    const { headers } = await sides.expectSame(path, { status });
    const direct = await sides.direct.request('GET', path);
    expect(headers['cache-control']).toBe(direct.headers['cache-control']);
    expect(headers['cache-control']).toBe('no-cache, private');
  });

  test.each([
    `${CONFIG_MAPS}/a?export=true&resourceVersion=0`,
    `${CONFIG_MAPS}/a?exact=true&resourceVersion=0`,
    `${CONFIG_MAPS}/a?resourceVersionMatch=Exact&resourceVersion=0`,
    `${CONFIG_MAPS}/a?resourceVersionMatch=Odd&resourceVersion=0`,
  ])('O4: %s', async (path) => {
    const { status } = await sides.direct.request('GET', path);
    const answer = await sides.expectSame(path, { status });
    expect(answer.status).toBe(status);
  });
});
