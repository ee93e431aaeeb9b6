import { parseWatchFrame } from '@dogwatch/kube/watch-event.ts';
import { createFrameScanner } from '@dogwatch/kube/frame-scanner.ts';
import type { Encoding } from '@dogwatch/kube/lane.ts';
import { scanObject } from '@dogwatch/kube/object-scanner.ts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { populateFleets, type RateFleets } from './rate-fleets.ts';
import { VersionTooOld, type Collection } from './simulated-collection.ts';
import { encodeProtobuf } from './simulated-protobuf.ts';
import { LEASE, POD } from './simulated-protobuf-schemas.ts';
import { SIMULATED_RESOURCES } from './simulated-resources.ts';
import { inScope, parseFieldSelector, type Scope } from './simulated-selector.ts';
import { SimulatedStore } from './simulated-store.ts';
import { SimulatedWatch } from './simulated-watch.ts';
import { writeOptions } from './simulated-writes.ts';

const FIRST = 1_000_000_000;
const NODES = 3;

interface Cluster {
  readonly store: SimulatedStore;
  readonly fleets: RateFleets;
  readonly leases: Collection;
  readonly pods: Collection;
}

function cluster(window = 1_000): Cluster {
  const store = new SimulatedStore(SIMULATED_RESOURCES, window, FIRST);
  const fleets = populateFleets(store, { nodes: NODES, podsPerNode: 2, namespaces: 2 });
  const leases = store.collection('coordination.k8s.io', 'leases');
  return { store, fleets, leases, pods: store.collection('', 'pods') };
}

function writeLeases({ store, fleets, leases }: Cluster, indexes: readonly number[], stamp = 5_123_456): void {
  store.writeFleet(
    leases,
    fleets.leases,
    Uint32Array.from(indexes),
    Float64Array.from(indexes, () => stamp),
  );
}

interface Seen {
  readonly type: string;
  readonly name: string;
  readonly version: number;
}

function read(
  collection: Collection,
  scope: Scope,
  { after, encoding }: { after: number; encoding: Encoding },
): Seen[] {
  const watch = new SimulatedWatch({
    collection,
    scope,
    wire: { encoding, view: 'object' },
    initial: [],
    position: collection.positionAfter(after),
    after,
    endBookmark: undefined,
  });
  const seen: Seen[] = [];
  const scanner = createFrameScanner(encoding);
  let counted = 0;
  while (!watch.idle) {
    const taken = watch.take(1);
    counted += taken?.events ?? 0;
    for (const bytes of taken?.frames ?? []) {
      scanner.push(bytes, (frame) => {
        const { type, object } = parseWatchFrame(encoding, frame);
        const { name, resourceVersion } = scanObject(encoding, object);
        seen.push({ type, name, version: resourceVersion });
      });
    }
  }
  expect(counted).toBe(seen.length);
  return seen;
}

const everything: Scope = { labels: [], fields: [] };

describe('an object of a fleet', () => {
  test('says the same in JSON and in protobuf, at the version and the moment of its last write', () => {
    const state = cluster();
    // Nanoseconds above 2^28 take five bytes anyway, so that nothing is padded.
    writeLeases(state, [2, 0], 77_987_654);
    const lease = state.leases.get('kube-node-lease/node-000002');
    const json = JSON.parse(lease?.bytes('json').toString() ?? '') as Record<string, Record<string, unknown>>;
    expect(json['metadata']?.['resourceVersion']).toBe(String(state.store.resourceVersion - 1));
    expect(json['spec']?.['renewTime']).toBe('2026-01-01T00:01:17.987654Z');
    expect(json['spec']?.['holderIdentity']).toBe('node-000002');
    expect(lease?.bytes('protobuf').equals(encodeProtobuf(LEASE, json))).toBe(true);
    const pod = state.pods.get('app-01/web-000001-00');
    const podJson = JSON.parse(pod?.bytes('json').toString() ?? '') as Record<string, unknown>;
    expect(pod?.bytes('protobuf').equals(encodeProtobuf(POD, podJson))).toBe(true);
    expect(pod?.fields['spec.nodeName']).toBe('node-000001');
  });

  test('has the size of a real one', () => {
    const { fleets } = cluster();
    const bytes = (fleet: keyof RateFleets, encoding: Encoding) => fleets[fleet].template.length(encoding, 'object');
    expect(bytes('leases', 'protobuf')).toBeLessThan(450);
    expect(bytes('leases', 'json')).toBeGreaterThan(700);
    expect(bytes('pods', 'protobuf')).toBeGreaterThan(1_800);
    expect(bytes('pods', 'json')).toBeLessThan(4_096);
  });

  test('needs versions of ten digits', () => {
    const store = new SimulatedStore(SIMULATED_RESOURCES, 10, 1);
    const { leases } = populateFleets(store, { nodes: 1, podsPerNode: 1, namespaces: 1 });
    expect(() => leases.at(0).bytes('json')).toThrow(RangeError);
  });
});

