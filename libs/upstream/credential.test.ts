import { mkdtemp, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ClusterUser, type ExecPlugin } from './cluster-access.ts';
import { Credential } from './credential.ts';
import { type KubeconfigError } from './kubeconfig-error.ts';
import { RotatedFile } from './rotated-file.ts';
import { accessTo } from './upstream-fixture.ts';

let directory: string;
let problems: Error[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'dogwatch-credential-'));
  problems = [];
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

function credentialOf(user: Partial<ClusterUser>): Credential {
  return new Credential({
    access: accessTo({ port: 1, user }),
    env: { BASE: 'base' },
    onProblem: (problem) => problems.push(problem),
  });
}

/** A plugin that appends a line to the file `runs` and then does what `script` says; `status` is its ExecCredential's. */
function plugin(script: string, more: Partial<ExecPlugin> = {}): ExecPlugin {
  const prologue = `
    const fs = require('node:fs');
    fs.appendFileSync(${JSON.stringify(join(directory, 'runs'))}, 'run\\n');
    const info = JSON.parse(process.env.KUBERNETES_EXEC_INFO);
    const give = (status) => console.log(JSON.stringify({ apiVersion: info.apiVersion, kind: 'ExecCredential', status }));
  `;
  return {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: process.execPath,
    args: ['-e', `${prologue}${script}`],
    env: [],
    installHint: undefined,
    interactiveMode: 'Never',
    provideClusterInfo: false,
    clusterConfig: undefined,
    ...more,
  };
}

async function runs(): Promise<number> {
  return (await readFile(join(directory, 'runs'), 'utf8')).split('\n').length - 1;
}

async function failure(exec: ExecPlugin): Promise<KubeconfigError> {
  return credentialOf({ exec })
    .headers()
    .then(
      () => expect.fail('must not succeed'),
      (error: unknown) => error as KubeconfigError,
    );
}

describe('static credentials', () => {
  test('a token, a password, nothing', async () => {
    expect(await credentialOf({ token: 't' }).headers()).toEqual({ authorization: 'Bearer t' });
    expect(await credentialOf({ basic: { username: 'a', password: 'b:c' } }).headers()).toEqual({
      authorization: `Basic ${Buffer.from('a:b:c').toString('base64')}`,
    });
    expect(await credentialOf({}).headers()).toEqual({});
    expect(credentialOf({ token: 't' }).refused()).toBe(false);
  });

  test('a token goes before a plugin, which is not run', async () => {
    const credential = credentialOf({ token: 't', exec: plugin('process.exit(1)') });
    expect(await credential.headers()).toEqual({ authorization: 'Bearer t' });
  });
});

describe('a rotated file', () => {
  test('is looked at anew only after its age', async () => {
    const path = join(directory, 'token');
    let now = 0;
    const file = new RotatedFile({ path, onProblem: (problem) => problems.push(problem), now: () => now });
    await writeFile(path, 'old');
    expect((await file.read(60_000)).toString()).toBe('old');
    await writeFile(path, 'newer');
    now = 60_000;
    expect((await file.read(60_000)).toString()).toBe('old');
    now = 60_001;
    expect((await file.read(60_000)).toString()).toBe('newer');
  });

  test('is the same Buffer while its content is the same', async () => {
    const path = join(directory, 'token');
    await writeFile(path, 'same');
    const file = new RotatedFile({ path, onProblem: (problem) => problems.push(problem) });
    const first = await file.read(0);
    await utimes(path, 1, 1);
    expect(await file.read(0)).toBe(first);
  });

  test('stays in use, with a complaint, when it cannot be read any more', async () => {
    const path = join(directory, 'token');
    await writeFile(path, 'kept');
    const file = new RotatedFile({ path, onProblem: (problem) => problems.push(problem) });
    await file.read(0);
    await rm(path);
    expect((await file.read(0)).toString()).toBe('kept');
    expect(problems).toMatchObject([{ code: 'unreadable' }]);
  });

  test('must be readable at first', async () => {
    const file = new RotatedFile({ path: join(directory, 'missing'), onProblem: (problem) => problems.push(problem) });
    await expect(file.read(0)).rejects.toMatchObject({ name: 'KubeconfigError', code: 'unreadable' });
  });

  test('is read at once after upstream refused the token in it, but not for every refusal', async () => {
    const path = join(directory, 'token');
    await writeFile(path, 'old\n');
    const credential = credentialOf({ tokenFile: path });
    expect(await credential.headers()).toEqual({ authorization: 'Bearer old' });
    await writeFile(path, 'fresh');
    expect(await credential.headers()).toEqual({ authorization: 'Bearer old' });
    expect(credential.refused()).toBe(true);
    expect(await credential.headers()).toEqual({ authorization: 'Bearer fresh' });
    expect(credential.refused()).toBe(false);
  });

  test('a certificate and its key follow their files', async () => {
    const paths = { certificate: join(directory, 'tls.crt'), key: join(directory, 'tls.key') };
    await writeFile(paths.certificate, 'certificate 1');
    await writeFile(paths.key, 'key 1');
    const credential = credentialOf({
      certificate: { certificate: { kind: 'file', path: paths.certificate }, key: { kind: 'file', path: paths.key } },
    });
    expect((await credential.certificate(60_000))?.certificate.toString()).toBe('certificate 1');
    await writeFile(join(directory, 'next'), 'certificate 2');
    await rename(join(directory, 'next'), paths.certificate);
    expect((await credential.certificate(60_000))?.certificate.toString()).toBe('certificate 1');
    expect((await credential.certificate(0))?.certificate.toString()).toBe('certificate 2');
  });
});

