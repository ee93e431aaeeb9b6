import { describe, expect, test } from 'vitest';
import { MAX_DELAY, inTime, sleep, systemClock } from './clock.ts';
import { createFakeClock } from './fake-clock.ts';

describe('systemClock', () => {
  test('now is monotonic and wall is the epoch', () => {
    const before = systemClock.now();
    expect(systemClock.now()).toBeGreaterThanOrEqual(before);
    expect(Math.abs(systemClock.wall() - Date.now())).toBeLessThan(1000);
  });

  test('a timer runs, a cancelled one does not', async () => {
    const ran: string[] = [];
    systemClock.setTimeout(() => ran.push('cancelled'), 1).cancel();
    await new Promise<void>((resolve) => {
      systemClock.setTimeout(resolve, 5);
    });
    expect(ran).toEqual([]);
  });

  test('an interval runs until it is cancelled', async () => {
    let runs = 0;
    await new Promise<void>((resolve) => {
      const timer = systemClock.setInterval(() => {
        runs += 1;
        if (runs < 3) return;
        timer.cancel();
        resolve();
      }, 1);
    });
    expect(runs).toBe(3);
  });

  test('a delay that Node would cut to 1 ms is refused', () => {
    expect(() => systemClock.setTimeout(() => {}, MAX_DELAY + 1)).toThrow(/out of range/);
    expect(() => systemClock.setInterval(() => {}, 0)).toThrow(/out of range/);
    expect(() => systemClock.setTimeout(() => {}, Number.NaN)).toThrow(/out of range/);
  });
});

describe('sleep', () => {
  test('resolves when the time is up, and not before', async () => {
    const clock = createFakeClock();
    let awake = false;
    const slept = sleep(clock, 100, new AbortController().signal).then(() => (awake = true));
    await clock.advanceAsync(99);
    expect(awake).toBe(false);
    await clock.advanceAsync(1);
    expect(awake).toBe(true);
    await slept;
  });

  test('resolves at once on abort and leaves no timer behind', async () => {
    const clock = createFakeClock();
    const controller = new AbortController();
    const slept = sleep(clock, 100, controller.signal);
    expect(clock.pending).toBe(1);
    controller.abort();
    await slept;
    expect(clock.pending).toBe(0);
  });

  test('does not start when the signal has aborted already', async () => {
    const clock = createFakeClock();
    await sleep(clock, 100, AbortSignal.abort());
    expect(clock.pending).toBe(0);
  });
});

describe('inTime', () => {
  test('gives what a promise resolves with in time, and nothing of one that does not', async () => {
    const clock = createFakeClock();
    const [soon, never] = [Promise.withResolvers<string>(), new Promise<string>(() => {})];
    const found = inTime(soon.promise, clock, 100);
    const late = inTime(never, clock, 100);
    soon.resolve('it');
    expect(await found).toBe('it');
    await clock.advanceAsync(100);
    expect(await late).toBeUndefined();
    expect(clock.pending).toBe(0);
  });

  test('rejects as the promise does', async () => {
    const clock = createFakeClock();
    await expect(inTime(Promise.reject(new Error('no')), clock, 100)).rejects.toThrow('no');
    expect(clock.pending).toBe(0);
  });
});
