import { describe, expect, test } from 'vitest';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { partitionOf } from '@dogwatch/watch/partition.ts';
import { change, interest, pod } from '@dogwatch/watch/test-objects.ts';
import { WatchGroups } from '@dogwatch/watch/watch-groups.ts';
import type { Scope } from './scope.ts';
import { ScopedLane } from './scoped-lane.ts';
import type { ScopedView } from './scoped-view.ts';
import { FACTS, PODS, inventoryOf, pass, rejection, silent, whole } from './test-ingest.ts';
import { FOLLOWER, TestShard, changesTo, stateAt, turn } from './test-shards.ts';

const A: Scope = { kind: 'name', namespace: 'default', name: 'a', key: 'default/a' };
const N1: Scope = { kind: 'indexed', value: 'n1' };
/** Namespaces of two partitions, the first of partition 0. */
const [ZERO, ONE] = [0, 1].map((at) => ['a', 'b', 'c', 'd'].find((name) => partitionOf(name, 'x', 2) === at)!) as [
  string,
  string,
];

function started(partitions = 1) {
  const bus = new MemoryBus();
  const clock = createFakeClock();
  const shard = new TestShard(bus, 'shard-0');
  const lane = new ScopedLane(
    PODS,
    partitions,
    { bus, clock, log: silent, follower: FOLLOWER, ownersOf: () => ['shard-0'] },
    { windowBytesMax: 1_000_000, tombstoneBytesMax: 100_000 },
  );
  return { bus, clock, shard, lane };
}

function held(view: ScopedView): string[] {
  return [...view.cache.snapshot().range()].map(({ key, rv }) => `${key}@${rv}`);
}

/** The view of one object, at 10. */
async function named() {
  const it = started();
  const view = it.lane.view(A);
  const ends: string[] = [];
  view.onEnd((end) => ends.push(end));
  await it.shard.answer(stateAt(10, [pod('a', 5)]));
  return { ...it, view, ends };
}

/** The view of a node, over two partitions, at 20. */
async function spanning() {
  const it = started(2);
  const view = it.lane.view(N1);
  const ends: string[] = [];
  view.onEnd((end) => ends.push(end));
  const on = (name: string, rv: number, namespace: string) => pod(name, rv, { namespace, node: 'n1' });
  await it.shard.answerOf(0, stateAt(10, [on('x', 5, ZERO)]));
  await it.shard.answerOf(1, stateAt(20, [on('y', 15, ONE)]));
  return { ...it, view, ends, on };
}

