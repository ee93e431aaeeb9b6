import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { change, interest, pod, podSchema } from '@dogwatch/watch/test-objects.ts';
import type { Extent } from '@dogwatch/watch/lane-view.ts';
import { WatchCache } from '@dogwatch/watch/watch-cache.ts';
import { Inventory, InventorySizes, WHOLE_LANE, inventoryScope, withoutShards } from './inventory.ts';
import { inventoryOf } from './test-ingest.ts';

const [A, B, C] = [pod('a', 5), pod('b', 6, { labels: { app: 'x' } }), pod('c', 7, { namespace: 'other' })];
const NAMESPACE = { interest: interest({ namespace: 'default' }), limit: 0 };

function cacheOf(...objects: readonly (typeof A)[]): WatchCache {
  const options = { windowBytesMax: 1_000_000, tombstoneBytesMax: 0, stateDiff: true };
  return new WatchCache(podSchema, { rv: 10, objects }, options);
}

function modify(cache: WatchCache, type: 'ADDED' | 'MODIFIED' | 'DELETED', object: typeof A): void {
  cache.apply({ previous: cache.position, changes: [change(type, object)] });
}

describe('an inventory', () => {
  test('of the whole lane equals a cache that holds the same, each at its version', () => {
    const found = inventoryOf(15, A, B, C);
    expect(new Inventory(found, WHOLE_LANE).equals(cacheOf(A, B, C))).toBe(true);
    expect(new Inventory(found, WHOLE_LANE).equals(cacheOf(A, B))).toBe(false);
    expect(new Inventory(found, WHOLE_LANE).equals(cacheOf(A, B, C, pod('d', 8)))).toBe(false);
    expect(new Inventory(found, WHOLE_LANE).equals(cacheOf(A, pod('b', 8), C))).toBe(false);
    expect(new Inventory(found, WHOLE_LANE).equals(cacheOf(A, pod('b', 6, { uid: 'other' }), C))).toBe(false);
  });

  test('of a part says nothing of the rest', () => {
    expect(new Inventory(inventoryOf(15, A, B), NAMESPACE).equals(cacheOf(A, B, pod('c', 9, { namespace: 'x' })))).toBe(
      true,
    );
    const labelled = { interest: interest({ labels: 'app=x' }), limit: 0 };
    expect(new Inventory(inventoryOf(15, B), labelled).equals(cacheOf(A, B, C))).toBe(true);
    expect(new Inventory(inventoryOf(15), labelled).equals(cacheOf(A, B, C))).toBe(false);
  });

  test('of a first page is of that page, and of whether there is more', () => {
    const page = { interest: interest(), limit: 2 };
    const first = inventoryOf(15, A, B);
    expect(new Inventory({ ...first, more: true }, page).equals(cacheOf(A, B, C))).toBe(true);
    expect(new Inventory(first, page).equals(cacheOf(A, B, C)), 'there is no more').toBe(false);
    expect(new Inventory({ ...first, more: true }, page).equals(cacheOf(A, B)), 'there is more').toBe(false);
    expect(new Inventory(first, page).equals(cacheOf(A, B))).toBe(true);
    expect(new Inventory(first, page).equals(cacheOf(A, B, C))).toBe(false);
  });

  test('is compared anew after a change, however it was answered before', () => {
    const inventory = new Inventory(inventoryOf(15, pod('a', 11), B), WHOLE_LANE);
    const cache = cacheOf(A, B);
    expect(inventory.equals(cache)).toBe(false);
    modify(cache, 'MODIFIED', pod('a', 11));
    expect(inventory.equals(cache)).toBe(true);
    modify(cache, 'ADDED', C);
    modify(cache, 'ADDED', pod('d', 12));
    expect(inventory.equals(cache)).toBe(false);
    modify(cache, 'DELETED', pod('d', 13));
    expect(inventory.equals(cache)).toBe(true);
    expect(inventory.equals(cacheOf(A)), 'another cache').toBe(false);
  });

  test('equals what it was made of, and nothing that differs in one object, whatever came in between', () => {
    const object = fc.record({ name: fc.constantFrom('a', 'a-b', 'b', 'é', 'z'), rv: fc.integer({ min: 1, max: 9 }) });
    const objects = fc.uniqueArray(object, { selector: ({ name }) => name });
    fc.assert(
      fc.property(objects, fc.array(object), (held, changes) => {
        const cache = cacheOf(...held.map(({ name, rv }) => pod(name, rv)));
        const before = [...cache.snapshot().range()];
        const inventory = new Inventory(inventoryOf(99, ...before), WHOLE_LANE);
        expect(inventory.equals(cache)).toBe(true);
        for (const [at, { name }] of changes.entries()) {
          modify(cache, cache.get(`default/${name}`) === undefined ? 'ADDED' : 'MODIFIED', pod(name, 20 + at));
          expect(inventory.equals(cache)).toBe(false);
        }
      }),
    );
  });
});

