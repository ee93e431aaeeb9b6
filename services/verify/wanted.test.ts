import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { WANTED } from './wanted.ts';

test('ARCHITECTURE.md has the same table, and at most 15 are wanted', () => {
  const text = readFileSync(new URL('../../ARCHITECTURE.md', import.meta.url), 'utf8');
  const [, section = ''] = text.split('## Wanted differences\n');
  const rows = [...(section.split('\n## ')[0] ?? '').matchAll(/^\| (.*) \| (.*) \| (.*) \|$/gm)].slice(1);
  const wanted = Object.entries(WANTED).map(([id, { what, reason }]) => [id, what, reason]);
  expect(rows.map(([, ...cells]) => cells)).toEqual(wanted);
  expect(wanted.length).toBeLessThanOrEqual(15);
});
