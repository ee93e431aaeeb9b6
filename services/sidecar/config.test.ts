import { resolveConfig } from '@dogwatch/process/config.ts';
import { describe, expect, test } from 'vitest';
import { checkSidecarConfig, sidecarOptions } from './config.ts';

const check = (argv: string[], env: Record<string, string> = { HOME: '/home/a' }) =>
  checkSidecarConfig(resolveConfig(sidecarOptions, { argv, env }));

test('the defaults go together and are those of kube-apiserver where it has them', () => {
  expect(check([])).toMatchObject({
    kubeconfig: undefined,
    bindAddress: '0.0.0.0',
    securePort: 6443,
    adminAddress: '127.0.0.1',
    adminPort: 6480,
    certDir: '/home/a/.local/state/dogwatch/certs',
    windowBytes: 64 * 1024 * 1024,
    laneIdleTimeout: 600_000,
    bookmarkInterval: 60_000,
    reviewCacheTtl: 10_000,
    reauthorizeInterval: 300_000,
    upstreamTimeout: 30_000,
    logFormat: 'auto',
    v: 2,
  });
});

test.each([
  [{ HOME: '/home/a', XDG_STATE_HOME: '/state' }, '/state/dogwatch/certs'],
  [{ HOME: '/home/a', XDG_STATE_HOME: '' }, '/home/a/.local/state/dogwatch/certs'],
])('with %j certificates are kept in %s', (env, certDir) => {
  expect(check([], env).certDir).toBe(certDir);
});

describe('what contradicts itself is refused', () => {
  test.each([
    [['--tls-cert-file=a'], '--tls-cert-file and --tls-private-key-file go together; give the key too'],
    [['--tls-private-key-file=a'], '--tls-cert-file and --tls-private-key-file go together; give the certificate too'],
    [
      ['--tls-cert-file=a', '--tls-private-key-file=b', '--cert-dir=c'],
      /^--cert-dir is for the certificate dogwatch makes/,
    ],
    [
      ['--tls-cert-file=a', '--tls-private-key-file=b', '--tls-san=c'],
      /^--tls-san is for the certificate dogwatch makes/,
    ],
    [['--secure-port=6480'], '--secure-port and --admin-port are both 6480; choose another for one of them'],
  ])('%j', (argv, message) => {
    expect(() => check(argv)).toThrow(
      expect.objectContaining({
        code: 'ConflictingOptions',
        message: expect.stringMatching(message) as string,
      }) as Error,
    );
  });

  test('own certificate alone, made certificate with a directory, and two free ports are fine', () => {
    expect(check(['--tls-cert-file=a', '--tls-private-key-file=b']).tlsCertFile).toBe('a');
    expect(check(['--cert-dir=c', '--tls-san=d']).tlsSan).toEqual(['d']);
    expect(check(['--secure-port=0', '--admin-port=0']).securePort).toBe(0);
  });
});
