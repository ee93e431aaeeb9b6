import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LagHistogram } from './lag-histogram.ts';

const micros = fc.integer({ min: 0, max: 3_600_000_000 });

describe('a lag histogram', () => {
  test('gives a percentile at or above the true value, by 4 % at most', () => {
    fc.assert(
      fc.property(
        fc.array(micros, { minLength: 1, maxLength: 200 }),
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        (values, share) => {
          const histogram = new LagHistogram();
          for (const value of values) histogram.record(value);
          const sorted = values.toSorted((a, b) => a - b);
          const exact = sorted[Math.ceil(values.length * share) - 1] ?? 0;
          const given = histogram.percentile(share) ?? -1;
          expect(given).toBeGreaterThanOrEqual(exact);
          expect(given).toBeLessThanOrEqual(exact * 1.04 + 1);
        },
      ),
    );
  });

  test('is the same whether recorded in one or added from parts that crossed a process border', () => {
    fc.assert(
      fc.property(fc.array(micros), fc.array(micros), (left, right) => {
        const whole = new LagHistogram();
        for (const value of [...left, ...right]) whole.record(value);
        const parts = [left, right].map((values) => {
          const part = new LagHistogram();
          for (const value of values) part.record(value);
          return new LagHistogram(JSON.parse(JSON.stringify(part.toArray())) as number[]);
        });
        const sum = new LagHistogram();
        for (const part of parts) sum.add(part);
        expect(sum.toArray()).toEqual(whole.toArray());
      }),
    );
  });

  test('knows no percentile of nothing', () => {
    expect(new LagHistogram().percentile(0.99)).toBeUndefined();
  });
});
