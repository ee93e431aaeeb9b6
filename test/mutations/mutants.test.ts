import { existsSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { describe, expect, test } from 'vitest';
import { ROOT, StaleMutant, plant } from './mutant.ts';
import { MUTANTS } from './mutants.ts';
import { pathOf } from './planted.ts';

describe('the planted bugs', () => {
  test.each(MUTANTS)('$id: stands in its file as it is now, and what comes of it can be run', (mutant) => {
    const source = readFileSync(pathOf(mutant), 'utf8');
    const planted = plant(source, mutant);
    expect(planted).not.toBe(source);
    // Throws where it is no TypeScript that Node would load.
    expect(stripTypeScriptTypes(planted)).not.toBe('');
    expect(mutant.by === undefined || existsSync(`${ROOT}${mutant.by}`)).toBe(true);
  });

  test('have names of their own', () => {
    expect(new Set(MUTANTS.map(({ id }) => id)).size).toBe(MUTANTS.length);
  });

  test('are 25 at least, one or more for each promise', () => {
    expect(MUTANTS.length).toBeGreaterThanOrEqual(25);
    const promises = new Set(MUTANTS.map(({ promise }) => promise));
    expect([...promises].toSorted()).toEqual(['I1', 'I10', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9']);
  });
});

test('a bug whose text is not there, or there twice, is not planted', () => {
  const mutant = { id: 'x', promise: 'I1', file: 'a.ts', find: 'one', replace: 'two', what: 'counts wrong' } as const;
  expect(plant('one', mutant)).toBe('two');
  expect(() => plant('none here', { ...mutant, find: 'nine' })).toThrow(StaleMutant);
  expect(() => plant('one one', mutant)).toThrow('2 times in a.ts');
});
