import { expect, test } from 'vitest';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { Stall } from './stall.ts';

test('aborts once nothing was heard for its time, counted from what was heard last', () => {
  const clock = createFakeClock();
  const stall = new Stall(clock, 1_000);
  for (let i = 0; i < 10; i++) {
    clock.advance(900);
    stall.heard();
  }
  clock.advance(999);
  expect(stall.signal.aborted).toBe(false);
  clock.advance(1);
  expect(stall.signal.aborted).toBe(true);
  expect(clock.pending).toBe(0);
});

test('leaves no timer once it is stopped', () => {
  const clock = createFakeClock();
  const stall = new Stall(clock, 1_000);
  clock.advance(500);
  stall.stop();
  expect(clock.pending).toBe(0);
  clock.advance(5_000);
  expect(stall.signal.aborted).toBe(false);
});
