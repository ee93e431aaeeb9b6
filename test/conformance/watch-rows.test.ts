// Rows of the watch protocol as clients see them: each case is done at kube-apiserver itself and through dogwatch.
import { randomUUID } from 'node:crypto';
import { type CaseEvent, CaseWatch, summary } from '@dogwatch/bench/case-watch.ts';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { KubeClient } from '../support/kube-client.ts';
import { NEEDS_ETCD } from '../support/kine.ts';
import { byResource } from '../support/prometheus-text.ts';
import { CustomResource } from './custom-resource.ts';
import { Sides, initialEvents } from './sides.ts';
import { NEEDS_DOGWATCH, type Stage, UPSTREAM_READERS } from './stage.ts';

const SIE = 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan';
const WATCH_LIST = `watch=1&allowWatchBookmarks=true&${SIE}`;
const CONFIG_MAPS = '/api/v1/namespaces/rows/configmaps';

let stage: Stage;
let sides: Sides;
let admin: KubeClient;

beforeAll(async () => {
  sides = await Sides.start();
  ({ stage } = sides);
  ({ admin } = stage.plane);
  await admin.create('/api/v1/namespaces', { metadata: { name: 'rows' } });

  afterEach(() => sides?.closeWatches());

  afterAll(() => sides?.stop());
  for (const name of ['c', 'a', 'b']) await write(name, '0');
});

/** Creates a config map, or gives it another value; its version. */
async function write(name: string, value: string): Promise<string> {
  const { status } = await admin.request('GET', `${CONFIG_MAPS}/${name}`);
  const { metadata } =
    status === 404
      ? await admin.create(CONFIG_MAPS, { metadata: { name }, data: { value } })
      : await admin.mergePatch(`${CONFIG_MAPS}/${name}`, { data: { value } });
  return metadata.resourceVersion;
}

describe('the start of a watch', () => {
  test.each([
    'sendInitialEvents=true',
    'sendInitialEvents=false',
    'sendInitialEvents=true&resourceVersionMatch=Exact&resourceVersion=1',
    'resourceVersionMatch=NotOlderThan',
    'resourceVersionMatch=NotOlderThan&resourceVersion=1',
    `${SIE}&continue=abc`,
    'resourceVersionMatch=Odd',
  ])('W1: %s is refused as kube-apiserver refuses it', async (query) => {
    const { body } = await sides.expectSame(`${CONFIG_MAPS}?watch=1&${query}`, { status: 422 });
    expect(JSON.parse(body)).toMatchObject({ reason: 'Invalid' });
  });

  test('W1: limit is ignored', async () => {
    const pair = await sides.watch(`${CONFIG_MAPS}?${WATCH_LIST}&limit=1`);
    expect(await initialEvents(pair.through)).toEqual(await initialEvents(pair.direct));
  });

  test.each([
    ['W2', 'watch=1&allowWatchBookmarks=1'],
    ['W2', 'watch=true&allowWatchBookmarks=true&resourceVersion=0'],
    ['W4', WATCH_LIST],
    ['W5', `${WATCH_LIST}&resourceVersion=0`],
    ['W5', `${WATCH_LIST}&resourceVersion=1`],
  ])('%s: %s sends the objects in key order and the annotated bookmark', async (_, query) => {
    const pair = await sides.watch(`${CONFIG_MAPS}?${query}`);
    const events = await initialEvents(pair.through);
    expect(events).toEqual(await initialEvents(pair.direct));
    expect(summary(events)).toEqual(['ADDED a', 'ADDED b', 'ADDED c', 'BOOKMARK']);
  });

  test.each([
    ['W2: without bookmarks', `${CONFIG_MAPS}?watch=1`],
    ['W3: under the old prefix', `/api/v1/watch/namespaces/rows/configmaps?allowWatchBookmarks=1`],
    ['W3: under the old prefix, by name', `/api/v1/watch/namespaces/rows/configmaps/a`],
    ['W4: without bookmarks', `${CONFIG_MAPS}?watch=1&${SIE}`],
  ])('%s there is none: what comes next is the next change', async (_, path) => {
    const pair = await sides.watch(path);
    const total = path.endsWith('/a') ? 1 : 3;
    const events = await sides.expectSameNext(pair, total);
    expect(events.every(({ type }) => type === 'ADDED')).toBe(true);
    await write('a', randomUUID());
    const [left, right] = [await pair.direct.next(), await pair.through.next()];
    expect(right).toEqual(left);
    expect(right?.type).toBe('MODIFIED');
  });

  test('W3: the old prefix takes no sendInitialEvents', async () => {
    const { body } = await sides.expectSame(`/api/v1/watch/namespaces/rows/configmaps?${SIE}`, { status: 422 });
    expect(body).toContain('sendInitialEvents');
  });

  test('W5: of Events, upstream says at once that a version is too large', async () => {
    const { metadata } = await admin.get<{ metadata: { resourceVersion: string } }>(CONFIG_MAPS);
    const version = Number(metadata.resourceVersion) + 1_000_000;
    const path = `/api/v1/namespaces/rows/events?${WATCH_LIST}&timeoutSeconds=1&resourceVersion=${version}`;
    const start = performance.now();
    const pair = await sides.watch(path);
    for (const watch of [pair.direct, pair.through]) {
      const [event, ...more] = await watch.rest();
      expect([watch.status, event?.object.code, event?.object.reason, more.length]).toEqual([200, 504, 'Timeout', 0]);
      expect(event?.object.message).toContain(`Too large resource version: ${version}, current: `);
    }
    expect(performance.now() - start).toBeLessThan(2_500);
  });

  test.each(['', '0', 'now'])('W6: sendInitialEvents=false at version "%s" is silent', async (version) => {
    const rv = version === 'now' ? await write('b', randomUUID()) : version;
    const query = `watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=${rv}`;
    const pair = await sides.watch(`${CONFIG_MAPS}?${query}`);
    await write('a', randomUUID());
    expect(summary(await sides.expectSameNext(pair, 1))).toEqual(['MODIFIED a']);
  });

  test('W7, W16: replay, and a delete with its last state and its own version', async () => {
    const from = await write('gone', '1');
    await write('gone', '2');
    await admin.delete(`${CONFIG_MAPS}/gone`);
    const after = await write('gone', '3');
    const pair = await sides.watch(`${CONFIG_MAPS}?watch=1&resourceVersion=${from}`);
    const events = await sides.expectSameNext(pair, 3);
    expect(summary(events)).toEqual(['MODIFIED gone', 'DELETED gone', 'ADDED gone']);
    const [changed, deleted] = events;
    expect(deleted?.object.data).toEqual({ value: '2' });
    expect(Number(deleted?.object.metadata.resourceVersion)).toBeGreaterThan(
      Number(changed?.object.metadata.resourceVersion),
    );
    expect(Number(deleted?.object.metadata.resourceVersion)).toBeLessThan(Number(after));
    await admin.delete(`${CONFIG_MAPS}/gone`);
  });

  test.each(['', '&labelSelector=a%3Db', '&fieldSelector=metadata.name%3Da'])(
    'W8: from before the window, 200 and one 410 in the stream%s',
    async (selector) => {
      // What kube-apiserver itself has of built-in resources goes back to its start.
      const resource = new CustomResource(admin, `w8-${selector.length}.example.com`);
      await resource.define([{ name: 'v1', fields: {} }]);
      await resource.create('a', {});
      const pair = await sides.watch(`${resource.collection()}?watch=1&resourceVersion=1${selector}`);
      for (const watch of [pair.direct, pair.through]) {
        const [event, ...more] = await watch.rest();
        const { code, reason } = event?.object ?? {};
        expect([watch.status, event?.type, code, reason, more.length]).toEqual([200, 'ERROR', 410, 'Expired', 0]);
        expect(event?.object.message).toMatch(/^too old resource version: 1 \(\d+\)$/);
      }
      const list = await sides.direct.request('GET', `${resource.collection()}?limit=1`);
      const { metadata } = JSON.parse(list.body) as { metadata: { resourceVersion: string } };
      const resumed = await sides.watch(`${resource.collection()}?watch=1&resourceVersion=${metadata.resourceVersion}`);
      await resource.patch('a', { metadata: { labels: { a: 'b' } } });
      expect(summary(await sides.expectSameNext(resumed, 1))).toEqual(['MODIFIED a']);
    },
  );
});

