import { describe, expect, test } from 'vitest';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { partitionOf } from '@dogwatch/watch/partition.ts';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import type { Change, Position } from '@dogwatch/watch/watch-cache.ts';
import { LaneReplica } from './lane-replica.ts';
import type { Lack } from './lane-supply.ts';
import { FACTS, PODS, silent, whole } from './test-ingest.ts';
import { changesTo, stateAt, turn } from './test-shards.ts';

/** Namespaces of two partitions. */
const NAMESPACES = [0, 1].map((at) => ['a', 'b', 'c', 'd'].find((name) => partitionOf(name, 'x', 2) === at)!);

function of(partition: number, rv: number): KubeObject {
  return pod('x', rv, { namespace: NAMESPACES[partition]! });
}

function modified(partition: number, rv: number): Change {
  return change('MODIFIED', of(partition, rv));
}

function started() {
  const clock = createFakeClock();
  const asked: { readonly lack: Lack; resolve(state: TrackState): void }[] = [];
  const lane = new LaneReplica(
    PODS,
    [0, 1],
    {
      bus: new MemoryBus(),
      clock,
      log: silent,
      recovery: { recover: (lack) => new Promise((resolve) => asked.push({ lack, resolve })) },
    },
    { windowBytesMax: 1_000_000, tombstoneBytesMax: 1_000_000 },
  );
  const ends: string[] = [];
  lane.onEnd((end) => ends.push(end));
  const answer = async (partition: number, state: TrackState): Promise<void> => {
    const at = asked.findIndex(({ lack }) => lack.partition === partition);
    asked.splice(at, 1)[0]!.resolve(state);
    await turn();
  };
  const put = (partition: number, envelope: Envelope): void => lane.onEnvelope(envelope, partition);
  const listing = (partition: number, rv: number, epoch = 1): void =>
    put(partition, { kind: 'listing', epoch, facts: FACTS, listing: { rv, objects: [of(partition, rv - 1)] } });
  const batch = (partition: number, previous: Position, ...changes: readonly Change[]): void =>
    put(partition, { kind: 'batch', epoch: 1, batch: { previous, changes } });
  const watermark = (partition: number, previous: Position, rv: number): void =>
    put(partition, { kind: 'watermark', epoch: 1, previous, rv });
  const wanted = (): string[] => asked.map(({ lack }) => `${lack.partition}${lack.from === undefined ? ' all' : ''}`);
  const seen = (): number[] => {
    const { window } = lane.cache;
    return Array.from({ length: window.size }, (_, i) => window.at(window.first + i).rv);
  };
  return { clock, lane, ends, answer, listing, batch, watermark, put, wanted, seen };
}

function at10() {
  const it = started();
  it.listing(0, 10);
  it.listing(1, 10);
  return it;
}

