import { describe, expect, test } from 'vitest';
import type { Clock } from '@dogwatch/process/clock.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import type { LaneEnd } from '@dogwatch/watch/lane-view.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { change, interest, pod } from '@dogwatch/watch/test-objects.ts';
import { createIngestSupply } from './ingest-supply.ts';
import { LaneReplica } from './lane-replica.ts';
import { PODS, TestIngest, inventoryOf, silent, whole, rejection } from './test-ingest.ts';

const A = pod('a', 5);

function replicaOf(ingest: TestIngest, clock: Clock, windowBytesMax = 1_000_000): LaneReplica {
  const recovery = createIngestSupply(ingest.bus);
  const limits = { windowBytesMax, tombstoneBytesMax: 100_000 };
  return new LaneReplica(PODS, [0], { bus: ingest.bus, recovery, clock, log: silent }, limits);
}

function started() {
  const ingest = new TestIngest();
  const clock = createFakeClock();
  const replica = replicaOf(ingest, clock);
  ingest.bus.follow(trackOf(PODS), (envelope) => replica.onEnvelope(envelope));
  const ends: LaneEnd[] = [];
  replica.onEnd((end) => ends.push(end));
  ingest.listing(10, [A]);
  return { ingest, clock, replica, ends };
}

describe('following the track', () => {
  test('changes and watermarks are applied', () => {
    const { ingest, replica } = started();
    ingest.batch(whole(10), change('MODIFIED', pod('a', 11)));
    ingest.watermark({ rv: 11, index: 0 }, 20);
    expect(replica.cache.get('default/a')?.rv).toBe(11);
    expect(replica.cache.settled).toBe(20);
  });

  test('I4: behind a gap nothing is applied until the lane was listed again, which is asked for once', () => {
    const { ingest, replica, ends } = started();
    ingest.batch({ rv: 12, index: 0 }, change('MODIFIED', pod('a', 13)));
    ingest.batch({ rv: 13, index: 0 }, change('MODIFIED', pod('a', 14)));
    ingest.watermark({ rv: 14, index: 0 }, 20);
    expect(replica.cache.watermark).toBe(10);
    expect(ingest.asked).toEqual(['repair']);
    ingest.listing(25, [pod('a', 14)]);
    ingest.batch(whole(25), change('MODIFIED', pod('a', 26)));
    expect(replica.cache.watermark).toBe(26);
    expect(replica.gaps).toBe(1);
    expect(ends, 'a repair ends no watch').toEqual([]);
    expect(replica.cache.since(20, interest())).toEqual({ kind: 'expired', oldest: 25 });
  });

  test('a repair that nobody does is asked for again after a while', async () => {
    const { ingest, clock } = started();
    ingest.repair = () => Promise.reject(new Error('away'));
    ingest.batch({ rv: 12, index: 0 }, change('MODIFIED', pod('a', 13)));
    await clock.advanceAsync(150);
    expect(ingest.asked).toEqual(['repair', 'repair']);
  });

  test('a new epoch ends open watches and begins a new cache; what is left of the old one is ignored', () => {
    const { ingest, replica, ends } = started();
    const old = replica.cache;
    ingest.listing(4, [pod('b', 3)], 2);
    expect(ends).toEqual(['expired']);
    expect(replica.cache).not.toBe(old);
    ingest.batch(whole(10), change('MODIFIED', pod('a', 11)));
    expect(replica.cache.watermark).toBe(4);
    expect(ingest.asked).toEqual([]);
  });

  test('of an epoch whose listing was lost nothing is applied', () => {
    const { ingest, replica } = started();
    ingest.publish({ kind: 'batch', epoch: 2, batch: { previous: whole(4), changes: [change('ADDED', pod('x', 5))] } });
    expect(replica.cache.watermark).toBe(10);
    expect(ingest.asked).toEqual(['repair']);
    ingest.listing(6, [pod('x', 5)], 2);
    expect(replica.cache.watermark).toBe(6);
  });

  test('a listing with a change that should have been held begins a new cache', () => {
    const { ingest, replica, ends } = started();
    ingest.listing(20, [pod('a', 8)]);
    expect(ends).toEqual(['expired']);
    expect(replica.cache.get('default/a')?.rv).toBe(8);
  });

  test('what comes before the first listing is no gap', () => {
    const { ingest, clock } = started();
    const late = replicaOf(ingest, clock);
    late.onEnvelope({
      kind: 'batch',
      epoch: 1,
      batch: { previous: whole(10), changes: [change('ADDED', pod('x', 11))] },
    });
    expect(late.ready).toBe(false);
    expect(() => late.cache).toThrow('no listing');
  });

  test('who stops listening is told nothing, also in the middle of the telling', () => {
    const { ingest, replica } = started();
    const told: string[] = [];
    const stop = replica.onEnd(() => {
      told.push('first');
      stop();
    });
    ingest.publish({ kind: 'end', epoch: 1, end: 'ended' });
    ingest.publish({ kind: 'end', epoch: 1, end: 'ended' });
    expect(told).toEqual(['first']);
  });
});

