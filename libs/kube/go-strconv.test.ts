import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { goBool, goFloat32, goQuote, int64Problem, uint64Problem } from './go-strconv.ts';

/** Random texts, and what Go says of them. */
interface Recorded {
  readonly text: string;
  readonly quoted: string;
  readonly int64?: string;
  readonly uint64?: string;
}

const recorded = readFileSync(new URL('testdata/upstream-numbers.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Recorded);

describe('texts recorded from Go', () => {
  test.each(recorded)('$quoted', ({ text, quoted, int64, uint64 }) => {
    expect(goQuote(text)).toBe(quoted);
    expect(int64Problem(text)).toBe(int64);
    expect(uint64Problem(text)).toBe(uint64);
  });
});

describe('the ends of the ranges', () => {
  test.each([
    ['9223372036854775807', undefined],
    ['-9223372036854775808', undefined],
    ['+7', undefined],
    ['9223372036854775808', 'strconv.ParseInt: parsing "9223372036854775808": value out of range'],
    ['-9223372036854775809', 'strconv.ParseInt: parsing "-9223372036854775809": value out of range'],
    ['', 'strconv.ParseInt: parsing "": invalid syntax'],
  ])('%j as int64', (text, problem) => {
    expect(int64Problem(text)).toBe(problem);
  });

  test('too many digits are out of range even before something unreadable', () => {
    expect(uint64Problem('99999999999999999999x')).toBe(
      'strconv.ParseUint: parsing "99999999999999999999x": value out of range',
    );
    expect(uint64Problem('9x')).toBe('strconv.ParseUint: parsing "9x": invalid syntax');
  });
});

test('every 64-bit integer is taken, printed as a decimal', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
      expect(int64Problem(String(value))).toBeUndefined();
      expect(uint64Problem(String(BigInt.asUintN(64, value)))).toBeUndefined();
    }),
  );
});

test('what cannot be read as a bool or a float is false or 0', () => {
  expect(['1', 'T', 'True', 'true'].every(goBool)).toBe(true);
  expect(['yes', 'tRue', '', '0'].some(goBool)).toBe(false);
  expect([' 1', '0x', '1e', 'q'].map(goFloat32)).toEqual([0, 0, 0, 0]);
  expect(['.5', '1.', '-Inf'].map(goFloat32)).toEqual([0.5, 1, -Infinity]);
});