describe('several partitions are one lane', () => {
  test('I2: in one order, as far as the slowest is known to be', () => {
    const { batch, watermark, seen, lane } = at10();
    batch(1, whole(10), modified(1, 12), modified(1, 15));
    expect(seen()).toEqual([]);
    batch(0, whole(10), modified(0, 11), modified(0, 13));
    expect(seen()).toEqual([11, 12, 13]);
    watermark(0, { rv: 13, index: 0 }, 20);
    expect([seen(), lane.cache.watermark]).toEqual([[11, 12, 13, 15], 15]);
  });

  test('begin at one moment, each with its own', async () => {
    const { lane, answer, wanted, seen } = started();
    lane.start();
    const ready = lane.whenReady(1_000);
    expect(wanted()).toEqual(['0 all', '1 all']);
    await answer(0, {
      ...stateAt(10, [of(0, 9)]),
      changes: [modified(0, 12), modified(0, 25)],
      position: whole(26),
      watermark: 26,
    });
    await answer(1, stateAt(20, [of(1, 19)]));
    expect(await ready, 'also on a lane where nothing moves').toBe(true);
    expect(lane.cache.get(`${NAMESPACES[0]}/x`)?.rv).toBe(12);
    expect([lane.cache.watermark, seen()]).toEqual([20, []]);
  });

  test('one that is behind the moment of all is asked for again, ever more slowly', async () => {
    const { lane, answer, wanted, clock } = started();
    lane.start();
    await answer(0, stateAt(20));
    await answer(1, stateAt(15));
    expect([lane.ready, wanted()]).toEqual([false, []]);
    await clock.advanceAsync(100);
    await answer(1, stateAt(16));
    await clock.advanceAsync(100);
    expect(wanted()).toEqual([]);
    await clock.advanceAsync(100);
    await answer(1, stateAt(21));
    // The other is behind that one now.
    await clock.advanceAsync(100);
    await answer(0, stateAt(21));
    expect(lane.ready).toBe(true);
  });

  test('a whole state of one makes the lane gather those of all, and repair in one step', async () => {
    const { answer, batch, listing, clock, wanted, lane, ends, seen } = at10();
    listing(0, 30);
    batch(1, whole(10), modified(1, 12));
    expect([lane.cache.watermark, wanted()]).toEqual([10, []]);
    await clock.advanceAsync(500);
    expect(wanted()).toEqual(['1 all']);
    await answer(1, stateAt(31, [of(1, 12)]));
    // Partition 0 was listed below that.
    await clock.advanceAsync(100);
    await answer(0, stateAt(31, [of(0, 29)]));
    expect([lane.cache.watermark, seen(), ends]).toEqual([31, [12, 29], []]);
  });

  test('one that was filling a hole is asked for all of it instead', async () => {
    const { answer, batch, listing, clock, wanted, lane } = at10();
    batch(1, { rv: 12, index: 0 }, modified(1, 13));
    listing(0, 30);
    expect(wanted()).toEqual(['1']);
    await clock.advanceAsync(500);
    expect(wanted()).toEqual(['1', '1 all']);
    await answer(1, changesTo(12, modified(1, 12)));
    await answer(1, stateAt(30, [of(1, 13)]));
    expect(lane.cache.watermark).toBe(30);
  });

  test('another history begins when all are in it', async () => {
    const { listing, ends, lane, clock, wanted, answer } = at10();
    listing(0, 5, 2);
    expect(ends).toEqual([]);
    await clock.advanceAsync(500);
    await answer(1, stateAt(12, []));
    expect([ends, wanted()]).toEqual([[], []]);
    await clock.advanceAsync(100);
    await answer(1, stateAt(5, [], { epoch: 2 }));
    expect([ends, lane.cache.watermark, lane.epoch]).toEqual([['expired'], 5, 2]);
  });

  test('the end is told once', () => {
    const { put, ends } = at10();
    for (const partition of [0, 1]) put(partition, { kind: 'end', epoch: 1, end: 'ended' });
    expect(ends).toEqual(['ended']);
  });

  test('a change at what was vouched for makes the lane be synced anew, also while all fill holes', async () => {
    const { batch, watermark, wanted, answer, clock, lane } = at10();
    // Both miss a part.
    watermark(0, { rv: 12, index: 0 }, 15);
    watermark(1, { rv: 12, index: 0 }, 15);
    expect(wanted()).toEqual(['0', '1']);
    await answer(0, { ...changesTo(20, modified(0, 11)), watermark: 20 });
    watermark(0, whole(20), 25);
    // Partition 1 is vouched for up to 18, and a change follows at 17.
    await answer(1, { ...changesTo(12), watermark: 18, position: { rv: 12, index: 0 } });
    batch(1, { rv: 12, index: 0 }, modified(1, 17));
    expect(wanted()).toEqual(['0 all', '1 all']);
    await clock.advanceAsync(500);
    await answer(0, stateAt(30));
    await answer(1, stateAt(30));
    expect(lane.cache.watermark).toBe(30);
  });
});