describe('a scope of one object', () => {
  test('holds it, and follows it', async () => {
    const { shard, view } = await named();
    expect(held(view)).toEqual(['default/a@5']);
    shard.batch(whole(10), [change('MODIFIED', pod('a', 11)), change('ADDED', pod('b', 12))]);
    expect(held(view)).toEqual(['default/a@11']);
  });

  test('I3: is as far as its link, which it takes over when it is asked', async () => {
    const { shard, view } = await named();
    const { cache } = view;
    shard.watermark(whole(10), 30);
    expect(cache.watermark).toBe(10);
    expect(view.cache.watermark).toBe(30);
  });

  test('I4: what changed between the link and its state is not lost, and not applied twice', async () => {
    const { shard, lane } = await named();
    const view = lane.view({ kind: 'name', namespace: 'default', name: 'b', key: 'default/b' });
    const other = shard.asked[0]!;
    shard.batch(whole(10), [change('MODIFIED', pod('b', 12)), change('MODIFIED', pod('b', 14))]);
    expect(other.request.link.replace).toBe(false);
    await shard.answer(stateAt(13, [pod('b', 12)]));
    expect(held(view)).toEqual(['default/b@14']);
    expect(view.cache.window.size).toBe(1);
    // It comes twice, as from another shard that goes on.
    shard.batch(whole(10), [change('MODIFIED', pod('b', 14))]);
    view.take(change('MODIFIED', pod('b', 14)));
    expect(view.cache.window.size).toBe(1);
  });

  test('I5: a young interest is told what it missed by the states, and the deletes, of the shard', async () => {
    const { shard, lane } = started();
    const view = lane.view(A);
    const gone = pod('a', 28, { uid: 'old' });
    await shard.answer(stateAt(40, [pod('a', 30)], { tombstones: [{ object: gone, born: 0 }], horizon: 8 }));
    const of = interest({ namespace: 'default', name: 'a', fields: 'metadata.name=a' });
    expect(view.cache.since(9, of)).toEqual({ kind: 'diff' });
    expect(
      [...{ [Symbol.iterator]: () => view.cache.diff(9, of) }].map(({ type, object }) => [type, object.rv]),
    ).toEqual([
      ['DELETED', 28],
      ['MODIFIED', 30],
    ]);
    expect(view.cache.since(7, of)).toMatchObject({ kind: 'expired' });
  });

  test('what its shard cannot continue is repaired in one step, before anything behind it', async () => {
    const { shard, view, ends } = await named();
    const seen: string[] = [];
    const groups = new WatchGroups(view.cache);
    const watcher = groups.join(interest(), {
      start: { kind: 'resume', sequence: view.cache.window.end, rv: 10 },
      allowBookmarks: true,
      owner: { wake: () => {}, conflated: () => {} },
    });
    shard.batch({ rv: 12, index: 0 }, [change('MODIFIED', pod('a', 19))]);
    // The link begins anew at 20, and what follows comes before the answer.
    shard.batch(whole(20), [change('MODIFIED', pod('a', 25))]);
    shard.watermark({ rv: 25, index: 0 }, 30);
    expect(view.cache.watermark, 'a part is missing').toBe(10);
    await shard.answer(stateAt(20, [pod('a', 19)]));
    watcher.pump({ write: (bytes) => (seen.push(bytes.toString()), true) });
    expect(seen.join('').match(/"resourceVersion":"\d+"/g)).toEqual([
      '"resourceVersion":"19"',
      '"resourceVersion":"25"',
    ]);
    expect(view.cache.watermark).toBe(30);
    expect(ends).toEqual([]);
  });

  test('another history ends the watches, and begins a new cache', async () => {
    const { shard, view, ends } = await named();
    const before = view.cache;
    shard.put({ kind: 'listed', epoch: 2, rv: 4 });
    await shard.answer(stateAt(4, [pod('a', 3)], { epoch: 2 }));
    expect(ends).toEqual(['expired']);
    expect(view.cache).not.toBe(before);
    expect(view.cache.watermark).toBe(4);
    shard.put({ kind: 'batch', epoch: 2, batch: { previous: whole(4), changes: [change('MODIFIED', pod('a', 5))] } });
    expect(held(view)).toEqual(['default/a@5']);
  });

  test('while it is read anew it vouches for nothing', async () => {
    const { shard, view } = await named();
    shard.put({ kind: 'listed', epoch: 1, rv: 20 });
    expect(view.cache.watermark).toBe(10);
    await shard.answer(stateAt(20, [pod('a', 15)]));
    expect(view.cache.watermark).toBe(20);
  });
});

