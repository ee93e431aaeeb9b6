import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findNatsServer } from './local-nats.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'dogwatch-path-'));
  await mkdir(join(dir, 'directory', 'nats-server'), { recursive: true });
  for (const [name, mode] of [
    ['plain', 0o644],
    ['program', 0o755],
  ] as const) {
    await mkdir(join(dir, name));
    await writeFile(join(dir, name, 'nats-server'), '');
    await chmod(join(dir, name, 'nats-server'), mode);
  }
});
afterAll(() => rm(dir, { recursive: true }));

const path = (...names: string[]) => ({ PATH: names.map((name) => join(dir, name)).join(delimiter) });

describe('the nats-server to start', () => {
  test('is the one that is named', () => {
    expect(findNatsServer('/opt/nats-server', path('program'))).toBe('/opt/nats-server');
  });

  test('or the first program of that name on the PATH', () => {
    expect(findNatsServer(undefined, path('nowhere', 'directory', 'program'))).toBe(
      join(dir, 'program', 'nats-server'),
    );
  });

  test.skipIf(process.getuid?.() === 0)('a file that cannot be run is none', () => {
    expect(findNatsServer(undefined, path('plain', 'program'))).toBe(join(dir, 'program', 'nats-server'));
  });

  test('without any, the error says how to get one', () => {
    for (const env of [{}, { PATH: '' }, path('directory')]) {
      expect(() => findNatsServer(undefined, env)).toThrow(
        expect.objectContaining({
          code: 'NatsServerMissing',
          message: expect.stringMatching(
            /^found no nats-server on the PATH: install it .* DOGWATCH_NATS_SERVER_BIN$/,
          ) as string,
        }) as Error,
      );
    }
  });
});
