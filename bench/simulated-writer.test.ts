import { describe, expect, test } from 'vitest';
import { populate, SMALL_CLUSTER } from './simulated-population.ts';
import { SIMULATED_RESOURCES } from './simulated-resources.ts';
import { SimulatedStore } from './simulated-store.ts';
import { SimulatedWriter } from './simulated-writer.ts';
import { monotonicMicros, readResourceVersion, readStamp } from './written-stamp.ts';

function populated(): SimulatedStore {
  const store = new SimulatedStore(SIMULATED_RESOURCES, 10_000);
  populate(store, { ...SMALL_CLUSTER, nodes: 10, podsPerNode: 3 });
  return store;
}

describe('the simulated writer', () => {
  test('makes the events it tallies, each a valid object at its own version with the moment it was due', async () => {
    const store = populated();
    const before = store.resourceVersion;
    const started = monotonicMicros();
    const writer = new SimulatedWriter({ store, rate: 10_000, limit: 1_000 });
    writer.start();
    await writer.done;
    expect([writer.written, writer.skipped]).toEqual([1_000, 0]);
    expect(store.resourceVersion).toBe(before + 1_000);
    const seen = new Map<string, { count: number; versionSum: number }>();
    for (const collection of store.collections) {
      for (let position = 0; position < collection.head; position += 1) {
        const event = collection.at(position);
        if (event === undefined) throw new Error('the window is too small for this test');
        const frame = event.frame('json');
        const { metadata } = (
          JSON.parse(frame.toString()) as { object: { metadata: { name: string; resourceVersion: string } } }
        ).object;
        expect([metadata.name, metadata.resourceVersion]).toEqual([event.object.name, String(event.resourceVersion)]);
        expect(readResourceVersion(frame, 0)).toBe(event.resourceVersion);
        expect(readStamp(frame, 0, frame.length)).toBeGreaterThanOrEqual(started);
        const { group, resource } = collection.resource;
        const key = `${group}/${resource}/${event.object.namespace}`;
        const tally = seen.get(key) ?? { count: 0, versionSum: 0 };
        seen.set(key, { count: tally.count + 1, versionSum: tally.versionSum + event.resourceVersion });
      }
    }
    expect(seen).toEqual(writer.tallies);
  });

  test('spreads the kinds in the shares of its mix', async () => {
    const store = populated();
    const writer = new SimulatedWriter({
      store,
      rate: 20_000,
      limit: 1_000,
      mix: { lease: 3, pod: 1, configmap: 1, event: 0 },
    });
    writer.start();
    await writer.done;
    expect(writer.tallies.get('coordination.k8s.io/leases/kube-node-lease')?.count).toBe(600);
    expect(writer.tallies.get('/configmaps/demo')?.count).toBe(200);
  });

  test('does nothing at rate 0', () => {
    const store = populated();
    const writer = new SimulatedWriter({ store, rate: 0 });
    writer.start();
    writer.stop();
    expect(writer.written).toBe(0);
  });
});
