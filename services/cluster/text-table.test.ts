import { expect, test } from 'vitest';
import { renderTable } from './text-table.ts';

test('columns are as wide as their widest cell, and lines end without spaces', () => {
  expect(
    renderTable(
      ['NAME', 'AGE'],
      [
        ['a', '1s'],
        ['a-longer-name', ''],
      ],
    ),
  ).toBe('NAME            AGE\na               1s\na-longer-name\n');
});

test('a table without rows still says what it would show', () => {
  expect(renderTable(['NAME', 'AGE'], [])).toBe('NAME   AGE\n');
});
