import { describe, expect, test } from 'vitest';
import type { Interest } from './interest.ts';
import { change, interest, pod, podSchema } from './test-objects.ts';
import { type Change, type Listing, WatchCache } from './watch-cache.ts';

/** The window holds two or three changes. */
const WINDOW_BYTES = 1_500;

interface Limits {
  objects?: Listing['objects'];
  tombstoneBytesMax?: number;
  windowBytesMax?: number;
  stateDiff?: boolean;
}

function cacheAt(rv: number, limits: Limits = {}): WatchCache {
  const { objects = [], tombstoneBytesMax = 1_000_000, windowBytesMax = WINDOW_BYTES, stateDiff = true } = limits;
  return new WatchCache(podSchema, { rv, objects }, { windowBytesMax, tombstoneBytesMax, stateDiff });
}

function next(cache: WatchCache, ...changes: Change[]): void {
  cache.apply({ previous: cache.position, changes });
}

/** Changes of an object of no interest, until the window has let go of all before. */
function pass(cache: WatchCache, to: number): void {
  for (let rv = cache.watermark + 1; rv <= to; rv++) {
    next(cache, change('MODIFIED', pod('filler', rv, { namespace: 'other', node: 'other' })));
  }
}

function diff(cache: WatchCache, rv: number, asked = interest({ namespace: 'default' })): string[] {
  expect(cache.since(rv, asked).kind).toBe('diff');
  const iterator = cache.diff(rv, asked);
  const found: string[] = [];
  for (let event = iterator.next(); event.done !== true; event = iterator.next()) {
    const { type, object } = event.value;
    found.push(`${type} ${object.name}@${object.rv}`);
  }
  return found;
}

function kind(cache: WatchCache, rv: number, asked: Interest = interest()): string {
  return cache.since(rv, asked).kind;
}

