import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseBytes, parseDuration, SyntaxProblem } from './quantity.ts';

describe('parseDuration', () => {
  test.each([
    ['0', 0],
    ['30s', 30_000],
    ['1m30s', 90_000],
    ['1h', 3_600_000],
    ['1.5h', 5_400_000],
    ['.5s', 500],
    ['250ms', 250],
    ['100us', 0.1],
    ['1h0m0s', 3_600_000],
    ['1s1m', 61_000],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBeCloseTo(ms, 9);
  });

  test.each(['', 's', '10 s', '-5s', '1d', '1w', '1m30', '5S', '1e3s', '..5s', 'ten seconds'])(
    '%j is refused',
    (text) => {
      expect(() => parseDuration(text)).toThrow(SyntaxProblem);
    },
  );

  test('a number without a unit is told what to write', () => {
    expect(() => parseDuration('30')).toThrow('30 has no unit; write 30s for seconds, or use ms, m or h');
  });

  test('hours, minutes, seconds and milliseconds add up', () => {
    fc.assert(
      fc.property(fc.nat(99), fc.nat(99), fc.nat(99), fc.nat(999), (h, m, s, ms) => {
        expect(parseDuration(`${h}h${m}m${s}s${ms}ms`)).toBe(h * 3_600_000 + m * 60_000 + s * 1000 + ms);
      }),
    );
  });
});

describe('parseBytes', () => {
  test.each([
    ['0', 0],
    ['4096', 4096],
    ['512Mi', 512 * 2 ** 20],
    ['1.5Gi', 1.5 * 2 ** 30],
    ['64Ki', 65_536],
    ['2G', 2e9],
    ['1k', 1000],
    ['1e6', 1_000_000],
    ['12E3', 12_000],
    ['0.1k', 100],
    ['.0001Ki', 1],
  ])('%s is %d', (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes);
  });

  test.each(['', 'Mi', '-1', '1 Mi', '1K', '1mi', '1MB', '1m', '1n', '0x10', 'lots'])('%j is refused', (text) => {
    expect(() => parseBytes(text)).toThrow(SyntaxProblem);
  });

  test('what cannot be counted exactly is refused', () => {
    expect(() => parseBytes('9000Pi')).toThrow(/more bytes than can be counted/);
    expect(() => parseBytes('1e99')).toThrow(SyntaxProblem);
  });
});
