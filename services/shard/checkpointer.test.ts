import { describe, expect, onTestFinished, test } from 'vitest';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import { TrackStateReader } from '@dogwatch/bus/track-state-codec.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { FACTS, PODS, silent, whole } from '@dogwatch/replica/test-ingest.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import { Checkpointer } from './checkpointer.ts';
import { HeldTrack } from './held-track.ts';

function started({ listed = true } = {}) {
  const bus = new MemoryBus();
  const clock = createFakeClock();
  const held = new HeldTrack({
    bus,
    shard: 'shard-0',
    lane: PODS,
    partition: 0,
    recovery: { recover: () => Promise.reject(new Error('nobody')) },
    limits: { windowBytesMax: 1_000_000, tombstoneBytesMax: 100_000 },
    clock,
    log: silent,
  });
  const listing = (rv: number, epoch = 1): void =>
    bus.publish(trackOf(PODS), { kind: 'listing', epoch, facts: FACTS, listing: { rv, objects: [pod('a', 3)] } });
  const modified = (previous: { rv: number; index: number }, rv: number): void =>
    bus.publish(trackOf(PODS), {
      kind: 'batch',
      epoch: 1,
      batch: { previous, changes: [change('MODIFIED', pod('a', rv))] },
    });
  if (listed) listing(10);
  const written: TrackState[] = [];
  const store = {
    fails: false,
    write: async (_track: string, pages: Iterable<Buffer>): Promise<void> => {
      if (store.fails) throw new Error('JetStream is away');
      const reader = new TrackStateReader();
      for (const page of pages) {
        const state = reader.add(page);
        if (state !== undefined) written.push(state);
      }
    },
  };
  let due: readonly HeldTrack[] = [held];
  const abort = new AbortController();
  const checkpointer = new Checkpointer(
    { checkpoints: store, clock, log: silent },
    { intervalMs: 60_000, due: () => due },
  );
  const running = checkpointer.run(abort.signal);
  const stop = async (): Promise<void> => {
    abort.abort();
    await running;
    expect(clock.pending).toBe(0);
  };
  onTestFinished(stop);
  const own = (mine: boolean): void => void (due = mine ? [held] : []);
  return { clock, listing, modified, written, store, stop, own };
}

describe('a checkpoint', () => {
  test('comes soon, and holds all that watches can resume from', async () => {
    const { clock, modified, written } = started();
    modified(whole(10), 11);
    await clock.advanceAsync(2_000);
    expect(written).toMatchObject([
      { kind: 'state', epoch: 1, listing: { rv: 10 }, position: { rv: 11 }, watermark: 11 },
    ]);
    expect(written[0]!.changes).toHaveLength(1);
  });

  test('then is due at its interval, if anything moved', async () => {
    const { clock, modified, written } = started();
    await clock.advanceAsync(120_000);
    expect(written).toHaveLength(1);
    modified(whole(10), 11);
    modified({ rv: 11, index: 0 }, 12);
    await clock.advanceAsync(2_000);
    expect(written).toHaveLength(2);
    modified({ rv: 12, index: 0 }, 13);
    await clock.advanceAsync(58_000);
    expect(written).toHaveLength(2);
    await clock.advanceAsync(4_000);
    expect(written.at(-1)).toMatchObject({ watermark: 13 });
  });

  test('of another history is due at once, also where its versions are lower', async () => {
    const { clock, listing, written } = started();
    await clock.advanceAsync(2_000);
    listing(4, 2);
    await clock.advanceAsync(2_000);
    expect(written.map(({ epoch, watermark }) => [epoch, watermark])).toEqual([
      [1, 10],
      [2, 4],
    ]);
  });

  test('is not made of a track that is not there yet, or that is for another to write', async () => {
    const { clock, listing, written, own } = started({ listed: false });
    await clock.advanceAsync(4_000);
    own(false);
    listing(10);
    await clock.advanceAsync(4_000);
    expect(written).toEqual([]);
    own(true);
    await clock.advanceAsync(2_000);
    expect(written).toHaveLength(1);
  });

  test('that could not be written is tried again', async () => {
    const { clock, written, store } = started();
    store.fails = true;
    await clock.advanceAsync(4_000);
    store.fails = false;
    await clock.advanceAsync(2_000);
    expect(written).toHaveLength(1);
  });

  test('is given up when the shard stops', async () => {
    const { clock, written, store, stop } = started();
    const begun = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const { write } = store;
    store.write = async (track, pages) => {
      begun.resolve();
      await go.promise;
      await write(track, pages);
    };
    await clock.advanceAsync(2_000);
    await begun.promise;
    const stopped = stop();
    go.resolve();
    await stopped;
    expect(written).toEqual([]);
  });
});
