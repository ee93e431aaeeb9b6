// Every row of the contract is named by the title of a test.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ROWS } from '@dogwatch/verify/rows.ts';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** Tests, and the cases that tests run. */
const FILES = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: ROOT })
  .toString()
  .split('\n')
  .filter((path) => /(\.test|-cases)\.ts$/.test(path) && existsSync(`${ROOT}/${path}`));

/** Rows named in what can be a title: a string that begins a line of a table, or that follows test, describe or name. */
const NAMED = new Set(
  FILES.flatMap((path) => {
    const text = readFileSync(`${ROOT}/${path}`, 'utf8');
    const titles = text.matchAll(/(?:\b(?:test|describe)\(|\)\(|\bname: |^\s*\[)\s*(['"`])((?:(?!\1).)*)\1/gm);
    return [...titles].flatMap(([, , title = '']) => rowsIn(title));
  }),
);

/** `L13 to L15` are three. */
function rowsIn(title: string): string[] {
  const ranges = [...title.matchAll(/\b([A-Z])(\d+) to \1(\d+)\b/g)].flatMap(([, letter = '', from, to]) =>
    Array.from({ length: Number(to) - Number(from) + 1 }, (_, i) => `${letter}${Number(from) + i}`),
  );
  return [...ranges, ...[...title.matchAll(/\b[A-Z]\d+\b/g)].map(([id]) => id)];
}

test('every row of the contract is named by the title of a test', () => {
  expect(ROWS.map(({ id }) => id).filter((id) => !NAMED.has(id))).toEqual([]);
});

test('a row that a request cannot try says why', () => {
  const silent = ROWS.filter(({ hit, whyNot }) => hit === undefined && (whyNot ?? '') === '');
  expect(silent.map(({ id }) => id)).toEqual([]);
});