describe('the end of a watch', () => {
  test('W10, W12: is clean and on time, without an ERROR event', async () => {
    const pair = await sides.watch(`${CONFIG_MAPS}?watch=1&resourceVersion=0&timeoutSeconds=2`);
    const lasted = async (watch: CaseWatch): Promise<number> => {
      const start = performance.now();
      expect((await watch.rest()).every(({ type }) => type === 'ADDED')).toBe(true);
      return performance.now() - start;
    };
    for (const ms of await Promise.all([lasted(pair.direct), lasted(pair.through)])) {
      expect(ms).toBeGreaterThan(1_500);
      expect(ms).toBeLessThan(6_000);
    }
  });

  test('W13: bookmarks about once a minute, and before the end, above everything that was sent', async () => {
    const seconds = 66;
    const query = `watch=1&allowWatchBookmarks=true&resourceVersion=${await write('a', 'start')}&timeoutSeconds=${seconds}`;
    const pair = await sides.watch(`${CONFIG_MAPS}?${query}`);
    const writing = setInterval(() => void write('a', randomUUID()), 2_000);
    const bookmarks = async (watch: CaseWatch): Promise<number> => {
      let highest = 0;
      let count = 0;
      for (;;) {
        const event = await watch.next();
        if (event === undefined) return count;
        const version = Number(event.object.metadata.resourceVersion);
        expect(version).toBeGreaterThanOrEqual(highest);
        highest = version;
        if (event.type === 'BOOKMARK') count += 1;
      }
    };
    try {
      const [left, right] = await Promise.all([bookmarks(pair.direct), bookmarks(pair.through)]);
      for (const count of [left, right]) {
        expect(count).toBeGreaterThanOrEqual(1);
        expect(count).toBeLessThanOrEqual(3);
      }
    } finally {
      clearInterval(writing);
    }
  });
});

