import { expect, test } from 'vitest';
import { Pace } from './pace.ts';

test('a lane moves after five batches within 100 ms, and rests when they are further apart', () => {
  const pace = new Pace();
  expect(pace.isMoving(0)).toBe(false);
  for (const now of [0, 20, 40, 60]) pace.note(now);
  expect(pace.isMoving(60)).toBe(false);
  pace.note(80);
  expect(pace.isMoving(80)).toBe(true);
  expect(pace.isMoving(100)).toBe(true);
  expect(pace.isMoving(101)).toBe(false);
  pace.note(130);
  expect(pace.isMoving(130), 'the last five are from 20 on').toBe(false);
  for (const now of [131, 132, 133, 134]) pace.note(now);
  expect(pace.isMoving(134)).toBe(true);
});
