import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parseGoDuration } from './go-duration.ts';

/** Random texts, and what Go says of them. */
interface Recorded {
  readonly text: string;
  readonly seconds?: number;
  readonly error?: string;
}

const recorded = readFileSync(new URL('testdata/upstream-durations.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Recorded);

describe('durations recorded from Go', () => {
  test.each(recorded)('$text', ({ text, seconds, error }) => {
    const parsed = parseGoDuration(text);
    const rounded = 'seconds' in parsed ? { seconds: Number(parsed.seconds.toFixed(6)) } : parsed;
    expect(rounded).toEqual(error === undefined ? { seconds: Number(seconds?.toFixed(6)) } : { problem: error });
  });
});

test.each([
  ['1h2m3.5s', { seconds: 3723.5 }],
  ['-1m', { seconds: -60 }],
  ['0', { seconds: 0 }],
  ['', { problem: 'time: invalid duration ""' }],
  ['5', { problem: 'time: missing unit in duration "5"' }],
  ['5x', { problem: 'time: unknown unit "x" in duration "5x"' }],
  ['1constructor', { problem: 'time: unknown unit "constructor" in duration "1constructor"' }],
  ['é', { problem: 'time: invalid duration "\\xc3\\xa9"' }],
])('%j', (text, expected) => {
  expect(parseGoDuration(text)).toEqual(expected);
});
