import { describe, expect, test } from 'vitest';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import type { LaneFacts } from '@dogwatch/watch/lane-view.ts';
import { partitionOf } from '@dogwatch/watch/partition.ts';
import { change, pod, podSchema } from '@dogwatch/watch/test-objects.ts';
import { WHOLE_VERSION, WatchCache } from '@dogwatch/watch/watch-cache.ts';
import type { PublisherOptions } from './publisher.ts';
import { leadingPublisher, tracksOf } from './test-lane.ts';
import { turns } from './test-upstream.ts';

const FACTS = { schema: podSchema, kind: 'Pod', apiVersion: 'v1', listKind: 'PodList' } as LaneFacts;
const LIMITS = { windowBytesMax: 1_000_000, tombstoneBytesMax: 0, stateDiff: false };
const whole = (rv: number) => ({ rv, index: WHOLE_VERSION });

/** A namespace of each of four partitions. */
const SPACES = [0, 1, 2, 3].map((wanted) => {
  for (let i = 0; ; i++) if (partitionOf(`ns${i}`, 'a', 4) === wanted) return `ns${i}`;
});

const modified = (partition: number, rv: number) => change('MODIFIED', pod('a', rv, { namespace: SPACES[partition]! }));

/** A publisher of four partitions, listed at 10, and a cache of each that throws at any gap. */
function started(options: Partial<PublisherOptions> = {}) {
  const bus = new MemoryBus();
  const clock = createFakeClock();
  const publisher = leadingPublisher(bus, { clock, partitions: 4, ringBytesMax: 1_000_000, ...options });
  /** `partition kind rv`, as published. */
  const seen: string[] = [];
  const caches: WatchCache[] = [];
  const take = (partition: number, envelope: Envelope): void => {
    const cache = caches[partition];
    if (envelope.kind === 'listing') {
      caches[partition] = new WatchCache(podSchema, envelope.listing, LIMITS);
      seen.push(
        `${partition} listing ${envelope.listing.objects.map(({ name }) => name).join()}@${envelope.listing.rv}`,
      );
    } else if (envelope.kind === 'batch') {
      cache!.apply(envelope.batch);
      seen.push(`${partition} batch ${envelope.batch.changes.map(({ object }) => object.rv).join()}`);
    } else if (envelope.kind === 'watermark') {
      cache!.advance(envelope.rv, envelope.previous);
      seen.push(`${partition} watermark ${envelope.rv}`);
    }
  };
  for (const partition of [0, 1, 2, 3]) bus.follow(`t${partition}`, (envelope) => take(partition, envelope));
  void publisher.listing(FACTS, { rv: 10, objects: [pod('a', 5, { namespace: SPACES[2]! })] }, true);
  const listed = seen.splice(0);
  return { bus, clock, publisher, seen, caches, listed };
}

test('a listing is given to each partition: what is of it', () => {
  expect(started().listed).toEqual(['0 listing @10', '1 listing @10', '2 listing a@10', '3 listing @10']);
});

test('a turn brings a batch to the partitions it concerns, and then to all others a watermark', async () => {
  const { publisher, seen, caches } = started();
  publisher.change(modified(1, 11));
  publisher.change(modified(3, 12));
  publisher.change(modified(1, 13));
  expect(seen).toEqual([]);
  await turns();
  expect(seen).toEqual(['1 batch 11,13', '3 batch 12', '0 watermark 13', '2 watermark 13', '3 watermark 13']);
  expect(caches.map(({ watermark }) => watermark)).toEqual([13, 13, 13, 13]);
});

