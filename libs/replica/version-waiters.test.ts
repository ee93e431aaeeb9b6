import { expect, test } from 'vitest';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { VersionWaiters } from './version-waiters.ts';

function started() {
  const clock = createFakeClock();
  return { clock, waiters: new VersionWaiters(clock) };
}

test('resolves true once what is waited for holds, and not before it is looked at', async () => {
  const { clock, waiters } = started();
  let rv = 10;
  const waiting = waiters.wait(() => rv >= 12, 3_000);
  waiters.check();
  rv = 12;
  waiters.check();
  expect(await waiting).toBe(true);
  expect(clock.pending).toBe(0);
});

test('resolves false after its time, and is forgotten', async () => {
  const { clock, waiters } = started();
  let looked = 0;
  const waiting = waiters.wait(() => ++looked > 100, 3_000);
  await clock.advanceAsync(2_999);
  waiters.check();
  await clock.advanceAsync(1);
  expect(await waiting).toBe(false);
  waiters.check();
  expect(looked).toBe(1);
});

test('one that is settled while others are looked at does not keep them from it', async () => {
  const { waiters } = started();
  const order: number[] = [];
  const first = waiters.wait(() => true, 1_000).then(() => order.push(1));
  const second = waiters.wait(() => true, 1_000).then(() => order.push(2));
  waiters.check();
  await Promise.all([first, second]);
  expect(order).toEqual([1, 2]);
});

test('closing tells all who wait, and all who come later, at once', async () => {
  const { clock, waiters } = started();
  const waiting = waiters.wait(() => false, 3_000);
  waiters.close();
  expect(await waiting).toBe(false);
  expect(await waiters.wait(() => true, 3_000)).toBe(false);
  expect(clock.pending).toBe(0);
});

test('there is no waiting for no time', async () => {
  const { clock, waiters } = started();
  expect(await waiters.wait(() => true, 0)).toBe(false);
  expect(clock.pending).toBe(0);
});