describe('I6: fresh', () => {
  const fence =
    (rv: number, ...objects: (typeof A)[]) =>
    () =>
      Promise.resolve({ rv, inventory: inventoryOf(rv, ...objects) });

  test('waits until the lane has read as far as upstream was', async () => {
    const { ingest, replica } = started();
    ingest.fence = () => Promise.resolve({ rv: 12, inventory: undefined });
    let used: number | undefined;
    const fresh = replica.fresh(3_000, (rv) => (used = rv));
    await new Promise((resolve) => setImmediate(resolve));
    ingest.batch(whole(10), change('MODIFIED', pod('a', 11)));
    await new Promise((resolve) => setImmediate(resolve));
    expect(used).toBeUndefined();
    ingest.batch({ rv: 11, index: 0 }, change('MODIFIED', pod('a', 14)));
    expect(await fresh).toBe(14);
  });

  test('a fence by coincidence: an equal list proves what there is, and nothing of what came and went', async () => {
    const { ingest, replica } = started();
    ingest.fence = fence(15, A);
    expect(await replica.fresh(3_000, (rv) => rv)).toBe(15);
    // The watermark is moved by the lane's own data alone: a flash in between is still told to who watches from 10.
    expect(replica.cache.watermark).toBe(10);
    ingest.batch(whole(10), change('ADDED', pod('flash', 12)), change('DELETED', pod('flash', 13)));
    const since = replica.cache.since(10, interest());
    expect(since.kind === 'from' && replica.cache.window.end - since.sequence).toBe(2);
  });

  test.each([
    ['another version', pod('a', 9)],
    ['another uid', pod('a', 5, { uid: 'other' })],
    ['another name', pod('b', 5)],
  ])('a list with %s proves nothing', async (_, object) => {
    const { ingest, replica, clock } = started();
    ingest.fence = fence(15, object);
    const fresh = rejection(replica.fresh(3_000, () => 0));
    await clock.advanceAsync(3_000);
    expect(await fresh).toMatchObject({ status: { code: 503 } });
    expect(clock.pending).toBe(0);
  });

  test('the proof holds in the very turn it is used in', async () => {
    const { ingest, replica } = started();
    ingest.fence = fence(15, pod('a', 11));
    const fresh = replica.fresh(3_000, () => replica.cache.get('default/a')?.rv);
    await new Promise((resolve) => setImmediate(resolve));
    // It becomes equal, and is not equal any more, before whoever waits can look.
    ingest.batch(whole(10), change('MODIFIED', pod('a', 11)));
    ingest.batch({ rv: 11, index: 0 }, change('MODIFIED', pod('a', 12)));
    await new Promise((resolve) => setImmediate(resolve));
    ingest.batch({ rv: 12, index: 0 }, change('MODIFIED', pod('a', 16)));
    expect(await fresh).toBe(16);
  });

  test('a small lane is compared with a list; a large one is not', async () => {
    const { ingest, replica } = started();
    ingest.fence = fence(10, A);
    await replica.fresh(3_000, () => 0);
    ingest.listing(20, [A, ...Array.from({ length: 600 }, (_, i) => pod(`p${i}`, 11))]);
    await replica.fresh(3_000, () => 0);
    expect(ingest.asked).toEqual(['inventory', 'probe']);
  });

  test('what is thrown by its use is for who asked', async () => {
    const { ingest, replica } = started();
    ingest.fence = fence(10, A);
    const fresh = replica.fresh(3_000, () => {
      throw new Error('used badly');
    });
    await expect(fresh).rejects.toThrow('used badly');
  });

  test('a lane that closes meanwhile leaves nobody waiting', async () => {
    const { ingest, replica, clock } = started();
    ingest.fence = fence(15, pod('b', 1));
    const fresh = rejection(replica.fresh(3_000, () => 0));
    const reached = replica.reached(99, 3_000);
    await new Promise((resolve) => setImmediate(resolve));
    replica.close();
    expect(await fresh).toMatchObject({ status: { code: 503 } });
    expect(await reached).toBe(false);
    expect(clock.pending).toBe(0);
  });
});