describe('watermarks', () => {
  test('go out at once where followers wait for what was read, and what was read goes out ungathered', async () => {
    const { publisher, seen, clock } = started({ gatherMs: 10 });
    await clock.advanceAsync(20);
    publisher.change(modified(0, 11));
    await turns();
    seen.length = 0;
    await clock.advanceAsync(1);
    publisher.change(modified(0, 12));
    publisher.hasten(14);
    publisher.change(modified(0, 13));
    await turns();
    expect(seen, 'it is not there yet').toEqual([]);
    publisher.change(modified(1, 14));
    await turns();
    expect(seen).toEqual(['0 batch 12,13', '1 batch 14', '0 watermark 14', '2 watermark 14', '3 watermark 14']);
    seen.length = 0;
    publisher.change(modified(0, 15));
    await turns();
    expect(seen, 'nobody waits any more').toEqual([]);
    publisher.hasten(15);
    await turns();
    expect(seen).toEqual(['0 batch 15', '1 watermark 15', '2 watermark 15', '3 watermark 15']);
    expect(clock.pending).toBe(0);
  });

  test('go out every 20 ms at most, and the last one owed is sent by itself', async () => {
    const { publisher, seen, clock, caches } = started();
    publisher.change(modified(0, 11));
    await turns();
    seen.length = 0;
    for (const rv of [12, 13, 14]) {
      await clock.advanceAsync(5);
      publisher.change(modified(0, rv));
      await turns();
    }
    expect(seen).toEqual(['0 batch 12', '0 batch 13', '0 batch 14']);
    await clock.advanceAsync(5);
    expect(seen.slice(3)).toEqual(['1 watermark 14', '2 watermark 14', '3 watermark 14']);
    expect(caches.map(({ watermark }) => watermark)).toEqual([14, 14, 14, 14]);
    expect(clock.pending).toBe(0);
  });

  test('never pass an event that is still gathering (a watermark over a gathering partition)', async () => {
    const { publisher, seen, clock, caches } = started();
    publisher.change(modified(0, 11));
    await turns();
    publisher.change(modified(0, 12));
    await turns();
    seen.length = 0;
    // Read, not published, and the watermark owed falls due in this very moment.
    publisher.change(modified(2, 13));
    clock.advance(20);
    expect(seen).toEqual(['2 batch 13', '0 watermark 13', '1 watermark 13', '3 watermark 13']);
    expect(caches[2]!.get(`${SPACES[2]}/a`)?.rv).toBe(13);
  });

  test('of upstream go to all at once, behind what was read', () => {
    const { publisher, seen } = started();
    publisher.change(modified(0, 11));
    publisher.watermark(20);
    expect(seen[0]).toBe('0 batch 11');
    expect(seen.slice(-4)).toEqual(['0 watermark 20', '1 watermark 20', '2 watermark 20', '3 watermark 20']);
  });
});

describe('an event of a version that was vouched for', () => {
  test('is never published, and never skipped: the lane is listed anew', async () => {
    const { publisher, seen } = started();
    const lost: string[] = [];
    publisher.onLost = (reason) => void lost.push(reason);
    publisher.change(modified(0, 11));
    await turns();
    seen.length = 0;
    expect(publisher.change(modified(1, 11))).toBe(false);
    await turns();
    expect(seen).toEqual([]);
    expect(lost).toEqual(['an event came at version 11, which followers were told was whole']);
  });

  test('that was only read in the same turn is one of it', async () => {
    const { publisher, seen } = started();
    publisher.change(modified(0, 11));
    expect(publisher.change(modified(1, 11))).toBe(true);
    await turns();
    expect(seen.slice(0, 2)).toEqual(['0 batch 11', '1 batch 11']);
  });

  test('is not asked for again by a watch that is resumed', () => {
    const { publisher } = started();
    publisher.change(modified(0, 11));
    expect(publisher.resumeFrom(false)).toBe(11);
  });
});

