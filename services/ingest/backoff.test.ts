import { expect, test } from 'vitest';
import { Backoff } from './backoff.ts';

test('doubles from 0.1 to 5 s', () => {
  const backoff = new Backoff(() => 1);
  expect(Array.from({ length: 8 }, () => backoff.next())).toEqual([100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
  backoff.reset();
  expect(backoff.next()).toBe(100);
});

test('is spread over the upper half, so that lanes do not come back together', () => {
  const backoff = new Backoff(() => 0);
  expect([backoff.next(), backoff.next()]).toEqual([50, 100]);
});