describe('backfill', () => {
  test('reaches down to the version asked for, and is read once for all', async () => {
    const { ingest, replica } = started();
    ingest.backfill = () => Promise.resolve([change('ADDED', pod('a', 5))]);
    expect(await Promise.all([replica.backfill(3), replica.backfill(4), replica.backfill(10)])).toEqual([
      true,
      true,
      true,
    ]);
    expect(ingest.asked).toEqual(['backfill 3..10']);
    expect(replica.cache.window.start).toBe(3);
  });

  test('a herd that comes while one is read is served by one more, from the oldest', async () => {
    const { ingest, replica } = started();
    const replies = [Promise.withResolvers<[]>(), Promise.withResolvers<[]>()];
    let asked = 0;
    ingest.backfill = () => replies[asked++]!.promise;
    const first = replica.backfill(9);
    const herd = [8, 7, 2, 5, 6].map((rv) => replica.backfill(rv));
    replies[0]!.resolve([]);
    expect(await first).toBe(true);
    replies[1]!.resolve([]);
    expect(await Promise.all(herd)).toEqual([true, true, true, true, true]);
    expect(ingest.asked).toEqual(['backfill 9..10', 'backfill 2..9']);
  });

  test("upstream's 410 is for those who are that old, and is not asked for again", async () => {
    const { ingest, replica } = started();
    ingest.backfill = ({ from }) => Promise.resolve(from < 5 ? undefined : []);
    expect(await Promise.all([replica.backfill(3), replica.backfill(7)])).toEqual([false, true]);
    expect(await replica.backfill(2)).toBe(false);
    expect(ingest.asked).toEqual(['backfill 3..10', 'backfill 7..10']);
  });

  test('a failure is told to who asked, and the next may try', async () => {
    const { ingest, replica } = started();
    ingest.backfill = () => Promise.reject(new Error('away'));
    await expect(replica.backfill(5)).rejects.toThrow('away');
    ingest.backfill = () => Promise.resolve([]);
    expect(await replica.backfill(5)).toBe(true);
  });

  test('of a history that is lost meanwhile is of no use', async () => {
    const { ingest, replica } = started();
    const reply = Promise.withResolvers<[]>();
    ingest.backfill = () => reply.promise;
    const asked = replica.backfill(5);
    ingest.listing(7, [], 2);
    reply.resolve([]);
    expect(await asked).toBe(false);
    expect(replica.cache.window.start).toBe(7);
  });

  test('does not begin where the window was cut: it would be cut again', async () => {
    const ingest = new TestIngest();
    const replica = replicaOf(ingest, createFakeClock(), 1_000);
    ingest.bus.follow(trackOf(PODS), (envelope) => replica.onEnvelope(envelope));
    ingest.listing(10, []);
    ingest.backfill = () => Promise.resolve([6, 7, 8, 9].map((rv) => change('MODIFIED', pod('a', rv))));
    expect(await replica.backfill(5)).toBe(false);
    expect(replica.cache.window.bytes).toBeLessThanOrEqual(1_000);
    expect(ingest.asked).toEqual(['backfill 5..10']);
  });
});
