import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { SecondsWheel } from './seconds-wheel.ts';

test('an item is due in the first turn at or after its time, once', () => {
  const wheel = new SecondsWheel<string>();
  wheel.add(1_500, 'a');
  wheel.add(2_000, 'b');
  expect(wheel.due(1_999)).toEqual([]);
  expect(wheel.due(2_000).toSorted()).toEqual(['a', 'b']);
  expect(wheel.due(3_000)).toEqual([]);
});

test('what lies in the past is due at the next turn', () => {
  const wheel = new SecondsWheel<string>();
  wheel.due(10_000);
  wheel.add(3_000, 'late');
  expect(wheel.due(10_500)).toEqual([]);
  expect(wheel.due(11_000)).toEqual(['late']);
});

test('a removed item is not due; removing one that was taken is harmless', () => {
  const wheel = new SecondsWheel<string>();
  const slot = wheel.add(1_000, 'a');
  wheel.remove(slot, 'a');
  wheel.remove(slot, 'a');
  expect(wheel.due(5_000)).toEqual([]);
});

test('after a long pause everything that was due comes, and nothing else', () => {
  const wheel = new SecondsWheel<number>();
  for (const at of [5_000, 90_000_000, 86_400_000_000]) wheel.add(at, at);
  wheel.add(9e21, 9e21);
  expect(new Set(wheel.due(100_000_000))).toEqual(new Set([5_000, 90_000_000]));
});

test('whatever the turns, each item comes in the first that is late enough', () => {
  const turns = fc.array(fc.nat(20_000), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(fc.array(fc.nat(100_000)), turns, (times, steps) => {
      const wheel = new SecondsWheel<{ at: number }>();
      const waiting = new Set(times.map((at) => ({ at })));
      for (const item of waiting) wheel.add(item.at, item);
      let now = 0;
      for (const step of steps) {
        now += step;
        for (const item of wheel.due(now)) {
          expect(item.at).toBeLessThanOrEqual(now);
          expect(waiting.delete(item)).toBe(true);
        }
        for (const { at } of waiting) expect(Math.ceil(at / 1000)).toBeGreaterThan(Math.floor(now / 1000));
      }
    }),
  );
});
