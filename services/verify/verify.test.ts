import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError, resolveConfig } from '@dogwatch/process/config.ts';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import type { Report } from './report.ts';
import { type Fault, startTestApi, type TestApi } from './test-api.ts';
import { checkVerifyConfig, verifyOptions } from './verify-config.ts';
import { DifferencesFound } from './verify-error.ts';
import { runVerify } from './verify.ts';

const dir = mkdtempSync(join(tmpdir(), 'dogwatch-verify-'));
const servers: TestApi[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});
afterAll(() => rmSync(dir, { recursive: true }));

async function start(fault?: Fault): Promise<TestApi> {
  const server = await startTestApi(fault);
  servers.push(server);
  return server;
}

/** Compares a sound server with one that has a fault. */
async function verify(
  fault: Fault | undefined,
  ...argv: readonly string[]
): Promise<{ report: Report; error: unknown }> {
  const [upstream, dogwatch] = [await start(), await start(fault)];
  const kubeconfig = join(dir, 'kubeconfig');
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      clusters: [{ name: 'c', cluster: { server: upstream.url } }],
      users: [{ name: 'u', user: { token: 't' } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    }),
  );
  const given = [`--kubeconfig=${kubeconfig}`, `--url=${dogwatch.url}`, '-o=json', '--seed=1', ...argv];
  const config = checkVerifyConfig(resolveConfig(verifyOptions, { argv: given, env: {} }));
  let out = '';
  const context = {
    env: {},
    signal: new AbortController().signal,
    out: (text: string) => void (out += text),
    progress: undefined,
  };
  const error = await runVerify(config, context).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (out === '') throw error;
  return { report: JSON.parse(out) as Report, error };
}

describe('two servers', () => {
  test('that answer alike have no difference', async () => {
    const { report, error } = await verify(undefined, '--requests=120');
    expect([error, report.differences]).toEqual([undefined, []]);
    expect(report).toMatchObject({ requests: 120, seed: 1 });
    expect(report.watchesWithEvents).toBeGreaterThan(0);
  });

  test.each<[string, RegExp, Fault]>([
    [
      'a byte of a list',
      /^body$/,
      (path, body) => (path.includes('configmaps') ? body.replace('"two"', '"twx"') : body),
    ],
    ['an event', /^event 0$/, (_, body) => body.replace('ADDED', 'DELETED')],
    ['an event too many', /^event 1$/, (_, body) => (body.includes('ADDED') ? body + body : body)],
    ['a message', /^body$/, (_, body) => body.replace('NotFound', 'Notfound')],
  ])('that differ in %s are told apart, and one number repeats it', async (_, part, fault) => {
    const { report, error } = await verify(fault, '--requests=120', '--max-differences=1');
    expect(error).toBeInstanceOf(DifferencesFound);
    const [difference] = report.differences;
    expect(difference?.part).toMatch(part);
    const again = await verify(fault, `--only=${difference?.only}`);
    expect(again.report.requests).toBe(1);
    expect(again.report.differences).toMatchObject([{ only: difference?.only, part: difference?.part }]);
  });
});

describe('bad input', () => {
  const check = (...argv: readonly string[]): unknown =>
    checkVerifyConfig(resolveConfig(verifyOptions, { argv, env: {} }));

  test.each([
    [[], /--url=URL is missing/],
    [['--url=localhost'], /is not a URL/],
    [['--url=https://a', '--only=3'], /--only=N needs --seed=S/],
    [['--url=https://a', '--insecure-skip-tls-verify', '--certificate-authority=ca.crt'], /contradict/],
  ])('%j', (argv, message) => {
    expect(() => check(...argv)).toThrow(ConfigError);
    expect(() => check(...argv)).toThrow(message);
  });
});
