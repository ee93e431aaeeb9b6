import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConcurrencyLimit } from './concurrency-limit.ts';
import { SingleFlight } from './single-flight.ts';

const settled = () => new Promise((resolve) => setImmediate(resolve));

function limitOf(change: Partial<ConstructorParameters<typeof ConcurrencyLimit>[0]> = {}): ConcurrencyLimit {
  return new ConcurrencyLimit({ maxRunning: 2, maxWaiting: 3, maxWaitMs: 100, now: () => 0, ...change });
}

describe('a concurrency limit', () => {
  test('never runs more than so many, in order, and all of them', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 20 }), async (turns) => {
        const limit = limitOf({ maxWaiting: 20 });
        const began: number[] = [];
        let running = 0;
        let most = 0;
        await Promise.all(
          turns.map((turn, index) =>
            limit.run(async () => {
              began.push(index);
              most = Math.max(most, (running += 1));
              for (let count = 0; count < turn; count++) await settled();
              running -= 1;
            }),
          ),
        );
        expect(most).toBeLessThanOrEqual(2);
        expect(began).toEqual(turns.map((_turn, index) => index));
      }),
      { numRuns: 30 },
    );
  });

  test('refuses what finds the queue full, and takes more when there is room', async () => {
    const limit = limitOf();
    const held = Promise.withResolvers<void>();
    const running = Array.from({ length: 5 }, () => limit.run(() => held.promise));
    await expect(limit.run(() => held.promise)).rejects.toMatchObject({ code: 'limit_reached' });
    held.resolve();
    await Promise.all(running);
    await limit.run(() => Promise.resolve());
  });

  test('a task that fails gives its place up', async () => {
    const limit = limitOf({ maxRunning: 1, maxWaiting: 0 });
    await expect(limit.run(() => Promise.reject(new Error('planned')))).rejects.toThrow('planned');
    expect(await limit.run(() => Promise.resolve('next'))).toBe('next');
  });

  test('a task that waited too long does not run, and gives its place up', async () => {
    const clock = createFakeClock();
    const limit = limitOf({ maxRunning: 1, now: () => clock.now() });
    const held = Promise.withResolvers<void>();
    const first = limit.run(() => held.promise);
    const late = limit.run(() => expect.unreachable());
    clock.advance(101);
    held.resolve();
    await expect(late).rejects.toMatchObject({ code: 'limit_reached' });
    await first;
    expect(await limit.run(() => Promise.resolve('next'))).toBe('next');
  });
});

describe('single flight', () => {
  test('shares an answer among those who ask at the same time, and asks anew afterwards', async () => {
    const flights = new SingleFlight<number>();
    let asked = 0;
    const ask = () => Promise.resolve((asked += 1));
    expect(await Promise.all([flights.run('a', ask), flights.run('a', ask), flights.run('b', ask)])).toEqual([1, 1, 2]);
    expect(await flights.run('a', ask)).toBe(3);
  });

  test('shares a failure, and forgets it', async () => {
    const flights = new SingleFlight<number>();
    const fail = () => Promise.reject(new Error('planned'));
    const results = await Promise.allSettled([flights.run('a', fail), flights.run('a', fail)]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(await flights.run('a', () => Promise.resolve(1))).toBe(1);
  });
});
