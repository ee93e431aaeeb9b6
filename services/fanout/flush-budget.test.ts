import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FlushBudget } from './flush-budget.ts';

describe('a budget of unflushed bytes', () => {
  test('is exhausted at its limit and free below', () => {
    const budget = new FlushBudget(100);
    budget.account(99);
    expect(budget.exhausted).toBe(false);
    budget.account(1);
    expect(budget.exhausted).toBe(true);
  });

  test('lets waiters go on when half is free, first come first', () => {
    const budget = new FlushBudget(100);
    const resumed: string[] = [];
    budget.account(120);
    for (const name of ['a', 'b', 'c']) budget.wait({ onRoom: () => resumed.push(name) });
    budget.account(-60);
    expect(resumed).toEqual([]);
    budget.account(-10);
    expect(resumed).toEqual(['a', 'b', 'c']);
  });

  test('stops a round when it is used up again; the next round begins with those left out', () => {
    const budget = new FlushBudget(100);
    const resumed: string[] = [];
    const waiter = (name: string) => {
      const self = {
        onRoom: () => {
          resumed.push(name);
          budget.account(60);
          budget.wait(self);
        },
      };
      return self;
    };
    for (const name of ['a', 'b', 'c']) budget.wait(waiter(name));
    budget.account(100);
    budget.account(-100);
    expect(resumed).toEqual(['a', 'b']);
    budget.account(-120);
    expect(resumed).toEqual(['a', 'b', 'c', 'a']);
  });

  test('does not call who no longer waits', () => {
    const budget = new FlushBudget(10);
    const waiter = { onRoom: () => expect.unreachable() };
    budget.account(10);
    budget.wait(waiter);
    budget.forget(waiter);
    budget.account(-10);
  });

  test('with greedy writers, nobody waits for ever and the bound is passed by one write at most', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 }), (sizes) => {
        const budget = new FlushBudget(100);
        const turns = sizes.map(() => 0);
        const queued: number[] = [];
        const waiters = sizes.map((size, index) => {
          const self = {
            onRoom: () => {
              turns[index]! += 1;
              do {
                budget.account(size);
                queued.push(size);
              } while (!budget.exhausted);
              budget.wait(self);
            },
          };
          return self;
        });
        for (const waiter of waiters) budget.wait(waiter);
        budget.account(1);
        queued.push(1);
        let most = 0;
        for (let flushes = 0; flushes < 1_000; flushes++) {
          budget.account(-queued.shift()!);
          most = Math.max(most, budget.unflushed);
        }
        expect(most).toBeLessThanOrEqual(160);
        expect(Math.min(...turns)).toBeGreaterThan(1);
        expect(Math.max(...turns) - Math.min(...turns)).toBeLessThanOrEqual(1);
      }),
    );
  });
});