describe('what upstream is asked', () => {
  test('is the scope and the selectors of the extent', () => {
    expect(inventoryScope(WHOLE_LANE)).toEqual({ namespace: '', labelSelector: '', fieldSelector: '', limit: 0 });
    const part = interest({ namespace: 'n', labels: 'app in (x)', fields: 'spec.nodeName=m' });
    expect(inventoryScope({ interest: part, limit: 3 })).toEqual({
      namespace: 'n',
      labelSelector: part.labels.canonical,
      fieldSelector: 'spec.nodeName=m',
      limit: 3,
    });
  });

  test('names one object once, wherever its name came from', () => {
    const selectorOf = (parts: Parameters<typeof interest>[0]): string =>
      inventoryScope({ interest: interest(parts), limit: 0 }).fieldSelector;
    expect(selectorOf({ namespace: 'n', name: 'a' })).toBe('metadata.name=a');
    expect(selectorOf({ namespace: 'n', name: 'a', fields: 'metadata.name=a' })).toBe('metadata.name=a');
    expect(selectorOf({ namespace: 'n', name: 'a', fields: 'spec.nodeName=m' })).toBe(
      'spec.nodeName=m,metadata.name=a',
    );
  });

  test('is never a shard', () => {
    const shards = "shardRange(object.metadata.uid, '0x0000000000000000', '0x8000000000000000')";
    const extent = withoutShards({ interest: interest({ namespace: 'n', shards }), limit: 500 });
    expect(extent.interest.key).toBe(interest({ namespace: 'n' }).key);
    expect(extent.limit).toBe(0);
  });
});

describe('the size of an inventory', () => {
  const cache = cacheOf(A, B, C);
  const sizeOf = (extent: Extent, max: number): number => new InventorySizes(max).of(cache, extent);

  test('is counted only as far as it matters', () => {
    expect(sizeOf(WHOLE_LANE, 10)).toBe(3);
    expect(sizeOf(WHOLE_LANE, 1)).toBe(3);
    expect(sizeOf(NAMESPACE, 10)).toBe(3);
    expect(sizeOf(NAMESPACE, 1)).toBe(2);
    expect(sizeOf({ interest: interest({ namespace: 'other' }), limit: 0 }, 1)).toBe(1);
    expect(sizeOf({ interest: interest(), limit: 2 }, 1)).toBe(2);
    expect(sizeOf({ interest: interest(), limit: 9 }, 2)).toBe(3);
    expect(sizeOf({ interest: interest({ name: 'a' }), limit: 0 }, 1)).toBe(1);
  });

  test('is counted anew after a change, and of another cache', () => {
    const sizes = new InventorySizes(1);
    const changing = cacheOf(C, pod('d', 8), pod('e', 9));
    const other = { interest: interest({ namespace: 'other' }), limit: 0 };
    expect(sizes.of(changing, other)).toBe(1);
    expect(sizes.of(changing, other)).toBe(1);
    expect(sizes.of(changing, NAMESPACE)).toBe(2);
    modify(changing, 'DELETED', pod('c', 12, { namespace: 'other' }));
    expect(sizes.of(changing, other)).toBe(0);
    expect(sizes.of(cacheOf(A, B, C), other)).toBe(1);
  });
});
