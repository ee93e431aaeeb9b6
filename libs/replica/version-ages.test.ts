import { expect, test } from 'vitest';
import { VersionAges } from './version-ages.ts';

test('a version is as old as the time since one at or above it was first heard of', () => {
  const ages = new VersionAges();
  expect(ages.of(10, 0)).toBe(Infinity);
  ages.note(10, 0);
  ages.note(20, 5_000);
  ages.note(15, 6_000);
  expect([9, 10, 11, 20, 21].map((rv) => ages.of(rv, 7_000))).toEqual([Infinity, 7_000, 2_000, 2_000, 0]);
});

test('within a second they are one, taken for the older', () => {
  const ages = new VersionAges();
  ages.note(10, 0);
  ages.note(20, 5_000);
  ages.note(30, 5_900);
  expect(ages.of(30, 6_000)).toBe(1_000);
  ages.note(40, 6_100);
  expect(ages.of(40, 6_100)).toBe(0);
});

test('what is longer ago than is remembered is as old as can be', () => {
  const ages = new VersionAges();
  for (let second = 0; second < 1_000; second++) ages.note(second, second * 1_000);
  expect(ages.of(871, 1_000_000)).toBe(Infinity);
  expect(ages.of(900, 1_000_000)).toBe(100_000);
});
