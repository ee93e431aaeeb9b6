import { expect, test } from 'vitest';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import type { Recovery } from '@dogwatch/replica/lane-supply.ts';
import { FACTS, silent, whole } from '@dogwatch/replica/test-ingest.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import { HeldTrack } from './held-track.ts';

const EVENTS: Lane = { group: '', version: 'v1', resource: 'events', encoding: 'json', view: 'object' };

function heldBy(bus: MemoryBus, recovery: Recovery): HeldTrack {
  const limits = { windowBytesMax: 1_000_000, tombstoneBytesMax: 1_000 };
  const shard = { shard: 'shard-0', lane: EVENTS, partition: 0, limits, clock: createFakeClock(), log: silent };
  return new HeldTrack({ ...shard, bus, recovery });
}

test.each(['history', 'present'] as const)(
  'I4: of Events, a follower that was given a part of a version (%s) gets the rest of it',
  async (how) => {
    const bus = new MemoryBus();
    const first = heldBy(bus, { recover: () => Promise.reject(new Error('nobody')) });
    const put = (previous: { rv: number; index: number }, ...names: string[]): void =>
      bus.publish(trackOf(EVENTS), {
        kind: 'batch',
        epoch: 1,
        batch: { previous, changes: names.map((name) => change('DELETED', pod(name, 11))) },
      });
    const objects = ['a', 'b', 'c'].map((name) => pod(name, 5));
    bus.publish(trackOf(EVENTS), { kind: 'listing', epoch: 1, facts: FACTS, listing: { rv: 10, objects } });
    put(whole(10), 'a', 'b');
    const { cache } = first.replica;
    const state = { ...first.state(undefined)!, ...(how === 'history' ? {} : cache.present()) };
    expect(state.watermark).toBe(10);
    const later = heldBy(bus, {
      recover: async ({ from }) => (from === undefined ? state : first.state(from)!),
    });
    later.start();
    await new Promise((resolve) => setImmediate(resolve));
    put({ rv: 11, index: 1 }, 'c');
    await new Promise((resolve) => setImmediate(resolve));
    expect([first.replica.cache.size, later.replica.cache.size]).toEqual([0, 0]);
    expect(later.replica.cache.position).toEqual({ rv: 11, index: 2 });
  },
);
