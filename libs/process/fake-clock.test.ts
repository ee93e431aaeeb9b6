import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createFakeClock } from './fake-clock.ts';

describe('createFakeClock', () => {
  test('stands still until it is moved; the wall clock moves along', () => {
    const clock = createFakeClock();
    const wall = clock.wall();
    expect(clock.now()).toBe(0);
    clock.advance(250);
    expect(clock.now()).toBe(250);
    expect(clock.wall()).toBe(wall + 250);
  });

  test('timers run at their own time, in order of time and then of making', () => {
    const clock = createFakeClock();
    const ran: string[] = [];
    clock.setTimeout(() => ran.push(`late@${clock.now()}`), 20);
    clock.setTimeout(() => ran.push(`first@${clock.now()}`), 10);
    clock.setTimeout(() => ran.push(`second@${clock.now()}`), 10);
    clock.advance(19);
    expect(ran).toEqual(['first@10', 'second@10']);
    clock.advance(1);
    expect(ran).toEqual(['first@10', 'second@10', 'late@20']);
    expect(clock.pending).toBe(0);
  });

  test('a timer set by a timer runs in the same advance if it is due', () => {
    const clock = createFakeClock();
    const ran: number[] = [];
    clock.setTimeout(() => clock.setTimeout(() => ran.push(clock.now()), 5), 10);
    clock.advance(15);
    expect(ran).toEqual([15]);
  });

  test('an interval repeats until cancelled, also from inside', () => {
    const clock = createFakeClock();
    const ran: number[] = [];
    const timer = clock.setInterval(() => {
      ran.push(clock.now());
      if (ran.length === 3) timer.cancel();
    }, 10);
    clock.advance(100);
    expect(ran).toEqual([10, 20, 30]);
  });

  test('a cancelled timer does not run', () => {
    const clock = createFakeClock();
    let ran = false;
    clock.setTimeout(() => (ran = true), 1).cancel();
    clock.advance(10);
    expect(ran).toBe(false);
  });

  test('advanceAsync lets a promise chain set its next timer in between', async () => {
    const clock = createFakeClock();
    const ran: number[] = [];
    const tick = () =>
      new Promise<void>((resolve) => {
        clock.setTimeout(resolve, 10);
      });
    void (async () => {
      for (let i = 0; i < 3; i++) {
        await tick();
        ran.push(clock.now());
      }
    })();
    await clock.advanceAsync(30);
    expect(ran).toEqual([10, 20, 30]);
  });

  test('setWall moves the wall clock alone', () => {
    const clock = createFakeClock();
    clock.advance(5);
    clock.setWall(1000);
    clock.advance(5);
    expect([clock.now(), clock.wall()]).toEqual([10, 1005]);
  });

  test('one advance and many small ones run the same timers at the same times', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(50), { maxLength: 20 }),
        fc.array(fc.nat(10), { minLength: 1, maxLength: 20 }),
        (delays, steps) => {
          const total = steps.reduce((sum, step) => sum + step, 0);
          const record = (drive: (clock: ReturnType<typeof createFakeClock>) => void) => {
            const clock = createFakeClock();
            const ran: [number, number][] = [];
            delays.forEach((delay, i) => clock.setTimeout(() => ran.push([i, clock.now()]), delay));
            drive(clock);
            return ran;
          };
          const inSteps = record((clock) => steps.forEach((step) => clock.advance(step)));
          expect(inSteps).toEqual(record((clock) => clock.advance(total)));
          expect(inSteps.map(([i]) => i).toSorted((a, b) => a - b)).toEqual(
            delays.flatMap((delay, i) => (delay <= total ? [i] : [])),
          );
        },
      ),
    );
  });
});
