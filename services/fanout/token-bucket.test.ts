import { expect, test } from 'vitest';
import { TokenBucket } from './token-bucket.ts';

test('lets a burst pass, then its rate, and saves up no more than the burst', () => {
  let now = 5_000;
  const bucket = new TokenBucket({ perSecond: 2, burst: 3, now: () => now });
  const taken = (): number => Array.from({ length: 10 }, () => bucket.take()).filter(Boolean).length;
  expect(taken()).toBe(3);
  now += 499;
  expect(taken()).toBe(0);
  now += 1;
  expect(taken()).toBe(1);
  now += 3_600_000;
  expect(taken()).toBe(3);
});
