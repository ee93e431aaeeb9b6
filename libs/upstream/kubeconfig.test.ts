import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { KubeconfigError, type KubeconfigErrorCode } from './kubeconfig-error.ts';
import { loadKubeconfig } from './kubeconfig.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'dogwatch-kubeconfig-'));
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

interface Parts {
  readonly cluster?: Record<string, unknown>;
  readonly user?: Record<string, unknown>;
  readonly name?: string;
}

/** A kubeconfig with one context, cluster and user, all called `name`. */
function kubeconfig({ cluster = {}, user = {}, name = 'main' }: Parts = {}): Record<string, unknown> {
  return {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': name,
    contexts: [{ name, context: { cluster: name, user: name } }],
    clusters: [{ name, cluster: { server: `https://${name}.example:6443`, ...cluster } }],
    users: [{ name, user }],
  };
}

async function write(content: unknown, name = 'config'): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, typeof content === 'string' ? content : stringify(content));
  return path;
}

async function failure(options: Parameters<typeof loadKubeconfig>[0]): Promise<KubeconfigError> {
  const error: unknown = await loadKubeconfig(options).catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(KubeconfigError);
  return error as KubeconfigError;
}

describe('where the kubeconfig is looked for', () => {
  test('an explicit path goes before everything else', async () => {
    const path = await write(kubeconfig({ name: 'explicit' }), 'explicit');
    const other = await write(kubeconfig({ name: 'listed' }), 'listed');
    const access = await loadKubeconfig({ path, env: { KUBECONFIG: other, HOME: directory } });
    expect(access.server.href).toBe('https://explicit.example:6443/');
    expect(access.source).toBe(`context "explicit" in ${path}`);
  });

  test('KUBECONFIG lists files, of which missing ones are skipped', async () => {
    const path = await write(kubeconfig());
    const access = await loadKubeconfig({ env: { KUBECONFIG: `:${directory}/missing:${path}` } });
    expect(access.server.hostname).toBe('main.example');
  });

  test('files are merged as kubectl does: the first to say something wins', async () => {
    const first = await write(
      {
        contexts: [{ name: 'main', context: { cluster: 'main', user: 'second' } }],
        clusters: null,
        users: [{ name: 'main', user: { token: 'unused' } }],
      },
      'first',
    );
    const second = await write(
      { ...kubeconfig({ name: 'main' }), users: [{ name: 'second', user: { token: 'right' } }] },
      'second',
    );
    const access = await loadKubeconfig({ env: { KUBECONFIG: `${first}:${second}` } });
    expect(access.server.hostname).toBe('main.example');
    expect(access.user.token).toBe('right');
  });

  test('in a pod the service account is used', async () => {
    await mkdir(join(directory, 'account'));
    await writeFile(join(directory, 'account', 'token'), 'pod-token');
    const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443', HOME: directory };
    const access = await loadKubeconfig({ env, serviceAccountDirectory: join(directory, 'account') });
    expect(access).toMatchObject({
      source: 'in-cluster',
      certificateAuthority: { kind: 'file', path: join(directory, 'account', 'ca.crt') },
      user: { tokenFile: join(directory, 'account', 'token') },
    });
    expect(access.server.host).toBe('[fd00::1]');
  });

  test('without a mounted token, or with a wanted context, ~/.kube/config is used', async () => {
    await mkdir(join(directory, '.kube'));
    await write(kubeconfig({ name: 'home' }), '.kube/config');
    await mkdir(join(directory, 'account'));
    const env = { KUBERNETES_SERVICE_HOST: '10.0.0.1', KUBERNETES_SERVICE_PORT: '443', HOME: directory };
    const options = { env, serviceAccountDirectory: join(directory, 'account') };
    expect((await loadKubeconfig(options)).server.hostname).toBe('home.example');
    await writeFile(join(directory, 'account', 'token'), 'pod-token');
    expect((await loadKubeconfig({ ...options, context: 'home' })).server.hostname).toBe('home.example');
  });

  test('nothing to be found says everywhere it looked', async () => {
    const error = await failure({ env: { HOME: directory }, serviceAccountDirectory: join(directory, 'account') });
    expect(error.code).toBe('not_found');
    expect(error.message).toContain(join(directory, '.kube', 'config'));
    expect(error.message).toContain('--kubeconfig');
    expect((await failure({ path: join(directory, 'missing'), env: {} })).code).toBe('not_found');
    expect((await failure({ env: { KUBECONFIG: join(directory, 'missing') } })).code).toBe('not_found');
  });
});