describe('a scope that spans partitions', () => {
  test('begins at one moment of all of them', async () => {
    const { shard, view, on } = await spanning();
    expect(view.ready).toBe(false);
    shard.batch(whole(10), [change('MODIFIED', on('x', 12, ZERO))], 0);
    shard.batch({ rv: 12, index: 0 }, [change('MODIFIED', on('x', 22, ZERO))], 0);
    expect(view.ready).toBe(true);
    expect(held(view)).toEqual([`${ZERO}/x@12`, `${ONE}/y@15`]);
    expect(view.cache.watermark).toBe(20);
    shard.watermark(whole(20), 30, 1);
    expect(held(view), 'and what was too new for it follows').toEqual([`${ZERO}/x@22`, `${ONE}/y@15`]);
  });

  test('I2: is told of all in one order, as far as the slowest is', async () => {
    const { shard, view, on } = await spanning();
    shard.watermark(whole(10), 20, 0);
    shard.batch(whole(20), [change('MODIFIED', on('y', 23, ONE))], 1);
    expect(view.cache.watermark).toBe(20);
    shard.batch(whole(20), [change('MODIFIED', on('x', 22, ZERO)), change('MODIFIED', on('x', 24, ZERO))], 0);
    const { window } = view.cache;
    expect(Array.from({ length: window.size }, (_, i) => window.at(window.first + i).rv)).toEqual([22, 23]);
    expect(view.cache.watermark).toBe(23);
  });

  test('I4: what waits for a partition that is given as a whole is in the state, or behind it', async () => {
    const { shard, view, on } = await spanning();
    shard.watermark(whole(10), 20, 0);
    shard.batch(whole(20), [change('MODIFIED', on('y', 23, ONE))], 1);
    // Partition 0 lost a part; its link begins anew at 25, and what follows comes before the answer.
    shard.batch({ rv: 23, index: 0 }, [change('MODIFIED', on('x', 24, ZERO))], 0);
    shard.batch(whole(25), [change('MODIFIED', on('x', 27, ZERO))], 0);
    await shard.answerOf(0, stateAt(25, [on('x', 24, ZERO)]));
    await shard.answerOf(1, stateAt(24, [on('y', 23, ONE)]));
    shard.watermark({ rv: 23, index: 0 }, 30, 1);
    shard.watermark({ rv: 27, index: 0 }, 30, 0);
    expect(held(view)).toEqual([`${ZERO}/x@27`, `${ONE}/y@23`]);
    expect(view.cache.watermark).toBe(30);
  });

  test('is repaired only once every partition has got to what is held', async () => {
    const { shard, view, ends } = await spanning();
    shard.watermark(whole(10), 40, 0);
    shard.watermark(whole(20), 40, 1);
    expect(view.cache.watermark).toBe(40);
    shard.put({ kind: 'listed', epoch: 1, rv: 50 }, 0);
    await shard.answerOf(0, stateAt(50));
    await shard.answerOf(1, stateAt(41));
    expect(held(view), 'partition 1 is not there yet').toHaveLength(2);
    shard.watermark(whole(20), 55, 1);
    expect(view.cache.watermark).toBe(50);
    expect(held(view)).toEqual([]);
    expect(ends).toEqual([]);
  });

  test('goes on to another history with its last partition', async () => {
    const { shard, view, ends, on } = await spanning();
    shard.watermark(whole(10), 40, 0);
    shard.watermark(whole(20), 40, 1);
    expect(view.cache.watermark).toBe(40);
    shard.put({ kind: 'listed', epoch: 2, rv: 5 }, 0);
    await shard.answerOf(0, stateAt(5, [on('x', 3, ZERO)], { epoch: 2 }));
    // A change of the old history comes late.
    shard.batch({ rv: 20, index: 0 }, [change('MODIFIED', on('y', 41, ONE))], 1);
    expect([held(view), ends]).toEqual([[`${ZERO}/x@5`, `${ONE}/y@15`], []]);
    shard.put({ kind: 'listed', epoch: 2, rv: 6 }, 1);
    for (let asked = shard.asked.length; asked > 0; asked = shard.asked.length) {
      const { partition } = shard.asked[0]!.request;
      await shard.answer(stateAt(5 + partition, partition === 0 ? [on('x', 3, ZERO)] : [], { epoch: 2 }));
    }
    shard.put({ kind: 'watermark', epoch: 2, previous: whole(5), rv: 8 }, 0);
    shard.put({ kind: 'watermark', epoch: 2, previous: whole(6), rv: 8 }, 1);
    expect([held(view), ends, view.cache.watermark]).toEqual([[`${ZERO}/x@3`], ['expired'], 8]);
  });
});

test('a partition that is still in the history before takes nothing away from those that have gone on', async () => {
  const { shard, view, on } = await spanning();
  shard.watermark(whole(10), 40, 0);
  shard.watermark(whole(20), 40, 1);
  shard.put({ kind: 'listed', epoch: 2, rv: 5 }, 0);
  await shard.answerOf(0, stateAt(5, [on('x', 3, ZERO)], { epoch: 2 }));
  shard.put(
    { kind: 'batch', epoch: 2, batch: { previous: whole(5), changes: [change('MODIFIED', on('x', 7, ZERO))] } },
    0,
  );
  // The other is repaired in the old history first.
  shard.put({ kind: 'listed', epoch: 1, rv: 50 }, 1);
  while (shard.asked.some(({ request }) => request.partition === 1)) await shard.answerOf(1, stateAt(50));
  shard.put({ kind: 'listed', epoch: 2, rv: 6 }, 1);
  while (shard.asked.some(({ request }) => request.partition === 1))
    await shard.answerOf(1, stateAt(6, [], { epoch: 2 }));
  while (shard.asked.length > 0) await shard.answer(stateAt(5, [on('x', 3, ZERO)], { epoch: 2 }));
  shard.put({ kind: 'watermark', epoch: 2, previous: { rv: 7, index: 0 }, rv: 8 }, 0);
  shard.put({ kind: 'watermark', epoch: 2, previous: whole(6), rv: 8 }, 1);
  expect([held(view), view.cache.watermark]).toEqual([[`${ZERO}/x@7`], 8]);
});

const ONLY_A = { interest: interest({ namespace: 'default', name: 'a' }), limit: 0 };

