import assert from 'node:assert/strict';
import { type CaseEvent, summary } from './case-watch.ts';
import { FUTURE_VERSION, type UpstreamCase, versionOf } from './upstream-case.ts';

const WATCH_LIST = 'watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan';
const END = 'k8s.io/initial-events-end';

const versions = (events: readonly CaseEvent[]) => events.map(({ object }) => versionOf(object.metadata));

/** WATCH (protocol 1.4). */
export const WATCH_CASES: readonly UpstreamCase[] = [
  {
    name: 'W7, W16: a watch from a version replays what came after it, in order, and goes on live',
    run: async ({ configMaps, create, update, remove, watch }) => {
      await create('a');
      const from = await update('a', '1');
      await create('b');
      await update('b', '1');
      await remove('a');
      const stream = await watch(`${configMaps}?watch=1&resourceVersion=${from}`);
      assert.equal(stream.headers['content-type'], 'application/json');
      const replayed = await stream.take(3);
      assert.deepEqual(summary(replayed), ['ADDED b', 'MODIFIED b', 'DELETED a']);
      assert.equal(replayed[2]?.object.data?.['value'], '1');
      await create('c');
      const all = [...replayed, ...(await stream.take(1))];
      assert.deepEqual(summary(all.slice(3)), ['ADDED c']);
      assert.deepEqual(
        versions(all),
        versions(all).toSorted((a, b) => a - b),
      );
      assert(versions(all).every((version) => version > from));
      assert.equal(all[0]?.object.kind, 'ConfigMap');
    },
  },
  {
    name: 'W7: a version from the future hides the events up to it',
    run: async ({ admin, configMaps, create, update, watch }) => {
      const current = versionOf((await create('a')).metadata);
      const stream = await watch(`${configMaps}?watch=1&resourceVersion=${current + 3}`);
      let last = current;
      for (let value = 1; last <= current + 3; value += 1) last = await update('a', String(value));
      const [first] = await stream.take(1);
      assert(first !== undefined && versionOf(first.object.metadata) > current + 3);
      assert.equal((await admin.request('GET', configMaps)).status, 200);
    },
  },
  {
    name: "W15: entering a label selector is ADDED, leaving it DELETED with the previous object at the event's version",
    run: async ({ configMaps, create, update, watch }) => {
      const { metadata } = await create('a', { color: 'blue' });
      const stream = await watch(
        `${configMaps}?watch=1&labelSelector=color%3Dred&resourceVersion=${metadata.resourceVersion}`,
      );
      await update('a', 'in', { color: 'red' });
      await update('a', 'still in', { color: 'red' });
      const left = await update('a', 'out', { color: 'blue' });
      await update('a', 'still out', { color: 'blue' });
      await update('a', 'in again', { color: 'red' });
      const events = await stream.take(4);
      assert.deepEqual(summary(events), ['ADDED a', 'MODIFIED a', 'DELETED a', 'ADDED a']);
      const gone = events[2]?.object;
      assert.deepEqual(
        [gone?.data?.['value'], gone?.metadata.labels?.['color'], gone?.metadata.resourceVersion],
        ['still in', 'red', String(left)],
      );
    },
  },
  {
    name: 'set based label selectors',
    run: async ({ admin, configMaps, create }) => {
      await create('a', { color: 'red' });
      await create('b', { color: 'blue', size: 'big' });
      await create('c');
      const names = async (selector: string) =>
        (
          await admin.get<{ items: { metadata: { name: string } }[] }>(
            `${configMaps}?labelSelector=${encodeURIComponent(selector)}`,
          )
        ).items.map(({ metadata }) => metadata.name);
      assert.deepEqual(await names('color in (red, blue)'), ['a', 'b']);
      assert.deepEqual(await names('color notin (red)'), ['b', 'c']);
      assert.deepEqual(await names('color,size!=big'), ['a']);
      assert.deepEqual(await names('!color'), ['c']);
    },
  },
  {
    name: 'L17: metadata.name narrows a watch to one object',
    run: async ({ configMaps, create, update, watch }) => {
      const { metadata } = await create('a');
      const stream = await watch(
        `${configMaps}?watch=1&fieldSelector=metadata.name%3Da&resourceVersion=${metadata.resourceVersion}`,
      );
      await create('b');
      await update('a', '1');
      await update('b', '1');
      await update('a', '2');
      assert.deepEqual(summary(await stream.take(2)), ['MODIFIED a', 'MODIFIED a']);
    },
  },
  {
    name: 'spec.nodeName narrows a watch of pods, over all namespaces',
    run: async ({ admin, namespace, watch }) => {
      const pods = `/api/v1/namespaces/${namespace}/pods`;
      const pod = (name: string, nodeName: string) => ({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace },
        spec: { nodeName, containers: [{ name: 'c', image: 'i' }], automountServiceAccountToken: false },
      });
      const { metadata } = await admin.create(pods, pod('other', `${namespace}-x`));
      const stream = await watch(
        `/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3D${namespace}&resourceVersion=${metadata.resourceVersion}`,
      );
      await admin.create(pods, pod('first', namespace));
      await admin.create(pods, pod('elsewhere', `${namespace}-x`));
      await admin.create(pods, pod('second', namespace));
      assert.deepEqual(summary(await stream.take(2)), ['ADDED first', 'ADDED second']);
    },
  },
  {
    name: 'W4, W14: a watch-list sends the objects in key order, a bookmark that marks their end, and goes on live',
    run: async ({ configMaps, create, update, watch }) => {
      for (const name of ['c', 'a', 'b']) await create(name);
      const last = await update('c', '1');
      const stream = await watch(`${configMaps}?${WATCH_LIST}`);
      const initial = await stream.take(3);
      assert.deepEqual(summary(initial), ['ADDED a', 'ADDED b', 'ADDED c']);
      const end = await stream.next();
      assert.equal(end?.type, 'BOOKMARK');
      assert.equal(end.object.metadata.annotations?.[END], 'true');
      assert(versionOf(end.object.metadata) >= last);
      assert.equal(end.object.kind, 'ConfigMap');
      await update('a', 'live');
      assert.deepEqual(summary(await stream.take(1)), ['MODIFIED a']);
    },
  },
  {
    name: 'W2: a watch without a version is a watch-list',
    run: async ({ configMaps, create, watch }) => {
      await create('a');
      const stream = await watch(`${configMaps}?watch=1&allowWatchBookmarks=true`);
      const [first, second] = [await stream.next(), await stream.next()];
      assert.deepEqual([first?.type, second?.type], ['ADDED', 'BOOKMARK']);
      assert.equal(second?.object.metadata.annotations?.[END], 'true');
    },
  },
  {
    name: 'W6: sendInitialEvents=false starts from now, silently',
    run: async ({ configMaps, create, watch }) => {
      await create('a');
      const stream = await watch(`${configMaps}?watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan`);
      await create('b');
      assert.deepEqual(summary(await stream.take(1)), ['ADDED b']);
    },
  },
  {
    name: 'W5: a watch-list at a version that does not happen is 200 with an error event',
    run: async ({ configMaps, watch }) => {
      const stream = await watch(`${configMaps}?${WATCH_LIST}&resourceVersion=${FUTURE_VERSION}`);
      assert.equal(stream.status, 200);
      const [error, ...more] = await stream.rest();
      assert.deepEqual([error?.type, error?.object.code, more.length], ['ERROR', 504, 0]);
    },
  },
  {
    // dogwatch relies on it to prove a quiet lane fresh; itself it may prove that by a list, and move no watermark.
    ofUpstream: true,
    name: 'fence: a watch-list that nothing matches gives the current version; after it a short watch ends with a bookmark at or above it',
    run: async ({ admin, namespace, configMaps, create, watch }) => {
      const held = versionOf((await create('a')).metadata);
      // Another resource moves the counter, so that the bookmark has news.
      const leases = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
      const lease = await admin.create(leases, {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name: 'a' },
      });
      const probe = await watch(`/api/v1/configmaps?${WATCH_LIST}&fieldSelector=metadata.name%3Dno-such-object`);
      const bookmark = await probe.next();
      assert.equal(bookmark?.type, 'BOOKMARK');
      const current = versionOf(bookmark.object.metadata);
      assert(current >= versionOf(lease.metadata));
      const started = performance.now();
      const verify = await watch(
        `${configMaps}?watch=1&allowWatchBookmarks=true&resourceVersion=${held - 1}&timeoutSeconds=3`,
      );
      const events = await verify.rest();
      const last = events.at(-1);
      assert.equal(events[0]?.type, 'ADDED');
      assert.equal(last?.type, 'BOOKMARK');
      assert(versionOf(last.object.metadata) >= current);
      assert(performance.now() - started < 4_500);
    },
  },
  {
    // dogwatch ends every watch with a bookmark if it has news, so that clients find their place anywhere.
    ofUpstream: true,
    name: 'W12: timeoutSeconds ends a watch cleanly; with two seconds or less there is no bookmark',
    run: async ({ configMaps, create, watch }) => {
      const { metadata } = await create('a');
      const started = performance.now();
      const stream = await watch(
        `${configMaps}?watch=1&allowWatchBookmarks=true&resourceVersion=${metadata.resourceVersion}&timeoutSeconds=1`,
      );
      assert.deepEqual(await stream.rest(), []);
      assert(performance.now() - started > 900);
    },
  },
  {
    name: 'W17: concurrent writes have one order, the same for all watchers',
    run: async ({ namespace, configMaps, create, update, watch }) => {
      const { metadata } = await create('start');
      const from = `watch=1&resourceVersion=${metadata.resourceVersion}`;
      const streams = [
        await watch(`${configMaps}?${from}`),
        await watch(`/api/v1/configmaps?${from}&fieldSelector=metadata.namespace%3D${namespace}`),
        await watch(`${configMaps}?${from}&labelSelector=w`),
      ];
      const writers = Array.from({ length: 5 }, async (_, writer) => {
        await create(`w-${writer}`, { w: 'x' });
        for (let value = 1; value < 20; value += 1) await update(`w-${writer}`, String(value), { w: 'x' });
      });
      const [first, ...others] = await Promise.all(streams.map((stream) => stream.take(100)));
      await Promise.all(writers);
      assert(first !== undefined);
      assert.deepEqual(
        versions(first),
        [...new Set(versions(first))].toSorted((a, b) => a - b),
      );
      for (const other of others) assert.deepEqual(other, first);
    },
  },
  {
    name: 'W8: below the window a watch is 200 with one 410 event, and ends',
    alone: true,
    run: async ({ configMaps, create, update, watch, forgetHistory }) => {
      const { metadata } = await create('a');
      const last = await update('a', '1');
      await forgetHistory();
      const stream = await watch(`${configMaps}?watch=1&resourceVersion=${metadata.resourceVersion}`);
      assert.equal(stream.status, 200);
      const [error, ...more] = await stream.rest();
      assert.deepEqual(
        [error?.type, error?.object.code, error?.object.reason, more.length],
        ['ERROR', 410, 'Expired', 0],
      );
      assert.match(error?.object.message ?? '', /^too old resource version: \d+ \(\d+\)$/);
      const resumed = await watch(`${configMaps}?${WATCH_LIST}&resourceVersion=${last}`);
      assert.deepEqual(summary(await resumed.take(1)), ['ADDED a']);
    },
  },
];
