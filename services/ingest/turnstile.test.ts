import { expect, test } from 'vitest';
import { Turnstile } from './turnstile.ts';

const forever = new AbortController().signal;

test('lets its width through, and the others in order as those leave', async () => {
  const turnstile = new Turnstile(2);
  const passed: number[] = [];
  const leaves = await Promise.all([turnstile.enter(forever), turnstile.enter(forever)]);
  const waiting = [3, 4].map(async (who) => {
    const leave = await turnstile.enter(forever);
    passed.push(who);
    return leave;
  });
  await Promise.resolve();
  expect(passed).toEqual([]);
  leaves[0]!();
  leaves[0]!();
  const leaveThree = await waiting[0]!;
  expect(passed).toEqual([3]);
  leaveThree();
  await waiting[1];
  expect(passed).toEqual([3, 4]);
});

test('who gives up is passed over, and takes nobody else along', async () => {
  const turnstile = new Turnstile(1);
  const leave = await turnstile.enter(forever);
  const abort = new AbortController();
  const given = turnstile.enter(abort.signal);
  const next = turnstile.enter(forever);
  abort.abort(new Error('given up'));
  await expect(given).rejects.toThrow('given up');
  leave();
  (await next)();
  (await turnstile.enter(forever))();
});

test('who has given up already does not enter', async () => {
  const turnstile = new Turnstile(1);
  await expect(turnstile.enter(AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  await turnstile.enter(forever);
});

test('giving up after one has passed changes nothing', async () => {
  const turnstile = new Turnstile(1);
  const abort = new AbortController();
  const first = await turnstile.enter(forever);
  const waiting = turnstile.enter(abort.signal);
  first();
  const leave = await waiting;
  abort.abort();
  let passed = false;
  const next = turnstile.enter(forever).then(() => (passed = true));
  await Promise.resolve();
  expect(passed).toBe(false);
  leave();
  await next;
});
