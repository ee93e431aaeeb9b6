import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { version } from './version.ts';

test('the version is that of the repository and of the command', () => {
  for (const file of ['../../package.json', '../../services/cli/package.json']) {
    const text = readFileSync(new URL(file, import.meta.url), 'utf8');
    expect((JSON.parse(text) as { version: string }).version).toBe(version);
  }
});
