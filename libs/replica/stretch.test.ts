import { expect, test } from 'vitest';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { Stretch } from './stretch.ts';
import { turn } from './test-ingest.ts';

test('who comes alone need not wait', async () => {
  const stretch = new Stretch(createFakeClock());
  let entered = 0;
  void stretch.enter().then(() => entered++);
  await Promise.resolve();
  await Promise.resolve();
  expect(entered).toBe(1);
});

test('I8: many pass in several turns, in order, and one by one where each takes long', async () => {
  const clock = createFakeClock();
  const stretch = new Stretch(clock);
  const passed: { caller: number; turn: number }[] = [];
  let turns = 0;
  for (let caller = 0; caller < 100; caller++) {
    void stretch.enter().then(() => {
      passed.push({ caller, turn: turns });
      if (caller >= 15) clock.advance(15);
    });
  }
  for (; passed.length < 100; turns++) await turn();
  expect(passed.map(({ caller }) => caller)).toEqual(passed.map((_, at) => at));
  const inTurn = Map.groupBy(passed, ({ turn: at }) => at);
  // The first at once, then 2, 4, 8 and 16 in a turn, and one in each of the rest.
  expect([...inTurn.values()].map(({ length }) => length).slice(0, 6)).toEqual([1 + 2, 4, 8, 16, 1, 1]);
  expect(inTurn.size).toBe(4 + 100 - 31);
});