test.each([
  ['/api/v1/pods', 'application/json'],
  ['/api/v1/nodes', 'application/json'],
  ['/api/v1/services', 'application/json'],
  ['/apis/apps/v1/deployments', 'application/json'],
  ['/apis/batch/v1/jobs', 'application/json'],
  ['/apis/coordination.k8s.io/v1/leases', 'application/json'],
  ['/api/v1/events', 'application/json'],
  ['/api/v1/pods', 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io'],
])('W14: the bookmark of %s as %s', async (path, accept) => {
  const [left, right] = await Promise.all(
    [stage.plane.endpoint, stage.through].map(async (endpoint) => {
      const watch = await CaseWatch.open(endpoint, stage.plane.token('admin'), `${path}?${WATCH_LIST}`, accept);
      const end = (await initialEvents(watch)).at(-1);
      watch.close();
      return JSON.stringify(end);
    }),
  );
  expect(right).toBe(left);
});

describe('rights', () => {
  test.each([
    ['watch', 403, 200],
    ['list', 200, 403],
  ])('W22: who may only %s may not do the other', async (verb, list, watch) => {
    const rbac = '/apis/rbac.authorization.k8s.io/v1/namespaces/rows';
    const rules = [{ apiGroups: [''], resources: ['configmaps'], verbs: [verb] }];
    await admin.create(`${rbac}/roles`, { metadata: { name: `only-${verb}` }, rules });
    await admin.create(`${rbac}/rolebindings`, {
      metadata: { name: `only-${verb}` },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: `only-${verb}` },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'nobody' }],
    });
    const clients = [stage.plane.client('nobody'), stage.client('nobody')];
    for (const client of clients) {
      const statusOf = async (query: string): Promise<number> =>
        (await client.request('GET', `${CONFIG_MAPS}?timeoutSeconds=1&${query}`)).status;
      await eventually({ what: 'the rights are known', timeoutMs: 15_000 }, async () => {
        return (await statusOf('resourceVersion=0')) === list && (await statusOf(WATCH_LIST)) === watch;
      });
      expect(await statusOf('watch=1&resourceVersion=0')).toBe(watch);
      expect(await statusOf('')).toBe(list);
      client.close();
    }
    await admin.delete(`${rbac}/rolebindings/only-${verb}`);
  });
});

describe('Events', () => {
  const events = '/api/v1/namespaces/rows/events';
  const event = (name: string): object => ({
    metadata: { name, namespace: 'rows' },
    involvedObject: { kind: 'ConfigMap', namespace: 'rows', name: 'a' },
    reason: 'Tested',
    type: 'Normal',
  });

  test.each(['/api/v1/events', '/apis/events.k8s.io/v1/events'])(
    'W21: ten watchers of %s cause one upstream watch, and see the same',
    async (path) => {
      const name = path.startsWith('/api/') ? 'first' : 'second';
      const pair = await sides.watch(`${path}?${WATCH_LIST}`);
      const more = await Promise.all(
        Array.from({ length: 9 }, (_, i) => {
          const selector = i % 3 === 0 ? '&fieldSelector=type%3DNormal' : '';
          return sides.watchAt(stage.through, `${path}?${WATCH_LIST}${selector}`);
        }),
      );
      await admin.create(events, event(name));
      const ofIt = async (watch: CaseWatch): Promise<CaseEvent> => {
        for (;;) {
          const [next] = await watch.take(1);
          if (next?.object.metadata.name === name) return next;
        }
      };
      const direct = await ofIt(pair.direct);
      for (const watch of [pair.through, ...more]) expect(await ofIt(watch)).toEqual(direct);
      if (NEEDS_DOGWATCH !== undefined) return;
      const group = path.startsWith('/api/') ? 'core/events' : 'events.k8s.io/events';
      const open = await eventually({ what: 'one watch', timeoutMs: 10_000 }, async () => {
        const counts = byResource(await stage.plane.metrics(), 'apiserver_longrunning_requests', { verb: 'WATCH' });
        // Our own one at kube-apiserver itself is counted too.
        return (counts.get(group) ?? 0) <= UPSTREAM_READERS + 1 && counts.get(group);
      });
      expect(open).toBe(UPSTREAM_READERS + 1);
    },
  );

  test('W9: a watch from a version that etcd has compacted', async (context) => {
    context.skip(NEEDS_ETCD !== undefined, NEEDS_ETCD);
    await admin.create(events, event('third'));
    const list = await admin.get<{ metadata: { resourceVersion: string } }>(events);
    const response = await fetch(`${stage.plane.etcd.server}/v3/kv/compaction`, {
      method: 'POST',
      body: JSON.stringify({ revision: list.metadata.resourceVersion }),
    });
    expect(response.status).toBe(200);
    const pair = await sides.watch(`${events}?watch=1&resourceVersion=2`);
    expect(await pair.through.rest()).toEqual(await pair.direct.rest());
    const ended = await sides.watch(`${events}?watch=1&resourceVersion=2`);
    expect((await ended.through.rest()).map(({ object }) => [object.code, object.message])).toEqual([
      [410, 'The resourceVersion for the provided watch is too old.'],
    ]);
  });
});
