import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Write } from './test-history.ts';
import { type Step, TestLane } from './test-lane.ts';

const write: fc.Arbitrary<Write> = fc.record({
  object: fc.nat(4),
  app: fc.constantFrom('web', 'db', undefined),
  node: fc.constantFrom('n1', 'n2', ''),
  kind: fc.constantFrom('put', 'put', 'delete'),
});
const commit = fc.record({
  step: fc.constant('commit' as const),
  writes: fc.array(write, { minLength: 1, maxLength: 3 }),
  gap: fc.nat(2),
});
const join = fc.record({
  step: fc.constantFrom('initial' as const, 'resume' as const),
  interest: fc.nat(20),
  bookmarks: fc.boolean(),
  back: fc.integer({ min: -3, max: 14 }),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: commit },
  { weight: 6, arbitrary: fc.record({ step: fc.constant('apply' as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 4, arbitrary: join },
  {
    weight: 6,
    arbitrary: fc.record({
      step: fc.constant('pump' as const),
      client: fc.nat(20),
      writes: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      step: fc.constantFrom('bookmark' as const, 'advance' as const, 'trim' as const, 'leave' as const),
      client: fc.nat(20),
    }),
  },
  { weight: 1, arbitrary: fc.record({ step: fc.constant('repair' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ step: fc.constant('backfill' as const), back: fc.integer({ min: 1, max: 10 }) }),
  },
);

test('I2 I3 I5: whatever happens, what a client is sent adds up to what there is, or its watch ends', () => {
  const before = fc.array(fc.array(write, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 6 });
  const options = fc.record({
    windowBytesMax: fc.constantFrom(600, 1_500, 4_000, 1_000_000),
    tombstoneBytesMax: fc.constantFrom(0, 1_000, 3_000, 1_000_000),
    stateDiff: fc.boolean(),
    lagBytesMax: fc.constantFrom(200, 600, 1_000_000),
  });
  const count = { followed: 0, diffed: 0 };
  fc.assert(
    fc.property(
      before,
      options,
      fc.array(step, { maxLength: 80, size: 'max', minLength: 20 }),
      (commits, limits, steps) => {
        const lane = new TestLane(commits, limits);
        for (const next of steps) lane.run(next);
        const { followed, diffed } = lane.finish();
        count.followed += followed;
        count.diffed += diffed;
      },
    ),
    { numRuns: 400 },
  );
  expect(count.followed, 'watches that were followed to their end').toBeGreaterThan(400);
  expect(count.diffed, 'of them with states instead of every change').toBeGreaterThan(100);
});
