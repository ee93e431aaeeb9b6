import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { findResource } from './simulated-resources.ts';
import { inScope, parseLabelSelector, type Scope } from './simulated-selector.ts';
import { type Collection, VersionTooOld } from './simulated-collection.ts';
import { SimulatedStore } from './simulated-store.ts';
import { SimulatedWatch } from './simulated-watch.ts';
import { writeOptions } from './simulated-writes.ts';

const CONFIG_MAPS = findResource({ group: '', version: 'v1', resource: 'configmaps' });
if (CONFIG_MAPS === undefined) throw new Error('the simulated upstream serves no configmaps');
const RESOURCE = CONFIG_MAPS;
const JSON_OBJECTS = { encoding: 'json', view: 'object' } as const;

interface Event {
  readonly type: string;
  readonly object: { readonly metadata: { readonly name: string; readonly resourceVersion: string } };
}

/** A write of one of three objects: put with or without the label, or delete. */
const write = fc.record({
  name: fc.constantFrom('a', 'b', 'c'),
  action: fc.constantFrom('red', 'blue', 'delete'),
});

function storeAfter(writes: readonly { name: string; action: string }[], window: number): SimulatedStore {
  const store = new SimulatedStore([RESOURCE], window);
  const collection = store.collection('', 'configmaps');
  for (const { name, action } of writes) {
    if (action === 'delete') store.delete(collection, `ns/${name}`);
    else {
      const object = { metadata: { labels: { color: action } }, data: {} };
      store.put(writeOptions(collection, { object, namespace: 'ns', name, uid: name, creationTimestamp: '' }));
    }
  }
  return store;
}

function read(collection: Collection, scope: Scope, after: number): Event[] {
  const watch = new SimulatedWatch({
    collection,
    scope,
    wire: JSON_OBJECTS,
    initial: [],
    position: collection.positionAfter(after),
    after,
    endBookmark: undefined,
  });
  const events: Event[] = [];
  // A small budget, so that the cursor is left and taken up again.
  while (!watch.idle)
    for (const frame of watch.take(1)?.frames ?? []) events.push(JSON.parse(frame.toString()) as Event);
  return events;
}

describe('a simulated watch', () => {
  const scope: Scope = { namespace: 'ns', labels: parseLabelSelector('color=red'), fields: [] };

  test('brings any older state of its scope to the present one, in ascending versions', () => {
    fc.assert(
      fc.property(fc.array(write, { maxLength: 40 }), fc.nat(), (writes, seed) => {
        const store = storeAfter(writes, 1_000);
        const collection = store.collection('', 'configmaps');
        const after = seed % (store.resourceVersion + 1);
        const held = new Map(
          collection
            .listAt(after)
            .filter((object) => inScope(object, scope))
            .map((object) => [object.name, object.resourceVersion]),
        );
        const events = read(collection, scope, after);
        for (const { type, object } of events) {
          const known = held.has(object.metadata.name);
          expect(known ? ['MODIFIED', 'DELETED'] : ['ADDED']).toContain(type);
          if (type === 'DELETED') held.delete(object.metadata.name);
          else held.set(object.metadata.name, Number(object.metadata.resourceVersion));
        }
        const versions = events.map(({ object }) => Number(object.metadata.resourceVersion));
        expect(versions).toEqual([...new Set(versions)].toSorted((a, b) => a - b));
        expect(versions.every((version) => version > after)).toBe(true);
        const now = collection.list().filter((object) => inScope(object, scope));
        expect(held).toEqual(new Map(now.map(({ name, resourceVersion }) => [name, resourceVersion])));
      }),
    );
  });

  test('cannot begin below the window, and ends where the window passes it', () => {
    const store = storeAfter(
      Array.from({ length: 10 }, () => ({ name: 'a', action: 'red' })),
      4,
    );
    const collection = store.collection('', 'configmaps');
    expect(collection.windowStart).toBe(store.resourceVersion - 4);
    expect(() => collection.positionAfter(collection.windowStart - 1)).toThrow(VersionTooOld);
    expect(read(collection, scope, collection.windowStart)).toHaveLength(4);
    const slow = new SimulatedWatch({
      collection,
      scope,
      wire: JSON_OBJECTS,
      initial: [],
      position: collection.oldest,
      after: collection.windowStart,
      endBookmark: undefined,
    });
    store.delete(collection, 'ns/a');
    expect(slow.take(1_000)).toBeUndefined();
  });

  test('gives a bookmark only for what is news, and only when everything before it was given out', () => {
    const store = storeAfter(
      [
        { name: 'a', action: 'red' },
        { name: 'a', action: 'blue' },
      ],
      100,
    );
    const collection = store.collection('', 'configmaps');
    const start = {
      collection,
      scope,
      wire: JSON_OBJECTS,
      initial: [],
      position: 0,
      after: 0,
      endBookmark: undefined,
    } as const;
    const watch = new SimulatedWatch(start);
    expect(watch.bookmark()).toBeUndefined();
    watch.take(1_000_000);
    expect(watch.bookmark()).toBeUndefined();
    collection.refresh(store.resourceVersion + 5);
    expect(watch.bookmark()?.toString()).toContain(`"resourceVersion":"${store.resourceVersion + 5}"`);
    expect(watch.bookmark()).toBeUndefined();
  });
});
