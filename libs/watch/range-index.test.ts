import type { ShardRange } from '@dogwatch/kube/shard-selector.ts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RangeIndex } from './range-index.ts';

/** Few enough values for ranges to meet, overlap and contain each other. */
const hash = fc.record({ high: fc.nat({ max: 3 }), low: fc.nat({ max: 3 }) });
const number = ({ high, low }: { high: number; low: number }): number => high * 4 + low;
const range: fc.Arbitrary<ShardRange> = fc
  .tuple(hash, hash)
  .filter(([a, b]) => number(a) !== number(b))
  .map(([a, b]) => (number(a) < number(b) ? { start: a, end: b } : { start: b, end: a }));

test('finds what asking each range would, whatever was added and removed', () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ add: range }) },
    { weight: 1, arbitrary: fc.record({ remove: fc.nat() }) },
    { weight: 3, arbitrary: fc.record({ find: hash }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      const index = new RangeIndex<number>();
      const held = new Map<number, ShardRange>();
      for (const [at, next] of steps.entries()) {
        if ('add' in next) {
          index.add([next.add], at);
          held.set(at, next.add);
          continue;
        }
        if ('remove' in next) {
          const gone = [...held.keys()][next.remove % (held.size + 1)] ?? -1;
          index.remove(gone);
          held.delete(gone);
          continue;
        }
        const found: number[] = [];
        index.visit(next.find, (thing) => found.push(thing));
        const place = number(next.find);
        const expected = [...held].filter(([, { start, end }]) => number(start) <= place && place < number(end));
        expect(found.length).toBe(expected.length);
        expect(new Set(found)).toEqual(new Set(expected.map(([thing]) => thing)));
      }
      expect(index.empty).toBe(held.size === 0);
    }),
  );
});

test('a thing of several ranges is found once in each of them, and goes with all', () => {
  const index = new RangeIndex<string>();
  const at = (low: number): { high: number; low: number } => ({ high: 0, low });
  index.add(
    [
      { start: at(1), end: at(3) },
      { start: at(5), end: at(6) },
    ],
    'both',
  );
  const found = (low: number): string[] => {
    const things: string[] = [];
    index.visit(at(low), (thing) => things.push(thing));
    return things;
  };
  expect([0, 1, 2, 3, 4, 5, 6].map((low) => found(low).length)).toEqual([0, 1, 1, 0, 0, 1, 0]);
  index.remove('both');
  expect(found(2)).toEqual([]);
});
