import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { checkFiles, loadConfig } from './load-config.ts';
import { defineOptions } from './options.ts';

const TABLE = defineOptions({
  config: { type: 'path', help: 'File.' },
  'client-ca-file': { type: 'path', mustExist: true, help: 'CA.' },
  'write-kubeconfig': { type: 'path', help: 'Output.' },
  v: { type: 'int', default: 2, min: 0, max: 10, bare: 4, help: 'Verbosity.' },
});

const dir = mkdtempSync(join(tmpdir(), 'dogwatch-config-'));
afterAll(() => rmSync(dir, { recursive: true }));
const written = (name: string, text: string) => {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
};

describe('loadConfig', () => {
  test('reads the file that --config or its variable names', () => {
    const path = written('dw.json', '{"v": 5}');
    for (const input of [
      { argv: ['--config', path], env: {} },
      { argv: [], env: { DOGWATCH_CONFIG: path } },
    ]) {
      const { config, settings } = loadConfig(TABLE, input);
      expect(config).toMatchObject({ v: 5, config: path });
      expect(settings.find(({ name }) => name === 'v')?.source).toBe(`file ${path}`);
    }
  });

  test('reads none unless told to', () => {
    expect(loadConfig(TABLE, { argv: [], env: {} }).config.v).toBe(2);
  });

  test('a file that cannot be read is one clear line', () => {
    const path = join(dir, 'nothing.json');
    expect(() => loadConfig(TABLE, { argv: [`--config=${path}`], env: {} })).toThrow(
      `cannot read configuration file ${path}: no such file`,
    );
    expect(() => loadConfig(TABLE, { argv: [`--config=${dir}`], env: {} })).toThrow(/it is a directory/);
  });

  test('a file cannot name another', () => {
    const path = written('chain.json', '{"config": "other.json"}');
    expect(() => loadConfig(TABLE, { argv: [`--config=${path}`], env: {} })).toThrow(/cannot name another/);
  });
});

describe('checkFiles', () => {
  const check = (...argv: string[]) => checkFiles(TABLE, loadConfig(TABLE, { argv, env: {} }));

  test('passes when what is read exists; what is written need not', () => {
    const path = written('ca.crt', 'x');
    expect(() => check(`--client-ca-file=${path}`, `--write-kubeconfig=${join(dir, 'new')}`)).not.toThrow();
    expect(() => check()).not.toThrow();
  });

  test('names the flag and the reason otherwise', () => {
    const path = join(dir, 'none.crt');
    expect(() => check(`--client-ca-file=${path}`)).toThrow(`--client-ca-file: cannot read ${path}: no such file`);
    expect(() => check(`--client-ca-file=${dir}`)).toThrow(`--client-ca-file: ${dir} is a directory`);
  });

  test.skipIf(process.getuid?.() === 0)('a file without permission is refused before anything starts', () => {
    const path = written('private.crt', 'x');
    chmodSync(path, 0o000);
    expect(() => check(`--client-ca-file=${path}`)).toThrow(/permission denied/);
  });
});
