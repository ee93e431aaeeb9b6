import { describe, expect, onTestFinished, test } from 'vitest';
import { LaneDirectory, type LaneEntry, resourceKey } from '@dogwatch/bus/lane-directory.ts';
import { linkTrack } from '@dogwatch/bus/link-track.ts';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import { createMemoryControl } from '@dogwatch/bus/memory-control.ts';
import { ownersOf } from '@dogwatch/bus/ownership.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createMetrics } from '@dogwatch/process/metrics.ts';
import { FACTS, PODS, rejection, silent, whole } from '@dogwatch/replica/test-ingest.ts';
import { stateAt } from '@dogwatch/replica/test-shards.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import { Shard } from './shard.ts';

const ENTRY: LaneEntry = { version: 'v1', encoding: 'json', view: 'object', partitions: 4, epoch: 1, rv: 10 };
const LINGER_MS = 30_000;
const TRACKS = [0, 1, 2, 3].map((partition) => trackOf(PODS, partition));

async function started({ shards = ['shard-0'], fanouts = ['f'] } = {}) {
  const bus = new MemoryBus();
  const clock = createFakeClock();
  const control = createMemoryControl();
  const lanes = (...entries: readonly LaneEntry[]): Promise<number> =>
    control.put(resourceKey(PODS), { holder: 'ingest-0', lanes: entries });
  await lanes(ENTRY);
  const members = {
    shards,
    fanouts,
    listeners: new Set<() => void>(),
    alive: (role: 'shard' | 'fanout') => (role === 'shard' ? members.shards : members.fanouts),
    onChange: (listener: () => void) => {
      members.listeners.add(listener);
      return () => members.listeners.delete(listener);
    },
    are: (now: { shards?: string[]; fanouts?: string[] }) => {
      Object.assign(members, now);
      for (const listener of members.listeners) listener();
    },
  };
  const asked: string[] = [];
  bus.serve(
    'sync',
    async ({ partition }) => (asked.push(`ingest ${partition}`), stateAt(10, [pod('a', 5)])),
    undefined,
  );
  const written: string[] = [];
  const shard = new Shard(
    {
      bus,
      clock,
      members,
      log: silent,
      metrics: createMetrics(),
      directory: new LaneDirectory(control),
      archive: { checkpoint: async () => undefined, replay: async () => 'hole' },
      checkpoints: { write: async (track) => void written.push(track) },
    },
    { name: 'shard-0', windowBytesMax: 1_000_000, tombstoneBytesMax: 1_000, checkpointIntervalMs: 60_000 },
  );
  const abort = new AbortController();
  const running = shard.run(abort.signal);
  await clock.advanceAsync(0);
  const stop = async (): Promise<void> => {
    abort.abort();
    await running;
    expect(clock.pending).toBe(0);
  };
  onTestFinished(stop);
  const held = (): string[] =>
    (shard.status()['partitions'] as { partition: number }[]).map(({ partition }) => trackOf(PODS, partition));
  const sync = (partition: number) => bus.request('sync', { lane: PODS, partition, from: undefined }, 'shard-0');
  const link = (follower: string) =>
    bus.request(
      'sync',
      {
        lane: PODS,
        partition: 0,
        from: undefined,
        link: { follower, replace: true, names: ['default/a'], indexed: [] },
      },
      'shard-0',
    );
  const hear = (follower: string): string[] => {
    const heard: string[] = [];
    bus.follow(linkTrack(follower, 'shard-0', trackOf(PODS)), ({ kind }) => heard.push(kind));
    return heard;
  };
  return { bus, clock, lanes, members, asked, written, shard, held, sync, link, hear, stop };
}