describe('requests', () => {
  test('I6: fresh waits until the link is as far as upstream was, and a herd asks twice', async () => {
    const { bus, shard, view } = await named();
    const fences = [Promise.withResolvers<number>(), Promise.withResolvers<number>()];
    let asked = 0;
    bus.serve('fence', async () => ({ rv: await fences[asked++]!.promise, inventory: undefined }));
    const first = view.fresh(3_000, (rv) => rv, ONLY_A);
    await turn();
    const herd = [1, 2, 3].map(() => view.fresh(3_000, (rv) => rv, ONLY_A));
    fences[0]!.resolve(15);
    shard.watermark(whole(10), 16);
    expect(await first).toBe(16);
    fences[1]!.resolve(18);
    await turn();
    shard.watermark(whole(10), 20);
    expect(await Promise.all(herd)).toEqual([20, 20, 20]);
    expect(asked).toBe(2);
  });

  test('I6: a scope at rest is compared with what upstream has of it, scopes that ask at once are verified', async () => {
    const { bus, shard, view, lane } = await named();
    const other = lane.view({ kind: 'name', namespace: 'default', name: 'b', key: 'default/b' });
    await shard.answer(stateAt(10, [pod('b', 7)]));
    const asked: string[] = [];
    bus.serve('fence', async ({ inventory, scope }) => {
      asked.push(inventory ? scope!.fieldSelector : 'verify');
      return { rv: 15, inventory: inventory ? inventoryOf(15, pod('a', 5)) : undefined };
    });
    expect(await view.fresh(3_000, (rv) => rv, ONLY_A)).toBe(15);
    const onlyB = { interest: interest({ namespace: 'default', name: 'b' }), limit: 0 };
    const both = [view.fresh(3_000, (rv) => rv, ONLY_A), other.fresh(3_000, (rv) => rv, onlyB)];
    while (asked.length < 2) await turn();
    shard.watermark(whole(10), 16);
    expect(await Promise.all(both)).toEqual([16, 16]);
    expect(asked).toEqual(['metadata.name=a', 'verify']);
  });

  test('that wait for what does not come are told so in time', async () => {
    const { bus, clock, view } = await named();
    bus.serve('fence', async () => ({ rv: 15, inventory: undefined }));
    const fresh = rejection(view.fresh(3_000, () => 0, ONLY_A));
    const reached = view.reached(11, 3_000);
    await pass(clock, 3_000);
    expect(await reached).toBe(false);
    expect(await fresh).toMatchObject({ status: { code: 503 } });
  });

  test("upstream's history is read once for all scopes, and each takes its own", async () => {
    const { bus, shard, view, lane } = await named();
    const other = lane.view({ kind: 'name', namespace: 'default', name: 'b', key: 'default/b' });
    await shard.answer(stateAt(12, [pod('b', 7)]));
    const asked: string[] = [];
    bus.serve('backfill', async ({ from, to }) => {
      asked.push(`${from}..${to}`);
      await turn();
      return [change('MODIFIED', pod('a', 5)), change('MODIFIED', pod('b', 7)), change('MODIFIED', pod('c', 9))];
    });
    const first = view.backfill(4);
    expect(await Promise.all([first, other.backfill(3)])).toEqual([true, true]);
    expect(asked).toEqual(['4..10', '3..12']);
    expect([view.cache.window.size, other.cache.window.size]).toEqual([1, 1]);
    expect([view.cache.window.start, other.cache.window.start]).toEqual([4, 3]);
  });
});

test('more changes than may be kept while a scope is read: it is read again', async () => {
  const { shard, lane } = await named();
  const view = lane.view({ kind: 'name', namespace: 'default', name: 'b', key: 'default/b' });
  const many = Array.from({ length: 10_001 }, (_, i) => change('MODIFIED', pod('b', 11 + i)));
  shard.batch(whole(10), many);
  await shard.answer(stateAt(11, [pod('b', 11)]));
  expect(view.ready).toBe(false);
  await shard.answer(stateAt(10_011, [pod('b', 10_011)]));
  expect(held(view)).toEqual(['default/b@10011']);
});

test('the resource is gone: who owns the lane is told once', async () => {
  const { shard, lane, view, ends, clock } = await named();
  lane.onEnded = () => lane.close();
  shard.put({ kind: 'end', epoch: 1, end: 'expired' });
  expect(ends, 'a history that ends is followed by another').toEqual([]);
  const late = lane.view({ kind: 'name', namespace: 'default', name: 'b', key: 'default/b' }).whenReady(10_000);
  shard.put({ kind: 'end', epoch: 1, end: 'ended' });
  expect(ends).toEqual(['ended']);
  expect(await late).toBe(false);
  expect(view.cache.watermark).toBe(10);
  expect(clock.pending).toBe(0);
});

test('facts and bookmark are those of the lane', async () => {
  const { view } = await named();
  expect(view.facts).toBe(FACTS);
  expect(view.key).toBe('core/v1/pods/json/object name=default/a');
  expect(changesTo(1).kind).toBe('changes');
});
