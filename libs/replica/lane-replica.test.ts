import { describe, expect, test } from 'vitest';
import type { Clock } from '@dogwatch/process/clock.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import type { LaneEnd } from '@dogwatch/watch/lane-view.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { change, interest, pod } from '@dogwatch/watch/test-objects.ts';
import { createIngestSupply } from './ingest-supply.ts';
import { WHOLE_LANE } from './inventory.ts';
import { LaneReplica } from './lane-replica.ts';
import { PODS, TestIngest, inventoryOf, pass, rejection, silent, turn, whole } from './test-ingest.ts';

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
  const version =
    (rv: number): TestIngest['fence'] =>
    async ({ inventory }) => ({ rv, inventory: inventory ? inventoryOf(rv) : undefined });

  /** As many batches of changes as a lane on the move has; the last is `at`. */
  function move({ ingest }: ReturnType<typeof started>, at: number): void {
    for (let rv = at - 4; rv <= at; rv++) ingest.batch(whole(rv - 1), change('MODIFIED', pod('moving', rv)));
  }

  describe('of a lane at rest', () => {
    test('is what an inventory says it is, in one request', async () => {
      const { ingest, replica } = started();
      ingest.fence = fence(15, A);
      expect(await replica.fresh(3_000, (rv) => rv, WHOLE_LANE)).toBe(15);
      expect(ingest.asked).toEqual(['inventory']);
    });

    test('by coincidence: an equal list proves what there is, and nothing of what came and went', async () => {
      const { ingest, replica } = started();
      ingest.fence = fence(15, A);
      expect(await replica.fresh(3_000, (rv) => rv, WHOLE_LANE)).toBe(15);
      // The watermark is moved by the lane's own data alone: a flash in between is still told to who watches from 10.
      expect(replica.cache.watermark).toBe(10);
      ingest.batch(whole(10), change('ADDED', pod('flash', 12)), change('DELETED', pod('flash', 13)));
      const since = replica.cache.since(10, interest());
      expect(since.kind === 'from' && replica.cache.window.end - since.sequence).toBe(2);
    });

    test.each([
      ['another version', [pod('a', 9)]],
      ['another uid', [pod('a', 5, { uid: 'other' })]],
      ['another name', [pod('b', 5)]],
      ['one more', [A, pod('b', 5)]],
      ['one less', []],
    ])('a stale answer: upstream has %s, so that nothing is given out until the lane has it', async (_, objects) => {
      const { ingest, replica, clock } = started();
      ingest.fence = async ({ inventory }) => ({
        rv: 15,
        inventory: inventory ? inventoryOf(15, ...objects) : undefined,
      });
      let used = false;
      const fresh = rejection(replica.fresh(3_000, () => (used = true), WHOLE_LANE));
      await pass(clock, 3_000);
      expect(await fresh).toMatchObject({ status: { code: 503 } });
      expect(used).toBe(false);
      expect(clock.pending).toBe(0);
    });

    test('the proof holds in the very turn it is used in', async () => {
      const { ingest, replica } = started();
      ingest.fence = fence(15, pod('a', 11));
      const fresh = replica.fresh(3_000, () => replica.cache.get('default/a')?.rv, WHOLE_LANE);
      await turn();
      // It becomes equal, and is not equal any more, before whoever waits can look.
      ingest.batch(whole(10), change('MODIFIED', pod('a', 11)));
      ingest.batch({ rv: 11, index: 0 }, change('MODIFIED', pod('a', 12)));
      await turn();
      ingest.batch({ rv: 12, index: 0 }, change('MODIFIED', pod('a', 16)));
      expect(await fresh).toBe(16);
    });

    test('what upstream lists and its watch has yet to show is waited for', async () => {
      const { ingest, replica } = started();
      ingest.fence = fence(15, pod('a', 11), pod('b', 12));
      let proved: readonly [number, number] | undefined;
      const fresh = replica.fresh(3_000, (rv) => (proved = [rv, replica.cache.watermark]), WHOLE_LANE);
      await turn();
      ingest.batch(whole(10), change('MODIFIED', pod('a', 11)));
      await turn();
      expect(proved).toBeUndefined();
      ingest.batch({ rv: 11, index: 0 }, change('ADDED', pod('b', 12)));
      expect(await fresh).toEqual([15, 12]);
    });

    test('that an inventory does not tell is verified in time', async () => {
      const { ingest, replica, clock } = started();
      ingest.fence = version(15);
      const fresh = replica.fresh(3_000, (rv) => rv, WHOLE_LANE);
      await pass(clock, 500);
      expect(ingest.asked).toEqual(['inventory', 'inventory', 'verify']);
      ingest.watermark(whole(10), 16);
      expect(await fresh).toBe(16);
    });

    test('and large is verified, unless little of it is asked for', async () => {
      const { ingest, replica } = started();
      const many = Array.from({ length: 20_001 }, (_, i) => pod(`p${i}`, 11));
      ingest.listing(20, [...many, pod('x', 12, { namespace: 'other' })]);
      ingest.fence = version(20);
      await replica.fresh(3_000, () => 0, WHOLE_LANE);
      const extents = [
        { interest: interest({ namespace: 'default' }), limit: 0 },
        { interest: interest({ namespace: 'other' }), limit: 0 },
        { interest: interest({ namespace: 'default', name: 'p1' }), limit: 0 },
        { interest: interest({ labels: 'a=b' }), limit: 0 },
        { interest: interest(), limit: 500 },
      ];
      for (const extent of extents) await replica.fresh(3_000, () => 0, extent);
      expect(ingest.asked).toEqual([
        'verify',
        'verify',
        'inventory other',
        'inventory default metadata.name=p1',
        'inventory a=b',
        'inventory first 500',
      ]);
    });

    test('a part is proved by what upstream has of it, whatever the rest is', async () => {
      const { ingest, replica } = started();
      ingest.listing(20, [A, pod('x', 12, { namespace: 'other' })]);
      ingest.fence = fence(30, pod('x', 12, { namespace: 'other' }));
      const part = { interest: interest({ namespace: 'other' }), limit: 0 };
      expect(await replica.fresh(3_000, (rv) => rv, part)).toBe(30);
      ingest.watermark(whole(20), 40);
      expect(await replica.fresh(3_000, (rv) => rv, part)).toBe(40);
    });
  });

  describe('of a lane on the move', () => {
    test('waits until it has read as far as upstream was', async () => {
      const lane = started();
      const { ingest, replica } = lane;
      move(lane, 15);
      ingest.fence = version(17);
      let used: number | undefined;
      const fresh = replica.fresh(3_000, (rv) => (used = rv), WHOLE_LANE);
      await turn();
      ingest.batch(whole(15), change('MODIFIED', pod('a', 16)));
      await turn();
      expect(used).toBeUndefined();
      ingest.batch({ rv: 16, index: 0 }, change('MODIFIED', pod('a', 19)));
      expect(await fresh).toBe(19);
      expect(ingest.asked).toEqual(['probe']);
    });

    test('that stops is compared with an inventory after all', async () => {
      const lane = started();
      const { ingest, replica, clock } = lane;
      move(lane, 15);
      ingest.fence = async ({ inventory }) =>
        inventory ? { rv: 18, inventory: inventoryOf(18, A, pod('moving', 15)) } : { rv: 17, inventory: undefined };
      const fresh = replica.fresh(3_000, (rv) => rv, WHOLE_LANE);
      await pass(clock, 50);
      expect(await fresh).toBe(18);
      expect(ingest.asked).toEqual(['probe', 'inventory']);
    });

    test('is at rest after a while', async () => {
      const lane = started();
      move(lane, 15);
      await pass(lane.clock, 101);
      lane.ingest.fence = fence(18, A, pod('moving', 15));
      await lane.replica.fresh(3_000, () => 0, WHOLE_LANE);
      expect(lane.ingest.asked).toEqual(['inventory']);
    });
  });

  test('no proof of another history is one, whatever its version', async () => {
    const { ingest, replica } = started();
    const reply = Promise.withResolvers<{ rv: number; inventory: undefined }>();
    ingest.fence = () => reply.promise;
    const fresh = replica.fresh(3_000, (rv) => [rv, replica.epoch], WHOLE_LANE);
    // Upstream was restored meanwhile, and its versions begin anew: below what was held before.
    ingest.listing(4, [pod('b', 3)], 2);
    ingest.fence = async ({ epoch }) => ({ rv: epoch === 2 ? 4 : 0, inventory: undefined });
    reply.resolve({ rv: 2, inventory: undefined });
    expect(await fresh).toEqual([4, 2]);
  });

  test('who waits for upstream waits no longer than was said', async () => {
    const { ingest, replica, clock } = started();
    ingest.fence = () => new Promise(() => undefined);
    const [first, next] = [1, 2].map(() => rejection(replica.fresh(3_000, () => 0, WHOLE_LANE)));
    await pass(clock, 3_000);
    expect(await first).toMatchObject({ status: { code: 503 } });
    expect(await next).toMatchObject({ status: { code: 503 } });
    expect(clock.pending).toBe(0);
  });

  test('what is thrown by its use is for who asked', async () => {
    const { ingest, replica } = started();
    ingest.fence = fence(10, A);
    const use = (): never => {
      throw new Error('used badly');
    };
    const fresh = replica.fresh(3_000, use, WHOLE_LANE);
    await expect(fresh).rejects.toThrow('used badly');
  });

  test('a lane that closes meanwhile leaves nobody waiting', async () => {
    const { ingest, replica, clock } = started();
    ingest.fence = fence(15, pod('b', 1));
    const fresh = rejection(replica.fresh(3_000, () => 0, WHOLE_LANE));
    const reached = replica.reached(99, 3_000);
    await turn();
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
