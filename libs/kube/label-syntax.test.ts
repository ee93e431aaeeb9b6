import { expect, test } from 'vitest';
import { labelKeyProblems, labelValueProblems } from './label-syntax.ts';

test.each([
  'simple',
  '1234/5678',
  'now.with-dashes.and.dots/simple',
  'Uppercase_Is_OK_123',
  'example.com/Uppercase_Is_OK_123',
  'a'.repeat(63),
  `${'a'.repeat(253)}/${'b'.repeat(63)}`,
])('%s is a label key', (key) => {
  expect(labelKeyProblems(key)).toEqual([]);
});

test.each([
  ['cantendwithadash-', 1],
  ['only/one/slash', 1],
  ['Example.com/abc', 1],
  ['example..com/abc', 1],
  ['example.com/', 2],
  ['/simple', 1],
  ['a'.repeat(64), 1],
  [`${'a'.repeat(254)}/abc`, 1],
  [`${'A'.repeat(254)}/-`, 3],
])('%s is no label key', (key, problems) => {
  expect(labelKeyProblems(key)).toHaveLength(problems);
});

test('label values may be empty, not long, and bytes count', () => {
  expect(labelValueProblems('')).toEqual([]);
  expect(labelValueProblems('a'.repeat(63))).toEqual([]);
  expect(labelValueProblems('a'.repeat(64))).toEqual(['must be no more than 63 bytes']);
  expect(labelValueProblems('é'.repeat(32))[0]).toBe('must be no more than 63 bytes');
  expect(labelValueProblems('a-')).toHaveLength(1);
});
