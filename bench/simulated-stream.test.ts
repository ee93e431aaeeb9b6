import { afterEach, describe, expect, test } from 'vitest';
import { populateFleets } from './rate-fleets.ts';
import { SimulatedCounters } from './simulated-counters.ts';
import { SIMULATED_RESOURCES } from './simulated-resources.ts';
import { SimulatedStore } from './simulated-store.ts';
import { SimulatedStream } from './simulated-stream.ts';
import { SimulatedValve } from './simulated-valve.ts';
import { SimulatedWatch } from './simulated-watch.ts';

const JSON_OBJECTS = { encoding: 'json', view: 'object' } as const;
let stream: SimulatedStream | undefined;

afterEach(() => stream?.close());

/** A watch of pods whose socket takes one write and no more, until `drain`. */
function stalled(window: number) {
  const store = new SimulatedStore(SIMULATED_RESOURCES, window, 1_000_000_000);
  const { pods: fleet } = populateFleets(store, { nodes: 10, podsPerNode: 10, namespaces: 1 });
  const pods = store.collection('', 'pods');
  const counts = new SimulatedCounters().of(pods.resource);
  const sink = {
    written: 0,
    ended: false,
    drain: () => undefined as void,
    write: (bytes: Buffer) => {
      sink.written += bytes.length;
      return false;
    },
    end: () => void (sink.ended = true),
    once: (_event: 'drain', callback: () => void) => void (sink.drain = callback),
  };
  const after = store.resourceVersion;
  const watch = new SimulatedWatch({
    collection: pods,
    scope: { labels: [], fields: [] },
    wire: JSON_OBJECTS,
    initial: pods.list().slice(0, 1),
    position: pods.head,
    after,
    endBookmark: undefined,
  });
  const valve = new SimulatedValve();
  const options = { watch, wire: JSON_OBJECTS, sink, bookmarks: false, timeoutSeconds: 60, counts, valve };
  const opened = new SimulatedStream({ ...options, onEnd: () => undefined });
  stream = opened;
  pods.onEvent(() => opened.wake());
  const write = (batches: number) => {
    const indexes = Uint32Array.from({ length: fleet.size }, (_, index) => index);
    for (let batch = 0; batch < batches; batch += 1)
      store.writeFleet(pods, fleet, indexes, new Float64Array(fleet.size));
  };
  return { sink, counts, write, size: fleet.template.length('json', 'event') };
}

describe('a stream whose client takes nothing', () => {
  test('holds what was written once, and is ended and counted 512 MiB behind', () => {
    const { sink, counts, write, size } = stalled(100_000);
    const below = Math.floor((512 * 1024 * 1024) / size / 100);
    write(below - 2);
    expect([sink.ended, sink.written < 2 * size]).toEqual([false, true]);
    write(4);
    expect([sink.ended, counts.slowWatches]).toEqual([true, 1]);
  });

  test('goes on where it was, if it takes again before that', () => {
    const { sink, counts, write, size } = stalled(100_000);
    const first = sink.written;
    write(2);
    // 700 KB, a quarter of a megabyte at once.
    for (let drains = 0; drains < 3; drains += 1) sink.drain();
    expect([sink.ended, counts.events]).toEqual([false, 200]);
    expect(sink.written).toBe(first + 200 * size);
  });

  test('is ended and counted when the window has passed it', () => {
    const { sink, counts, write } = stalled(150);
    write(3);
    expect(sink.ended).toBe(false);
    sink.drain();
    expect([sink.ended, counts.slowWatches]).toEqual([true, 1]);
  });
});
