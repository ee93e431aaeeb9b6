import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { takeDataDir } from './data-dir.ts';

let parent: string;
let dir: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'dogwatch-data-'));
  dir = join(parent, 'cluster');
});
afterEach(() => rm(parent, { recursive: true }));

test('is made for its owner alone, and given back', async () => {
  const giveBack = await takeDataDir(dir);
  expect((await stat(dir)).mode & 0o777).toBe(0o700);
  expect(await readFile(join(dir, 'cluster.pid'), 'utf8')).toBe(String(process.pid));
  await giveBack();
  await expect(stat(join(dir, 'cluster.pid'))).rejects.toThrow(/ENOENT/);
});

test('that of a cluster that lives is refused', async () => {
  await takeDataDir(dir);
  const other = spawn('sleep', ['60']);
  await once(other, 'spawn');
  await writeFile(join(dir, 'cluster.pid'), String(other.pid));
  await expect(takeDataDir(dir)).rejects.toMatchObject({
    code: 'DataDirUnusable',
    message: `${dir} is in use by the cluster of process ${other.pid}: stop it or choose another --data-dir`,
  });
  other.kill();
  await once(other, 'exit');
  await expect(takeDataDir(dir)).resolves.toBeTypeOf('function');
});

test('one that cannot be made says what to do', async () => {
  await writeFile(dir, '');
  await expect(takeDataDir(dir)).rejects.toMatchObject({
    code: 'DataDirUnusable',
    message: `cannot keep anything in ${dir}: make it writable or choose another --data-dir`,
  });
});
