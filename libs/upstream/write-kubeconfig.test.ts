import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { loadKubeconfig } from './kubeconfig.ts';
import { writeKubeconfig } from './write-kubeconfig.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'dogwatch-kubeconfig-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

const users: [what: string, user: Record<string, unknown>][] = [
  ['a token', { token: 'secret: "quoted"\n' }],
  ['a token file', { tokenFile: 'token' }],
  ['a password', { username: 'me', password: 'secret' }],
  ['an anonymous user', {}],
  ['a certificate', { 'client-certificate': 'cert.pem', 'client-key-data': Buffer.from('key').toString('base64') }],
  [
    'a plugin',
    {
      exec: {
        apiVersion: 'client.authentication.k8s.io/v1',
        command: 'bin/login',
        args: ['a', '1'],
        env: [{ name: 'A', value: 'true' }],
        installHint: 'two\nlines',
        interactiveMode: 'Never',
        provideClusterInfo: true,
      },
    },
  ],
];

describe('writeKubeconfig', () => {
  test.each(users)('%s goes on working from another directory', async (_what, user) => {
    const source = join(directory, 'config');
    await writeFile(
      source,
      stringify({
        'current-context': 'c',
        contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
        clusters: [
          {
            name: 'c',
            cluster: {
              server: 'https://upstream:6443',
              extensions: [{ name: 'client.authentication.k8s.io/exec', extension: { audience: 'x' } }],
            },
          },
        ],
        users: [{ name: 'u', user }],
      }),
    );
    const access = await loadKubeconfig({ path: source, env: {} });
    const path = join(directory, 'elsewhere', 'dogwatch.kubeconfig');
    const certificateAuthorityData = Buffer.from('authority');
    await writeKubeconfig({ path, access, server: 'https://127.0.0.1:7443', certificateAuthorityData });

    const written = await loadKubeconfig({ path, context: 'dogwatch', env: {} });
    expect(written.user).toEqual(access.user);
    expect(written.server.href).toBe('https://127.0.0.1:7443/');
    expect(written.certificateAuthority).toEqual({ kind: 'data', pem: certificateAuthorityData });
  });

  test('only its owner can read it, and it replaces an older one in one step', async () => {
    const access = { ...(await anonymousAccess()) };
    const path = join(directory, 'dogwatch.kubeconfig');
    await writeFile(path, 'older', { mode: 0o644 });
    await writeKubeconfig({
      path,
      access,
      server: 'https://127.0.0.1:7443',
      certificateAuthorityData: Buffer.from('a'),
    });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(['config', 'dogwatch.kubeconfig']);
  });
});

async function anonymousAccess() {
  const path = join(directory, 'config');
  await writeFile(
    path,
    'current-context: c\ncontexts: [{name: c, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: "https://x"}}]\n',
  );
  return loadKubeconfig({ path, env: {} });
}