describe('what a shard holds', () => {
  test('is what it owns of the lanes that are read: two live shards have each partition', async () => {
    const shards = ['shard-0', 'shard-1', 'shard-2'];
    const { held, shard } = await started({ shards });
    expect(held()).toEqual(TRACKS.filter((track) => ownersOf(track, shards).includes('shard-0')));
    expect(shard.owners(TRACKS[0]!)).toEqual(ownersOf(TRACKS[0]!, shards));
  });

  test('follows who lives: what others own is served on for a while, and kept if it comes back', async () => {
    const { held, members, clock, asked, sync } = await started();
    const others = ['shard-1', 'shard-2', 'shard-3'];
    members.are({ shards: others });
    await clock.advanceAsync(LINGER_MS - 1);
    expect(held()).toEqual(TRACKS);
    expect((await sync(0)).kind).toBe('state');
    members.are({ shards: ['shard-0'] });
    await clock.advanceAsync(LINGER_MS);
    expect([held(), asked]).toEqual([TRACKS, [0, 1, 2, 3].map((partition) => `ingest ${partition}`)]);
    members.are({ shards: others });
    members.are({ shards: others });
    await clock.advanceAsync(LINGER_MS);
    expect(held()).toEqual([]);
    await expect(sync(0)).rejects.toMatchObject({ status: { code: 410 } });
  });

  test('follows the directory', async () => {
    const { held, lanes, clock } = await started();
    await lanes(ENTRY, { ...ENTRY, view: 'metadata', partitions: 1 });
    expect(held()).toHaveLength(5);
    await lanes();
    await clock.advanceAsync(LINGER_MS);
    expect(held()).toEqual([]);
  });

  test('is written by its first owner alone', async () => {
    const shards = ['shard-0', 'shard-1'];
    const { clock, written } = await started({ shards });
    await clock.advanceAsync(2_000);
    expect(written).toEqual(TRACKS.filter((track) => ownersOf(track, shards)[0] === 'shard-0'));
  });
});

describe('requests', () => {
  test('for what a follower lacks are answered as far as it is held', async () => {
    const { bus, sync } = await started();
    const batch = { previous: whole(10), changes: [change('MODIFIED', pod('a', 11))] };
    bus.publish(TRACKS[0]!, { kind: 'batch', epoch: 1, batch });
    expect(await sync(0)).toMatchObject({ kind: 'state', listing: { rv: 10 }, position: { rv: 11 }, watermark: 11 });
    const from = { epoch: 1, position: whole(10) };
    expect(await bus.request('sync', { lane: PODS, partition: 0, from }, 'shard-0')).toMatchObject({
      kind: 'changes',
      changes: [{ type: 'MODIFIED' }],
    });
  });

  test('for a lane that is not read, or while nothing is there yet: a definite no', async () => {
    const { bus, clock, lanes } = await started();
    const other = { ...PODS, view: 'metadata' } as const;
    const ask = () => rejection(bus.request('sync', { lane: other, partition: 0, from: undefined }, 'shard-0'));
    expect(await ask()).toMatchObject({ status: { code: 410 } });
    const state = stateAt(10);
    await lanes(ENTRY, { ...ENTRY, view: 'metadata', partitions: 1 });
    expect(await ask()).toMatchObject({ status: { code: 410 } });
    bus.publish(trackOf(other), { kind: 'listing', epoch: 1, facts: FACTS, listing: state.listing });
    await clock.advanceAsync(0);
    expect(await bus.request('sync', { lane: other, partition: 0, from: undefined }, 'shard-0')).toMatchObject({
      kind: 'state',
    });
  });
});

describe('links', () => {
  test('are marked often, and are over with their follower', async () => {
    const { clock, members, link, hear } = await started({ fanouts: ['f', 'g'] });
    const heard = { f: hear('f'), g: hear('g') };
    await link('f');
    await link('g');
    await clock.advanceAsync(25);
    members.are({ fanouts: ['g'] });
    await clock.advanceAsync(1_025);
    expect(heard).toEqual({ f: ['watermark'], g: ['watermark', 'watermark'] });
  });

  test('what is unlinked is put on them no more', async () => {
    const { bus, clock, link, hear } = await started();
    const heard = hear('f');
    await link('f');
    await bus.request('unlink', { lane: PODS, partition: 0, follower: 'f', names: [], indexed: [] }, 'shard-0');
    await bus.request('unlink', { lane: PODS, partition: 9, follower: 'f', names: [], indexed: [] }, 'shard-0');
    await clock.advanceAsync(2_000);
    expect(heard).toEqual([]);
  });

  test('a lane that left the directory ends them; one that moved to others does not', async () => {
    const { clock, lanes, members, link, hear } = await started();
    const heard = hear('f');
    await link('f');
    members.are({ shards: ['shard-1', 'shard-2'] });
    await clock.advanceAsync(LINGER_MS);
    expect(heard).not.toContain('end');
    members.are({ shards: ['shard-0'] });
    await clock.advanceAsync(0);
    await link('f');
    await lanes();
    await clock.advanceAsync(LINGER_MS);
    expect(heard.at(-1)).toBe('end');
  });
});
