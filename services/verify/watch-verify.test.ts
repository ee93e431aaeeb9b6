import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError, resolveConfig } from '@dogwatch/process/config.ts';
import { afterAll, describe, expect, test } from 'vitest';
import { DifferencesFound } from './verify-error.ts';
import { checkWatchConfig, watchOptions } from './watch-config.ts';
import { WatchFrames } from './watch-frames.ts';
import { spreadInterests } from './watch-interests.ts';
import { serveWatches, type StreamFault, TestHistory } from './watch-test-api.ts';
import { runWatchVerify } from './watch-verify.ts';

const dir = mkdtempSync(join(tmpdir(), 'dogwatch-verify-watch-'));
afterAll(() => rmSync(dir, { recursive: true }));

async function verify(fault?: StreamFault | number): Promise<{ text: string; error: unknown }> {
  const history = new TestHistory();
  const [upstream, dogwatch] = [await serveWatches(history), await serveWatches(history, fault)];
  const kubeconfig = join(mkdtempSync(join(dir, 'run-')), 'kubeconfig');
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      clusters: [{ name: 'c', cluster: { server: upstream.url } }],
      users: [{ name: 'u', user: { token: 't' } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    }),
  );
  const argv = [`--kubeconfig=${kubeconfig}`, `--url=${dogwatch.url}`, '--resource=v1/configmaps', '--duration=1s'];
  const config = checkWatchConfig(resolveConfig(watchOptions, { argv: [...argv, '--watches=12'], env: {} }));
  let text = '';
  const context = {
    env: {},
    signal: new AbortController().signal,
    out: (more: string) => void (text += more),
  };
  const writer = setInterval(() => history.step(), 10);
  try {
    await runWatchVerify(config, context);
    return { text, error: undefined };
  } catch (error) {
    return { text, error };
  } finally {
    clearInterval(writer);
    upstream.close();
    dogwatch.close();
  }
}

describe.concurrent('watches through a dogwatch', () => {
  test('that are told what kube-apiserver tells break nothing, and go on where they were', async () => {
    const { text, error } = await verify();
    expect(error).toBeUndefined();
    expect(text).toMatch(/^violations +0$/m);
    const [, watches, streams, resumed, ...rest] = /^all +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)/m.exec(text) ?? [];
    expect(Number(watches)).toBe(12);
    // Every second one begins at a version.
    expect(Number(resumed)).toBeGreaterThan(6);
    expect(Number(streams)).toBeGreaterThan(Number(resumed));
    expect(Number(rest[2])).toBeGreaterThan(100);
  });

  test('that lack an event are named, with the promise, and the command ends with 3', async () => {
    const { text, error } = await verify((event, n) => (n === 3 ? [] : [event]));
    expect(error).toBeInstanceOf(DifferencesFound);
    expect((error as Error).message).toMatch(/^\d+ violations of what a watch is promised$/);
    expect(text).toMatch(/^BROKEN I4 reliability: \w+ \S+ uid-\d+ @\d+ is missing$/m);
    expect(text).toMatch(/^stream \d+: \/api\/v1\/.*configmaps/m);
    expect(text).not.toMatch(/^violations +0$/m);
  });
});

describe.concurrent('a dogwatch that gives no watch', () => {
  test.each([
    [403, /answered 403 to GET \/api\/v1\/configmaps/],
    [503, /answered no watch: it answered 503/],
  ])('but %i is an error that says so', async (status, message) => {
    const { text, error } = await verify(status);
    expect(text).toBe('');
    expect(error).toMatchObject({ code: 'cannot_read', message: expect.stringMatching(message) as string });
  });
});

describe('options', () => {
  const check = (...argv: string[]) => checkWatchConfig(resolveConfig(watchOptions, { argv, env: {} }));

  test('a resource is GROUP/VERSION/RESOURCE', () => {
    expect(check('--url=https://a', '--resource=apps/v1/deployments').resource).toEqual({
      group: 'apps',
      version: 'v1',
      resource: 'deployments',
    });
    expect(check('--url=https://a', '--resource=v1/pods').resource).toEqual({
      group: '',
      version: 'v1',
      resource: 'pods',
    });
  });

  test.each([
    [['--resource=v1/pods']],
    [['--url=https://a']],
    [['--url=https://a', '--resource=pods']],
    [['--url=https://a', '--resource=v1/pods', '--selector=a in b']],
    [['--url=https://a', '--resource=v1/pods', '--insecure-skip-tls-verify', '--certificate-authority=/f']],
  ])('%j is refused', (argv) => {
    expect(() => check(...argv)).toThrow(ConfigError);
  });
});

describe('frames', () => {
  const frame = (type: string, metadata: object, more: object = {}): Buffer =>
    Buffer.from(JSON.stringify({ type, object: { metadata, ...more } }));

  test('the digest is of the object without its version', () => {
    const frames = new WatchFrames();
    const its = { name: 'x', namespace: 'a', uid: 'u', labels: { k: 'v' } };
    const one = frames.read(frame('ADDED', { ...its, resourceVersion: '5' }, { data: { a: '1' } }));
    const same = frames.read(frame('DELETED', { ...its, resourceVersion: '6' }, { data: { a: '1' } }));
    const other = frames.read(frame('MODIFIED', { ...its, resourceVersion: '6' }, { data: { a: '2' } }));
    expect(one).toMatchObject({ type: 'ADDED', key: 'a/x', uid: 'u', rv: 5, labels: { k: 'v' } });
    expect('state' in one && 'state' in same && one.state === same.state).toBe(true);
    expect('state' in one && 'state' in other && one.state !== other.state).toBe(true);
  });

  test.each([
    '{"type":"ADDED"',
    '{"type":"ADDED","object":{}}',
    '{"type":"FOO","object":{"metadata":{"resourceVersion":"1"}}}',
  ])('%s is an ERROR of code 0', (text) => {
    expect(new WatchFrames().read(Buffer.from(text))).toMatchObject({ type: 'ERROR', code: 0 });
  });
});

describe('a spread of interests', () => {
  const object = { type: 'ADDED', key: 'a/x', uid: 'u', rv: 1, labels: { k: 'v' } } as const;

  test('has each kind in turn, within what every watch has', () => {
    expect(spreadInterests([object], { labelSelector: 's' }, 6).map(({ interest }) => interest)).toEqual([
      { labelSelector: 's' },
      { labelSelector: 's', namespace: 'a' },
      { labelSelector: 's,k=v' },
      { labelSelector: 's,k!=v' },
      { labelSelector: 's,!k' },
      { labelSelector: 's', fieldSelector: 'metadata.name=x' },
    ]);
  });

  test('without objects is everything', () => {
    expect(spreadInterests([], { namespace: 'a' }, 3)).toEqual(
      Array.from({ length: 3 }, () => ({ kind: 'everything', interest: { namespace: 'a' } })),
    );
  });
});
