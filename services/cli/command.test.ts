import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fanoutOptions } from '@dogwatch/cluster/fanout-config.ts';
import { ingestOptions } from '@dogwatch/cluster/ingest-config.ts';
import { localOptions } from '@dogwatch/cluster/local-config.ts';
import { shardOptions } from '@dogwatch/cluster/shard-config.ts';
import { statusOptions } from '@dogwatch/cluster/status-config.ts';
import { version } from '@dogwatch/process/version.ts';
import { sidecarOptions } from '@dogwatch/sidecar/config.ts';
import { verifyOptions } from '@dogwatch/verify/verify-config.ts';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { runCommand } from './command.ts';

const runSidecar = vi.hoisted(() => vi.fn<(config: unknown, signal: AbortSignal) => Promise<void>>());
vi.mock('@dogwatch/sidecar/sidecar.ts', () => ({ runSidecar }));

const dir = mkdtempSync(join(tmpdir(), 'dogwatch-cli-'));
afterAll(() => rmSync(dir, { recursive: true }));

async function run(argv: string[], env: Record<string, string> = { HOME: dir }) {
  let out = '';
  let err = '';
  const exitCode = await runCommand(argv, {
    env,
    out: (text) => void (out += text),
    err: (text) => void (err += text),
  });
  return { exitCode, out, err };
}

describe('help', () => {
  test.each([[[]], [['help']], [['--help']], [['-h']]])('%j lists the commands', async (argv) => {
    const { exitCode, out, err } = await run(argv);
    expect([exitCode, err]).toEqual([0, '']);
    expect(out).toMatch(/^dogwatch \d[^]*Usage: dogwatch COMMAND/);
    const listed = [...out.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name);
    expect(listed).toEqual([
      'sidecar',
      'ingest',
      'shard',
      'fanout',
      'cluster',
      'status',
      'verify',
      'config',
      'version',
      'help',
    ]);
  });

  test('of a verb of a command shows its own', async () => {
    const { exitCode, out } = await run(['verify', 'watch', '--help']);
    expect(exitCode).toBe(0);
    expect(out).toMatch(/^Usage: dogwatch verify watch /);
    expect(out).toMatch(/^  --resource GROUP/m);
  });

  test.each([[['help', 'sidecar']], [['sidecar', '--help']], [['sidecar', '--secure-port=1', '-h']]])(
    '%j lists every option',
    async (argv) => {
      const { exitCode, out } = await run(argv);
      expect(exitCode).toBe(0);
      for (const name of Object.keys(sidecarOptions)) expect(out).toMatch(new RegExp(`^  --?${name}\\b`, 'm'));
      expect(runSidecar).not.toHaveBeenCalled();
    },
  );

  test.each([
    [['help', 'ingest'], ingestOptions],
    [['help', 'shard'], shardOptions],
    [['fanout', '--help'], fanoutOptions],
    [['cluster', 'up', '--help'], localOptions],
    [['help', 'status'], statusOptions],
    [['help', 'verify'], verifyOptions],
  ])('%j lists every option', async (argv, table) => {
    const { exitCode, out } = await run(argv);
    expect(exitCode).toBe(0);
    const listed = [...out.matchAll(/^ {2}--?([\w-]+)/gm)].map(([, name]) => name);
    expect(listed).toEqual(Object.keys(table));
    expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(110);
  });

  test('the summary of every command is next to its name', async () => {
    expect((await run(['help', 'config'])).out).toContain('Usage: dogwatch config view');
  });
});

test.each([[['version']], [['--version']]])('%j tells the version', async (argv) => {
  const { exitCode, out } = await run(argv);
  expect([exitCode, out.split(' ').slice(0, 2)]).toEqual([0, ['dogwatch', version]]);
});