describe('I5: away for longer than the window', () => {
  test('the newest state of what changed and every departure, ascending', () => {
    const cache = cacheAt(10, { objects: [pod('kept', 3), pod('changed', 4), pod('gone', 5)] });
    next(
      cache,
      change('MODIFIED', pod('changed', 11)),
      change('ADDED', pod('new', 12)),
      change('DELETED', pod('gone', 13)),
      change('MODIFIED', pod('changed', 14)),
    );
    pass(cache, 30);
    expect(diff(cache, 10)).toEqual(['ADDED new@12', 'DELETED gone@13', 'MODIFIED changed@14']);
    expect(diff(cache, 12)).toEqual(['DELETED gone@13', 'MODIFIED changed@14']);
    expect(diff(cache, 14)).toEqual([]);
  });

  test('the window is preferred: it has every change', () => {
    const cache = cacheAt(10);
    next(cache, change('ADDED', pod('a', 11)), change('MODIFIED', pod('a', 12)));
    expect(kind(cache, 10)).toBe('from');
  });

  test('what came and went since is left out; what came back is told as two', () => {
    const cache = cacheAt(10, { objects: [pod('reborn', 5)] });
    next(
      cache,
      change('ADDED', pod('flash', 11)),
      change('DELETED', pod('reborn', 12)),
      change('DELETED', pod('flash', 13)),
      change('ADDED', pod('reborn', 14, { uid: 'uid-2' })),
      change('MODIFIED', pod('reborn', 15, { uid: 'uid-2' })),
    );
    pass(cache, 30);
    expect(diff(cache, 10)).toEqual(['DELETED reborn@12', 'ADDED reborn@15']);
    // Who held 11 knows it.
    expect(diff(cache, 11)).toEqual(['DELETED reborn@12', 'DELETED flash@13', 'ADDED reborn@15']);
    expect(diff(cache, 14)).toEqual(['MODIFIED reborn@15']);
  });

  test('below the horizon, the oldest delete that was dropped, it is expired', () => {
    const bytes = 2 * (256 + pod('p1', 11).bytes.length);
    const cache = cacheAt(10, { objects: [pod('p1', 1), pod('p2', 2), pod('p3', 3)], tombstoneBytesMax: bytes });
    for (let i = 1; i <= 3; i++) next(cache, change('DELETED', pod(`p${i}`, 10 + i)));
    pass(cache, 30);
    expect(cache.horizon).toBe(11);
    expect(kind(cache, 10)).toBe('expired');
    expect(diff(cache, 11)).toEqual(['DELETED p2@12', 'DELETED p3@13']);
  });

  test('below the first listing it is expired: what went before nobody knows', () => {
    const cache = cacheAt(10);
    pass(cache, 30);
    expect(kind(cache, 9)).toBe('expired');
    expect(kind(cache, 10)).toBe('diff');
  });

  test('an interest that can be left is expired: what left it is not known', () => {
    const cache = cacheAt(10);
    pass(cache, 30);
    expect(kind(cache, 10, interest({ labels: 'app=web' }))).toBe('expired');
    expect(kind(cache, 10, interest({ fields: 'status.phase=Running' }))).toBe('expired');
    expect(kind(cache, 10, interest({ fields: 'spec.nodeName=' }))).toBe('expired');
    expect(kind(cache, 10, interest({ fields: 'spec.nodeName=n1' }))).toBe('diff');
    expect(kind(cache, 10, interest({ fields: 'metadata.name=a' }))).toBe('diff');
  });

  test('where every change counts it is off, and nothing is remembered for it', () => {
    const cache = cacheAt(10, { objects: [pod('a', 1)], stateDiff: false });
    next(cache, change('DELETED', pod('a', 11)));
    pass(cache, 30);
    expect(kind(cache, 10)).toBe('expired');
    expect(cache.tombstoneBytes).toBe(0);
  });

  test.each([
    ['a namespace', interest({ namespace: 'default' }), ['ADDED a@11', 'DELETED c@14']],
    ['one object', interest({ namespace: 'default', name: 'a', fields: 'metadata.name=a' }), ['ADDED a@11']],
    ['a node', interest({ fields: 'spec.nodeName=n1' }), ['ADDED b@12', 'DELETED c@14']],
    ['a node in a namespace', interest({ namespace: 'b', fields: 'spec.nodeName=n1' }), ['ADDED b@12']],
  ])('of %s only what it selects', (_, asked, expected) => {
    const cache = cacheAt(10, { objects: [pod('c', 3, { node: 'n1' })] });
    next(
      cache,
      change('ADDED', pod('a', 11, { node: 'n2' })),
      change('ADDED', pod('b', 12, { namespace: 'b', node: 'n1' })),
      change('ADDED', pod('d', 13, { namespace: 'c' })),
      change('DELETED', pod('c', 14, { node: 'n1' })),
    );
    pass(cache, 30);
    expect(diff(cache, 10, asked)).toEqual(expected);
  });

  test('is of the moment it was asked for, however slowly it is read', () => {
    const cache = cacheAt(10, { objects: [pod('b', 3), pod('c', 4)] });
    next(cache, change('ADDED', pod('a', 11, { node: 'n1' })), change('MODIFIED', pod('b', 12, { node: 'n1' })));
    pass(cache, 30);
    for (const asked of [interest({ namespace: 'default' }), interest({ fields: 'spec.nodeName=n1' })]) {
      const later = cacheAt(10, { objects: [pod('b', 3), pod('c', 4)] });
      next(later, change('ADDED', pod('a', 11, { node: 'n1' })), change('MODIFIED', pod('b', 12, { node: 'n1' })));
      pass(later, 30);
      const walk = later.diff(10, asked);
      next(
        later,
        change('DELETED', pod('a', 31, { node: 'n1' })),
        change('MODIFIED', pod('b', 32, { node: 'n1' })),
        change('ADDED', pod('d', 33, { node: 'n1' })),
      );
      expect([walk.next(), walk.next(), walk.next()].map(({ value }) => value?.object.rv)).toEqual([11, 12, undefined]);
    }
  });

  test('of more changes than are looked up at a time, each once and in order', () => {
    const cache = cacheAt(10);
    const count = 20_000;
    // Keys and versions ascend in different orders.
    for (let i = 0; i < count; i++) next(cache, change('ADDED', pod(`p${(i * 7_919) % count}`, 11 + i)));
    const versions: number[] = [];
    const walk = cache.diff(10, interest());
    for (let event = walk.next(); event.done !== true; event = walk.next()) versions.push(event.value.object.rv);
    expect(versions).toEqual(Array.from({ length: count }, (_, i) => 11 + i));
  });
});

describe('repaired intervals', () => {
  const listing = { rv: 20, objects: [pod('kept', 3), pod('new', 15)] };

  function repaired(): WatchCache {
    const cache = cacheAt(10, { objects: [pod('kept', 3), pod('gone', 5)] });
    cache.repair(listing);
    pass(cache, 40);
    return cache;
  }

  test('from below one, what it found went and came are part of the state', () => {
    const cache = repaired();
    expect(diff(cache, 10)).toEqual(['DELETED gone@10', 'ADDED new@15']);
    expect(diff(cache, 20)).toEqual([]);
  });

  test('from inside one it is expired: the client may hold an object that came and went in it', () => {
    // Upstream: `flash` came at 12 and went at 14. A client that held 13 from upstream knows it, and nobody here does.
    const cache = repaired();
    expect(kind(cache, 11)).toBe('expired');
    expect(kind(cache, 13)).toBe('expired');
    expect(kind(cache, 19)).toBe('expired');
  });

  test('what a repair found and lost again is known to who held it', () => {
    const cache = repaired();
    next(cache, change('DELETED', pod('new', 41)));
    pass(cache, 60);
    expect(diff(cache, 10)).toEqual(['DELETED gone@10']);
    expect(diff(cache, 20)).toEqual(['DELETED new@41']);
  });
});