describe('what is kept', () => {
  test('answers a follower of one partition that lacks its last changes', async () => {
    const { publisher } = started();
    for (const rv of [11, 13, 15]) publisher.change(modified(1, rv));
    await turns();
    const state = publisher.sync(1, { epoch: 1, position: { rv: 11, index: 0 } });
    expect(state).toMatchObject({ kind: 'changes', epoch: 1, position: { rv: 15, index: 0 }, watermark: 15 });
    expect(state!.changes.map(({ object }) => object.rv)).toEqual([13, 15]);
    expect(publisher.sync(0, { epoch: 1, position: whole(10) })).toMatchObject({ changes: [], position: whole(10) });
  });

  test('includes what was read in this turn, which is then published first', () => {
    const { publisher, seen } = started();
    publisher.change(modified(1, 11));
    expect(publisher.sync(1, { epoch: 1, position: whole(10) })!.changes).toHaveLength(1);
    expect(seen[0]).toBe('1 batch 11');
  });

  test('does not continue another history, nor what was evicted', async () => {
    const { publisher } = started({ ringBytesMax: 1_000 });
    for (let rv = 11; rv < 30; rv++) publisher.change(modified(1, rv));
    await turns();
    expect(publisher.sync(1, { epoch: 1, position: whole(10) })).toBeUndefined();
    expect(publisher.sync(1, { epoch: 2, position: whole(29) })).toBeUndefined();
    expect(publisher.sync(1, { epoch: 1, position: whole(28) })!.changes).toHaveLength(1);
  });

  test('with the last listing gives a follower all there is, as long as that is retained', async () => {
    const { publisher, clock } = started({ retainListingMs: 60_000 });
    publisher.change(modified(2, 11));
    const state = publisher.sync(2, undefined);
    expect(state).toMatchObject({ kind: 'state', listing: { rv: 10 }, horizon: 10, tombstones: [], watermark: 11 });
    expect([state!.changes.length, state!.kind === 'state' && state!.listing.objects.length]).toEqual([1, 1]);
    await clock.advanceAsync(60_000);
    expect(publisher.sync(2, undefined)).toBeUndefined();
  });

  test('is published again after the bus was away, from so long before', async () => {
    const { publisher, clock, seen } = started();
    publisher.change(modified(1, 11));
    await clock.advanceAsync(10_000);
    publisher.change(modified(1, 12));
    await turns();
    seen.length = 0;
    publisher.republish(clock.now() - 5_000);
    expect(seen[0]).toBe('1 batch 12');
    expect(seen).toHaveLength(5);
  });
});

describe('a new epoch', () => {
  test('is published only when it was declared, and with it all that was read meanwhile', async () => {
    const declared = Promise.withResolvers<void>();
    const asked: number[] = [];
    const epochs = {
      next: (after: number) => after + 7,
      declare: (epoch: number) => {
        asked.push(epoch);
        return asked.length === 1 ? undefined : declared.promise;
      },
    };
    const { publisher, seen, caches, clock } = started({ epochs });
    publisher.change(modified(0, 11));
    const published = publisher.listing(FACTS, { rv: 4, objects: [] }, true);
    expect(seen.splice(0)).toEqual(['0 batch 11', '1 watermark 11', '2 watermark 11', '3 watermark 11']);
    publisher.change(modified(0, 5));
    publisher.watermark(6);
    await turns();
    expect(seen).toEqual([]);
    expect(publisher.sync(0, { epoch: 14, position: whole(4) })).toBeUndefined();
    declared.resolve();
    await published;
    expect(asked).toEqual([7, 14]);
    expect(seen.slice(0, 5)).toEqual(['0 listing @4', '1 listing @4', '2 listing @4', '3 listing @4', '0 batch 5']);
    await clock.advanceAsync(20);
    expect(caches.map(({ watermark }) => watermark)).toEqual([6, 6, 6, 6]);
  });

  test('that was not declared in time is no history to go on with', async () => {
    const epochs = { next: (after: number) => after + 1, declare: () => Promise.withResolvers<void>().promise };
    const bus = new MemoryBus();
    const publisher = leadingPublisher(bus, { partitions: 4, epochs });
    void publisher.listing(FACTS, { rv: 10, objects: [] }, true);
    publisher.standBy();
    expect(publisher.epoch).toBe(0);
  });
});

test('one that stood by publishes what it kept behind a version, and goes on from there', async () => {
  const { bus, publisher: leader, seen, caches } = started();
  const publisher = leadingPublisher(bus, { partitions: 4, ringBytesMax: 1_000_000 });
  publisher.standBy();
  publisher.restart(1, 10);
  const read = [
    [0, 11],
    [1, 12],
    [0, 13],
    [2, 14],
  ] as const;
  for (const [partition, rv] of read) publisher.change(modified(partition, rv));
  for (const [partition, rv] of read.slice(0, 2)) leader.change(modified(partition, rv));
  await turns();
  leader.standBy();
  seen.length = 0;
  publisher.lead(tracksOf(4, { above: 12, term: 5 }));
  expect(seen).toEqual(['0 batch 13', '2 batch 14', '0 watermark 14', '1 watermark 14', '3 watermark 14']);
  publisher.change(modified(3, 15));
  await turns();
  expect(caches[3]!.watermark).toBe(15);
});