describe('a collection with a fleet', () => {
  test.each<Encoding>(['json', 'protobuf'])('brings any older state to the present one, in %s', (encoding) => {
    const action = fc.oneof(
      fc.record({
        kind: fc.constant('batch' as const),
        indexes: fc.array(fc.nat(NODES - 1), { minLength: 1, maxLength: 4 }),
      }),
      fc.record({ kind: fc.constantFrom('put' as const, 'delete' as const), index: fc.nat(NODES - 1) }),
    );
    const scopes: Scope[] = [
      everything,
      { namespace: 'kube-node-lease', labels: [], fields: [] },
      { labels: [], fields: [{ field: 'metadata.name', value: 'node-000001', equal: true }] },
      { namespace: 'elsewhere', labels: [], fields: [] },
    ];
    fc.assert(
      fc.property(fc.array(action, { maxLength: 20 }), fc.nat(), fc.constantFrom(...scopes), (actions, seed, scope) => {
        const state = cluster();
        const { store, leases } = state;
        const begin = store.resourceVersion;
        for (const each of actions) {
          if (each.kind === 'batch') {
            const held = each.indexes.filter((index) => state.fleets.leases.holds(index));
            if (held.length > 0) writeLeases(state, held);
            continue;
          }
          const name = `node-00000${each.index}`;
          if (each.kind === 'delete') store.delete(leases, `kube-node-lease/${name}`);
          else store.put(leaseOf(leases, name));
        }
        const after = begin + (seed % (store.resourceVersion - begin + 1));
        const held = new Map(
          leases
            .listAt(after)
            .filter((object) => inScope(object, scope))
            .map(({ name, resourceVersion }) => [name, resourceVersion]),
        );
        const events = read(leases, scope, { after, encoding });
        for (const { type, name, version } of events) {
          expect(held.has(name) ? ['MODIFIED', 'DELETED'] : ['ADDED']).toContain(type);
          if (type === 'DELETED') held.delete(name);
          else held.set(name, version);
        }
        const versions = events.map(({ version }) => version);
        expect(versions).toEqual([...new Set(versions)].toSorted((a, b) => a - b));
        const now = leases.list().filter((object) => inScope(object, scope));
        expect(held).toEqual(new Map(now.map(({ name, resourceVersion }) => [name, resourceVersion])));
      }),
      { numRuns: 60 },
    );
  });

  test('keeps a window of events, not of batches', () => {
    const state = cluster(4);
    const { leases, store } = state;
    writeLeases(state, [0, 1, 2]);
    writeLeases(state, [0, 1, 2]);
    expect(leases.windowStart).toBe(store.resourceVersion - 4);
    expect(() => leases.positionAfter(leases.windowStart - 1)).toThrow(VersionTooOld);
    expect(read(leases, everything, { after: leases.windowStart, encoding: 'protobuf' })).toHaveLength(4);
    writeLeases(state, [0, 1, 2, 0, 1, 2]);
    expect(leases.windowStart).toBe(store.resourceVersion - 4);
  });

  test('a restart keeps the last events only', () => {
    const state = cluster();
    writeLeases(state, [0, 1, 2]);
    state.store.forget(2);
    expect(state.leases.windowStart).toBe(state.store.resourceVersion - 2);
    const seen = read(state.leases, everything, { after: state.leases.windowStart, encoding: 'json' });
    expect(seen.map(({ name }) => name)).toEqual(['node-000001', 'node-000002']);
    state.store.forget();
    expect(state.leases.windowStart).toBe(state.store.resourceVersion);
  });

  test('goes back to what it was: a fleet’s objects, single ones, and the counter of versions', () => {
    const state = cluster();
    const { store, leases } = state;
    writeLeases(state, [0, 1, 2]);
    const then = leases.list().map((object) => object.bytes('json').toString());
    const version = store.resourceVersion;
    writeLeases(state, [1, 2], 9_000_000);
    store.delete(leases, 'kube-node-lease/node-000000');
    store.put(leaseOf(leases, 'node-000001'));
    store.put(leaseOf(leases, 'another'));
    store.rewind(5);
    expect(store.resourceVersion).toBe(version);
    expect(leases.list().map((object) => object.bytes('json').toString())).toEqual(then);
    expect(leases.freshness).toBe(version);
    expect(() => leases.positionAfter(version - 1)).toThrow(VersionTooOld);
    expect(() => store.rewind(10_000)).toThrow(VersionTooOld);
  });

  test('a pod of a fleet is found by its node', () => {
    const { pods } = cluster();
    const scope: Scope = { labels: [], fields: parseFieldSelector('spec.nodeName=node-000002', pods.resource) };
    const names = pods
      .list()
      .filter((object) => inScope(object, scope))
      .map(({ namespace, name }) => `${namespace}/${name}`);
    expect(names).toEqual(['app-00/web-000002-00', 'app-01/web-000002-01']);
  });
});

function leaseOf(leases: Collection, name: string): ReturnType<typeof writeOptions> {
  const object = { metadata: {}, spec: { holderIdentity: 'somebody else' } };
  return writeOptions(leases, {
    object,
    namespace: 'kube-node-lease',
    name,
    uid: name,
    creationTimestamp: '2026-01-01T00:00:00Z',
  });
}
