import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { createLogger } from '@dogwatch/process/log.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findClientCa } from './client-ca.ts';

const log = createLogger({ level: 'error', pretty: false, destination: { write: () => undefined } });
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'dogwatch-client-ca-'));
});
afterEach(() => rm(directory, { recursive: true }));

function publishing(pem: string | undefined): Upstream {
  const body = JSON.stringify({ data: pem === undefined ? {} : { 'client-ca-file': pem } });
  const unused = () => expect.fail('not part of this test');
  return {
    server: new URL('https://upstream.test'),
    open: () =>
      Promise.resolve({
        status: 200,
        headers: { 'content-type': 'application/json' },
        body: Readable.from([Buffer.from(body)]),
      }),
    forward: unused,
    ownHeaders: unused,
    ownCredentialRefused: unused,
    close: () => undefined,
  };
}

test('what another cluster publishes does not change whom the first one trusts', async () => {
  const first = await findClientCa(publishing('first'), directory, log);
  const second = await findClientCa(publishing('second'), directory, log);
  expect(await readFile(first!, 'utf8')).toBe('first');
  expect(await readFile(second!, 'utf8')).toBe('second');
  expect(await findClientCa(publishing('first'), directory, log)).toBe(first);
});

test('nothing published, nobody trusted', async () => {
  expect(await findClientCa(publishing(undefined), directory, log)).toBeUndefined();
});

test('where it cannot be kept, says what to do', async () => {
  const file = join(directory, 'file');
  await writeFile(file, '');
  await expect(findClientCa(publishing('first'), file, log)).rejects.toMatchObject({
    code: 'client_ca_unwritable',
    message: expect.stringContaining('--client-ca-file') as string,
  });
});