describe('what a context resolves to', () => {
  test('every supported field, relative paths being relative to the file', async () => {
    const path = await write(
      kubeconfig({
        cluster: {
          server: 'https://10.0.0.1:6443/clusters/one/',
          'certificate-authority': 'pki/ca.crt',
          'tls-server-name': 'kubernetes',
          extensions: [{ name: 'client.authentication.k8s.io/exec', extension: { audience: 'one' } }],
        },
        user: {
          tokenFile: 'token',
          'client-certificate-data': Buffer.from('certificate').toString('base64'),
          'client-key': '/absolute/key.pem',
          exec: {
            apiVersion: 'client.authentication.k8s.io/v1beta1',
            command: './login',
            args: ['--quiet'],
            env: null,
            installHint: 'get it',
            provideClusterInfo: true,
          },
        },
      }),
    );
    const access = await loadKubeconfig({ path, env: {} });
    expect(access).toMatchObject({
      tlsServerName: 'kubernetes',
      insecureSkipTlsVerify: false,
      certificateAuthority: { kind: 'file', path: join(directory, 'pki/ca.crt') },
      user: {
        tokenFile: join(directory, 'token'),
        certificate: {
          certificate: { kind: 'data', pem: Buffer.from('certificate') },
          key: { kind: 'file', path: '/absolute/key.pem' },
        },
        exec: {
          apiVersion: 'client.authentication.k8s.io/v1beta1',
          command: join(directory, 'login'),
          args: ['--quiet'],
          env: [],
          installHint: 'get it',
          provideClusterInfo: true,
          clusterConfig: { audience: 'one' },
        },
      },
    });
    expect(access.server.pathname).toBe('/clusters/one/');
  });

  test('a wanted context goes before current-context, and a context may have no user', async () => {
    const config = kubeconfig();
    const contexts = [...(config['contexts'] as unknown[]), { name: 'other', context: { cluster: 'main' } }];
    const path = await write({ ...config, contexts });
    const { user } = await loadKubeconfig({ path, context: 'other', env: {} });
    expect(Object.values(user).every((value) => value === undefined)).toBe(true);
  });

  test('basic authentication, and an address without a scheme as kubectl takes it', async () => {
    const path = await write(
      kubeconfig({ cluster: { server: '127.0.0.1:8080' }, user: { username: 'me', password: 'secret' } }),
    );
    const access = await loadKubeconfig({ path, env: {} });
    expect(access.server.href).toBe('http://127.0.0.1:8080/');
    expect(access.user.basic).toEqual({ username: 'me', password: 'secret' });
  });

  test('JSON is YAML', async () => {
    const path = await write(JSON.stringify(kubeconfig({ user: { token: 't' } })));
    expect((await loadKubeconfig({ path, env: {} })).user.token).toBe('t');
  });
});

describe('what is refused, with what to do', () => {
  const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: 'login' };
  const cases: [what: string, parts: Parts, code: KubeconfigErrorCode, says: string][] = [
    ['proxy-url', { cluster: { 'proxy-url': 'socks5://localhost' } }, 'unsupported', 'proxy-url'],
    ['auth-provider', { user: { 'auth-provider': { name: 'gcp' } } }, 'unsupported', 'exec plugin'],
    ['impersonation', { user: { as: 'root', token: 't' } }, 'unsupported', 'impersonates'],
    ['an interactive plugin', { user: { exec: { ...exec, interactiveMode: 'Always' } } }, 'unsupported', 'terminal'],
    [
      'an old plugin',
      { user: { exec: { ...exec, apiVersion: 'client.authentication.k8s.io/v1alpha1' } } },
      'invalid_field',
      'apiVersion',
    ],
    [
      'insecure with an authority',
      { cluster: { 'insecure-skip-tls-verify': true, 'certificate-authority': 'x' } },
      'conflicting_fields',
      'remove',
    ],
    ['token and user name', { user: { token: 't', username: 'u' } }, 'conflicting_fields', 'remove'],
    ['a certificate without its key', { user: { 'client-certificate': 'x' } }, 'invalid_field', 'client-key'],
    [
      'what is not base64',
      { user: { 'client-certificate-data': 'a b!', 'client-key': 'k' } },
      'invalid_field',
      'base64',
    ],
    ['a missing server', { cluster: { server: '' } }, 'invalid_field', 'server'],
    ['another scheme', { cluster: { server: 'ftp://x' } }, 'invalid_field', 'https://'],
    ['a password in the address', { cluster: { server: 'https://u:p@x' } }, 'invalid_field', 'user stanza'],
    ['a number for a string', { user: { token: 12345 } }, 'invalid_field', 'quotes'],
    ['a string for a boolean', { cluster: { 'insecure-skip-tls-verify': 'yes' } }, 'invalid_field', 'true or false'],
  ];

  test.each(cases)('%s', async (_what, parts, code, says) => {
    const path = await write(kubeconfig(parts));
    const error = await failure({ path, env: {} });
    expect(error.code).toBe(code);
    expect(error.message).toContain(says);
    expect(error.message).toContain(path);
  });

  test('names that lead nowhere', async () => {
    const config = kubeconfig();
    const path = await write(config);
    const unknown = await failure({ path, context: 'nowhere', env: {} });
    expect(unknown.code).toBe('unknown_context');
    expect(unknown.message).toContain('main');
    const noUser = await write({ ...config, users: [] }, 'no-user');
    expect((await failure({ path: noUser, env: {} })).code).toBe('unknown_user');
    const noCluster = await write({ ...config, clusters: null }, 'no-cluster');
    expect((await failure({ path: noCluster, env: {} })).code).toBe('unknown_cluster');
    const noContext = await write({ ...config, 'current-context': '' }, 'no-context');
    expect((await failure({ path: noContext, env: {} })).code).toBe('no_context');
  });

  test('broken YAML names the line and quotes nothing', async () => {
    const path = await write('users:\n- name: a\n  user: {token: c4nary-t0ken\n  other: [}\n');
    const error = await failure({ path, env: {} });
    expect(error.code).toBe('invalid_yaml');
    expect(error.message).toMatch(/line \d/);
    expect(`${error.message}${String(error.cause)}`).not.toContain('c4nary');
  });

  test('an unreadable file', async () => {
    await mkdir(join(directory, 'folder'));
    expect((await failure({ path: join(directory, 'folder'), env: {} })).code).toBe('unreadable');
  });

  test('aliases that explode', async () => {
    const lines = ['a0: &a0 [x]', ...Array.from({ length: 20 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}, *a${i}]`)];
    expect((await failure({ path: await write(lines.join('\n')), env: {} })).code).toBe('invalid_yaml');
  });
});
