import { describe, expect, test } from 'vitest';
import { pod } from './test-objects.ts';
import { Tombstones } from './tombstones.ts';

const BYTES_EACH = 256 + pod('a', 10).bytes.length;

function names(tombstones: Tombstones, rv: number): string[] {
  return [...tombstones.after(rv)].map(({ object }) => `${object.name}@${object.rv}`);
}

describe('Tombstones', () => {
  test('those above a version, ascending', () => {
    const tombstones = new Tombstones(1_000_000, 5, [{ object: pod('a', 11), born: 1 }]);
    tombstones.add({ object: pod('b', 12), born: 11 }, false);
    expect(names(tombstones, 5)).toEqual(['a@11', 'b@12']);
    expect(names(tombstones, 11)).toEqual(['b@12']);
    expect(names(tombstones, 12)).toEqual([]);
    expect(tombstones.horizon).toBe(5);
  });

  test('what a repair found stands at a version that clients may hold without it', () => {
    const tombstones = new Tombstones(1_000_000, 5, []);
    tombstones.add({ object: pod('a', 11), born: 1 }, false);
    tombstones.add({ object: pod('b', 11), born: 1 }, true);
    expect(names(tombstones, 11)).toEqual(['b@11']);
  });

  test('I9: beyond its bytes the oldest is dropped, and the horizon moves up to it', () => {
    const tombstones = new Tombstones(2 * BYTES_EACH, 5, []);
    for (let rv = 11; rv <= 13; rv++) tombstones.add({ object: pod('a', rv), born: 1 }, false);
    expect(tombstones.bytes).toBe(2 * BYTES_EACH);
    expect([tombstones.size, tombstones.horizon]).toEqual([2, 11]);
    expect(names(tombstones, 11)).toEqual(['a@12', 'a@13']);
  });

  test('once one that a repair found is dropped, its very version is below the horizon', () => {
    const tombstones = new Tombstones(BYTES_EACH, 5, []);
    tombstones.add({ object: pod('a', 11), born: 1 }, true);
    tombstones.add({ object: pod('b', 13), born: 1 }, false);
    expect(tombstones.horizon).toBe(12);
  });

  test('with no bytes at all nothing is remembered', () => {
    const tombstones = new Tombstones(0, 5, [{ object: pod('a', 7), born: 1 }]);
    expect([tombstones.size, tombstones.bytes, tombstones.horizon]).toEqual([0, 0, 7]);
  });

  test('many that come and go leave the order as it is', () => {
    const tombstones = new Tombstones(10 * BYTES_EACH, 0, []);
    for (let rv = 1; rv <= 5_000; rv++) tombstones.add({ object: pod('a', 10_000 + rv), born: 1 }, false);
    expect(names(tombstones, 14_995)).toEqual([4_996, 4_997, 4_998, 4_999, 5_000].map((rv) => `a@${10_000 + rv}`));
    expect(tombstones.size).toBeLessThanOrEqual(10);
  });
});
