import { scanObject } from '@dogwatch/kube/object-scanner.ts';
import { describe, expect, test } from 'vitest';
import { populateFleets } from './rate-fleets.ts';
import { RateWriter } from './rate-writer.ts';
import { SIMULATED_RESOURCES } from './simulated-resources.ts';
import { SimulatedStore } from './simulated-store.ts';

/** A writer of the leases of so many nodes, by a clock of the test's own, in microseconds. */
function writing(options: { nodes: number; rate: number; seed?: number; limit?: number }) {
  const store = new SimulatedStore(SIMULATED_RESOURCES, 10_000, 1_000_000_000);
  const { leases: fleet } = populateFleets(store, { nodes: options.nodes, podsPerNode: 1, namespaces: 1 });
  const clock = { now: 1_000_000 };
  const writer = new RateWriter({ store, fleet, seed: 1, ...options, now: () => clock.now });
  writer.start();
  const collection = store.collection('coordination.k8s.io', 'leases');
  /** Names and bytes of everything written. */
  const written = () => {
    const objects: Buffer[] = [];
    for (let position = collection.oldest; position < collection.head; position += 1)
      objects.push(collection.at(position)?.object.bytes('protobuf') ?? Buffer.alloc(0));
    return objects;
  };
  const tick = (micros: number) => {
    clock.now += micros;
    writer.tick();
  };
  return { store, writer, collection, written, tick };
}

describe('the rate writer', () => {
  test('writes what is due at each tick: a constant rate whatever the ticks are', () => {
    const { store, writer, tick } = writing({ nodes: 10, rate: 150_000 });
    const before = store.resourceVersion;
    tick(1_000);
    expect(writer.report().written).toBe(150);
    tick(500);
    tick(2_500);
    expect(writer.report()).toMatchObject({ written: 600, skipped: 0, lateMicrosMax: 2_500, seconds: 0.004 });
    expect(store.resourceVersion).toBe(before + 600);
    writer.stop();
  });

  test('catches up a quarter of a second at most, and says what it gave up', () => {
    const { writer, tick } = writing({ nodes: 10, rate: 10_000 });
    tick(600_000);
    expect(writer.report()).toMatchObject({ written: 2_500, skipped: 3_500 });
    writer.stop();
  });

  test('writes every object once before any twice, in an order of the seed; bytes and all', () => {
    const run = (seed: number) => {
      const { writer, written, tick } = writing({ nodes: 50, rate: 100_000, seed });
      tick(1_000);
      writer.stop();
      return written();
    };
    const names = (objects: Buffer[]) => objects.map((object) => scanObject('protobuf', object).name);
    const first = run(1);
    expect(first).toHaveLength(100);
    expect(new Set(names(first.slice(0, 50))).size).toBe(50);
    expect(Buffer.concat(run(1)).equals(Buffer.concat(first))).toBe(true);
    expect(names(run(2))).not.toEqual(names(first));
  });

  test('leaves alone what somebody else has written or deleted, and stops at its limit', async () => {
    const { store, writer, collection, written, tick } = writing({ nodes: 3, rate: 1_000, limit: 4 });
    store.delete(collection, 'kube-node-lease/node-000001');
    tick(10_000);
    await writer.done;
    const names = new Set(written().map((object) => scanObject('protobuf', object).name));
    expect(names).toEqual(new Set(['node-000000', 'node-000001', 'node-000002']));
    expect(collection.get('kube-node-lease/node-000001')).toBeUndefined();
    expect(writer.report().written).toBe(4);
  });
});