describe('bad input is one line on standard error and exit code 2', () => {
  test.each([
    [['sidecr'], 'unknown command "sidecr"; did you mean "dogwatch sidecar"?'],
    [['frobnicate'], 'unknown command "frobnicate"; see "dogwatch help"'],
    [['toString'], 'unknown command "toString"; see "dogwatch help"'],
    [['--secure-port=1'], 'unknown command "--secure-port=1"; see "dogwatch help"'],
    [['help', 'nothing'], 'unknown command "nothing"; see "dogwatch help"'],
    [['version', 'now'], 'unexpected argument "now" after "dogwatch version"'],
    [['config'], 'unknown config command; use "dogwatch config view"'],
    [['config', 'view', '--nope'], 'unknown flag --nope; see --help for the known ones'],
    [['config', 'view', 'sidecr'], 'no options of "sidecr" to view; use one of sidecar, ingest, shard, fanout'],
    [['ingest'], '--nats-servers=HOST:PORT,... is missing; DOGWATCH_NATS_SERVERS can say it as well'],
    [['status'], '--nats-servers=HOST:PORT,... is missing; DOGWATCH_NATS_SERVERS can say it as well'],
    [['status', '-o=xml', '--nats-servers=a:1'], '-o: "xml" is not one of table, json'],
    [['cluster'], 'unknown cluster command; use "dogwatch cluster up --local"'],
    [['cluster', 'down'], 'unknown cluster command; use "dogwatch cluster up --local"'],
    [['cluster', 'up'], '"dogwatch cluster up" needs --local; on Kubernetes, install the chart in helm/dogwatch'],
    [
      ['cluster', 'up', '--local', `--nats-server-bin=${dir}/nats-server`],
      `--nats-server-bin: cannot read ${dir}/nats-server: no such file`,
    ],
    [['sidecar', '--secure-prt=1'], 'unknown flag --secure-prt; did you mean --secure-port?'],
    [['sidecar', '--tls-cert-file=a'], '--tls-cert-file and --tls-private-key-file go together; give the key too'],
    [['sidecar', `--client-ca-file=${dir}/no.crt`], `--client-ca-file: cannot read ${dir}/no.crt: no such file`],
  ])('%j', async (argv, message) => {
    expect(await run(argv)).toEqual({ exitCode: 2, out: '', err: `dogwatch: ${message}\n` });
    expect(runSidecar).not.toHaveBeenCalled();
  });
});

test('config view shows the value and the source of every option', async () => {
  const path = join(dir, 'dw.json');
  writeFileSync(path, '{"max-lanes": 7}');
  const env = { HOME: dir, DOGWATCH_SECURE_PORT: '7443', DOGWATCH_CONFIG: path };
  const { exitCode, out } = await run(['config', 'view', '-v'], env);
  expect(exitCode).toBe(0);
  const rows = out
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/));
  expect(rows.map(([name]) => name)).toEqual(['OPTION', ...Object.keys(sidecarOptions)]);
  expect(rows).toEqual(
    expect.arrayContaining([
      ['secure-port', '7443', 'env DOGWATCH_SECURE_PORT'],
      ['max-lanes', '7', `file ${path}`],
      ['v', '4', 'flag'],
      ['bind-address', '0.0.0.0', 'default'],
    ]),
  );
});

test.each([
  ['ingest', ingestOptions],
  ['shard', shardOptions],
  ['fanout', fanoutOptions],
])('config view %s shows its options, required or not', async (name, table) => {
  const { exitCode, out } = await run(['config', 'view', name, '--nats-prefix=mine'], { HOME: dir });
  expect(exitCode).toBe(0);
  const rows = out.trimEnd().split('\n');
  expect(rows.map((row) => row.split(' ')[0])).toEqual(['OPTION', ...Object.keys(table)]);
  expect(rows).toEqual(expect.arrayContaining([expect.stringMatching(/^nats-prefix +mine +flag$/)]));
});

test('the environment may be shared by all commands', async () => {
  const env = { HOME: dir, DOGWATCH_NATS_SERVERS: 'nats:4222', DOGWATCH_DATA_DIR: '/data', DOGWATCH_O: 'json' };
  expect(await run(['config', 'view'], env)).toMatchObject({ exitCode: 0, err: '' });
  expect(await run(['config', 'view'], { ...env, DOGWATCH_DATADIR: '/data' })).toMatchObject({ exitCode: 2 });
});

describe('sidecar', () => {
  const before = {
    SIGINT: process.listeners('SIGINT'),
    SIGTERM: process.listeners('SIGTERM'),
    disconnect: process.listeners('disconnect'),
  };
  beforeEach(() => void runSidecar.mockReset());
  afterEach(() => {
    for (const [event, kept] of Object.entries(before)) {
      for (const listener of process.listeners(event as 'SIGINT')) {
        if (!(kept as unknown[]).includes(listener)) process.off(event, listener);
      }
    }
  });

  test('runs with the resolved configuration and a signal, and ends with 0', async () => {
    expect(await run(['sidecar', '--secure-port=0', '--window-bytes=1Mi'])).toEqual({ exitCode: 0, out: '', err: '' });
    expect(runSidecar).toHaveBeenCalledWith(
      expect.objectContaining({
        securePort: 0,
        windowBytes: 2 ** 20,
        certDir: join(dir, '.local/state/dogwatch/certs'),
      }),
      expect.any(AbortSignal),
    );
  });

  test('ends with 1 and one line when it fails, and shows the stack from verbosity 4 on', async () => {
    runSidecar.mockImplementation(() =>
      Promise.reject(Object.assign(new Error('upstream is down'), { code: 'Unreachable' })),
    );
    expect(await run(['sidecar'])).toEqual({ exitCode: 1, out: '', err: 'dogwatch: upstream is down\n' });
    expect((await run(['sidecar', '-v=3'])).err).toBe('dogwatch: upstream is down\n');
    expect((await run(['sidecar', '-v'])).err).toMatch(/^dogwatch: Error: upstream is down\n {4}at /);
  });
});
