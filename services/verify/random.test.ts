import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Random } from './random.ts';

const sequence = (random: Random): number[] => Array.from({ length: 20 }, () => random.below(1_000_000));

test('the same seed and stream give the same sequence, any other another', () => {
  fc.assert(
    fc.property(fc.nat(0xffff_ffff), fc.nat(1_000_000), (seed, stream) => {
      expect(sequence(new Random(seed, stream))).toEqual(sequence(new Random(seed, stream)));
      expect(sequence(new Random(seed, stream))).not.toEqual(sequence(new Random(seed, stream + 1)));
    }),
  );
});

test('numbers are whole, below their bound, and reach all of it', () => {
  const random = new Random(1, 1);
  const seen = new Set(Array.from({ length: 500 }, () => random.below(7)));
  expect([...seen].toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6]);
});

test('what weighs more is chosen more often, what weighs nothing never', () => {
  const random = new Random(2, 2);
  const counts = { often: 0, seldom: 0, never: 0 };
  for (let i = 0; i < 4_000; i++) {
    counts[
      random.weighted([
        [3, 'often'],
        [1, 'seldom'],
        [0, 'never'],
      ] as const)
    ] += 1;
  }
  expect(counts.never).toBe(0);
  expect(counts.often / counts.seldom).toBeGreaterThan(2.5);
  expect(counts.often / counts.seldom).toBeLessThan(3.5);
});

test('nothing can be picked from nothing', () => {
  expect(() => new Random(1, 1).pick([])).toThrow(RangeError);
});
