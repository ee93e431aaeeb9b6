import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { describe, expect, test } from 'vitest';
import { ExpiringCache } from './expiring-cache.ts';

const clock = createFakeClock();
const cacheOf = (maxEntries: number, maxBytes: number) =>
  new ExpiringCache<string>({ maxEntries, maxBytes, now: () => clock.now() });

describe('an expiring cache', () => {
  test('keeps each value for its own time', () => {
    const cache = cacheOf(10, 1000);
    cache.set('a', 'A', { ttlMs: 10, bytes: 1 });
    cache.set('b', 'B', { ttlMs: 20, bytes: 1 });
    clock.advance(10);
    expect(cache.get('a')).toBeUndefined();
    expect(cache.get('b')).toBe('B');
    expect(cache.size).toBe(1);
  });

  test('keeps nothing for no time', () => {
    const cache = cacheOf(10, 1000);
    cache.set('a', 'A', { ttlMs: 0, bytes: 1 });
    cache.set('b', 'B', { ttlMs: -5, bytes: 1 });
    expect(cache.size).toBe(0);
  });

  test('lets the least recently used go at the bound of entries', () => {
    const cache = cacheOf(2, 1000);
    for (const key of ['a', 'b']) cache.set(key, key, { ttlMs: 10, bytes: 1 });
    cache.get('a');
    cache.set('c', 'c', { ttlMs: 10, bytes: 1 });
    expect([cache.get('a'), cache.get('b'), cache.get('c')]).toEqual(['a', undefined, 'c']);
  });

  test('and at the bound of bytes; what is larger than all of it is not kept', () => {
    const cache = cacheOf(100, 100);
    cache.set('a', 'A', { ttlMs: 10, bytes: 60 });
    cache.set('b', 'B', { ttlMs: 10, bytes: 60 });
    expect([cache.get('a'), cache.get('b')]).toEqual([undefined, 'B']);
    cache.set('c', 'C', { ttlMs: 10, bytes: 200 });
    expect([cache.get('b'), cache.get('c')]).toEqual(['B', undefined]);
  });
});