describe('a credential plugin', () => {
  test('is run once for all who ask and until its credential expires', async () => {
    const future = new Date(Date.now() + 3_600_000).toISOString();
    const credential = credentialOf({ exec: plugin(`give({ token: 'tok', expirationTimestamp: '${future}' })`) });
    const answers = await Promise.all([credential.headers(), credential.headers(), credential.certificate(0)]);
    expect(answers).toEqual([{ authorization: 'Bearer tok' }, { authorization: 'Bearer tok' }, undefined]);
    await credential.headers();
    expect(await runs()).toBe(1);
  });

  test('is run again when its credential has expired or was refused', async () => {
    const credential = credentialOf({
      exec: plugin(`give({ token: 'tok', expirationTimestamp: '2020-01-01T00:00:00Z' })`),
    });
    await credential.headers();
    await credential.headers();
    expect(await runs()).toBe(2);
    const lasting = credentialOf({ exec: plugin(`give({ token: 'tok' })`) });
    await lasting.headers();
    expect(lasting.refused()).toBe(true);
    await lasting.headers();
    expect(await runs()).toBe(4);
  });

  test('may give a client certificate', async () => {
    const credential = credentialOf({ exec: plugin(`give({ clientCertificateData: 'cert', clientKeyData: 'key' })`) });
    expect(await credential.headers()).toEqual({});
    const first = await credential.certificate(0);
    expect(first).toEqual({ certificate: Buffer.from('cert'), key: Buffer.from('key') });
    expect((await credential.certificate(0))?.certificate).toBe(first?.certificate);
  });

  test('gets the environment, its own variables and what is asked of it', async () => {
    const exec = plugin(`give({ token: JSON.stringify([process.env.BASE, process.env.OWN, info.spec]) })`, {
      env: [{ name: 'OWN', value: 'own' }],
      provideClusterInfo: true,
      clusterConfig: { audience: 'x' },
    });
    const { authorization = '' } = await credentialOf({ exec }).headers();
    expect(JSON.parse(authorization.replace('Bearer ', ''))).toMatchObject([
      'base',
      'own',
      { interactive: false, cluster: { server: 'https://127.0.0.1:1', config: { audience: 'x' } } },
    ]);
  });

  test('that is not installed fails with its install hint', async () => {
    const error = await failure(plugin('', { command: 'no-such-plugin', installHint: 'brew install it' }));
    expect(error).toMatchObject({ code: 'exec_not_found' });
    expect(error.message).toMatch(/no-such-plugin.*\nbrew install it/s);
  });

  test('that fails is named with its exit code', async () => {
    const error = await failure(plugin('process.exit(3)'));
    expect(error).toMatchObject({ code: 'exec_failed' });
    expect(error.message).toContain('code 3');
  });

  test.each([
    ['no JSON', `console.log('c4nary')`],
    [
      'another kind',
      `console.log(JSON.stringify({ kind: 'Pod', apiVersion: info.apiVersion, status: { token: 'c4nary' } }))`,
    ],
    [
      'another version',
      `console.log(JSON.stringify({ kind: 'ExecCredential', apiVersion: 'v1', status: { token: 'c4nary' } }))`,
    ],
    ['nothing in it', `give({})`],
    ['null', `console.log('null')`],
    ['a key that is missing', `give({ clientCertificateData: 'c4nary' })`],
    ['a bad time', `give({ token: 'c4nary', expirationTimestamp: 'soon' })`],
    ['too much', `process.stdout.write('c4nary'.repeat(1e6))`],
  ])('that gives %s is refused, and its output is not shown', async (_what, script) => {
    const error = await failure(plugin(script));
    expect(error.code).toBe('exec_invalid_output');
    expect(`${error.message}${String(error.cause)}`).not.toContain('c4nary');
  });
});
