import { describe, expect, test } from 'vitest';
import { spreadOf, spreadText } from './spread.ts';

describe('a spread', () => {
  test('is the median with the smallest and the largest', () => {
    expect(spreadOf([5, 1, 9])).toEqual({ median: 5, min: 1, max: 9 });
    expect(spreadOf([4, 1, 2, 9])).toEqual({ median: 3, min: 1, max: 9 });
  });

  test('reads as it is printed in the table', () => {
    expect(spreadText({ median: 5.14, min: 4.9, max: 5.61 }, 1)).toBe('5.1 (4.9–5.6)');
  });

  test('of nothing does not exist', () => {
    expect(() => spreadOf([])).toThrow(RangeError);
  });
});
