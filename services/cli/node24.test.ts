import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, test } from 'vitest';

interface Launcher {
  isSupported: (version: string) => boolean;
  findNode: (process: { version: string; execPath: string; platform: string; arch: string }) => {
    binary?: string;
    problem?: string;
  };
}

const LAUNCHER = new URL('node24.js', import.meta.url).href;
const COMMAND = fileURLToPath(new URL('dogwatch.js', import.meta.url));
const { isSupported, findNode } = (await import(LAUNCHER)) as Launcher;

const dir = mkdtempSync(join(tmpdir(), 'dogwatch-launcher-'));
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});
afterAll(() => rmSync(dir, { recursive: true }));

/** A Node of this machine that cannot run dogwatch itself, if it has one. */
const oldNode = (process.env['PATH'] ?? '')
  .split(delimiter)
  .filter((path) => path !== '' && !path.includes('node_modules'))
  .map((path) => join(path, 'node'))
  .find((path) => {
    const { status, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' });
    return status === 0 && !isSupported(stdout.trim());
  });

test.each([
  ['v24.17.0', true],
  ['v24.21.0', true],
  ['24.17.0', true],
  ['v26.3.1', true],
  ['v26.10.0', true],
  ['v27.0.0-nightly20261101', true],
  ['v24.16.9', false],
  ['v26.3.0', false],
  ['v25.9.0', false],
  ['v22.21.0', false],
  ['v20.20.2', false],
  ['v8.0.0', false],
  ['', false],
])('Node %s is new enough: %s', (version, supported) => {
  expect(isSupported(version)).toBe(supported);
});

describe('findNode', () => {
  const old = { version: 'v20.20.2', execPath: '/old/node' };

  test('takes the Node that runs it if that is new enough', () => {
    expect(findNode({ ...old, version: 'v24.17.0', platform: 'sunos', arch: 'x64' })).toEqual({ binary: '/old/node' });
  });

  test('takes the bundled one otherwise', () => {
    const { binary } = findNode({ ...old, platform: process.platform, arch: process.arch });
    expect(binary).toMatch(/node-.*\/bin\/node$/);
    expect(isSupported(execFileSync(binary!, ['--version'], { encoding: 'utf8' }).trim())).toBe(true);
  });

  test('says what to do when there is none', () => {
    expect(findNode({ ...old, platform: 'sunos', arch: 'x64' })).toEqual({
      problem: 'none is bundled for sunos-x64; install it and run this again',
    });
    const [foreign] = ['linux-arm64', 'linux-x64'].filter((name) => name !== `${process.platform}-${process.arch}`);
    const [platform, arch] = foreign!.split('-') as [string, string];
    expect(findNode({ ...old, platform, arch }).problem).toMatch(
      /the bundled one is not installed; run "npm ci"|does not run on this machine/,
    );
  });
});

describe('the command', () => {
  const dogwatch = (node: string, ...argv: string[]) => {
    const { HOME = dir, PATH = '' } = process.env;
    return spawnSync(node, [COMMAND, ...argv], { encoding: 'utf8', env: { HOME, PATH } });
  };

  test('runs in this very process when its Node is new enough', () => {
    const { status, stdout } = dogwatch(process.execPath, 'version');
    expect([status, stdout]).toEqual([0, expect.stringContaining(`(Node ${process.version}, `)]);
  });

  test.skipIf(oldNode === undefined)('runs on the bundled Node when the machine has an old one', () => {
    const { status, stdout, stderr } = dogwatch(oldNode!, 'version');
    expect([status, stderr]).toEqual([0, '']);
    expect(isSupported(/Node (\S+),/.exec(stdout)?.[1] ?? '')).toBe(true);
  });

  test.each([
    [['--help'], 0, /^dogwatch \d/, /^$/],
    [['config', 'view', '--admin-port', '7'], 0, /^admin-port +7 +flag$/m, /^$/],
    [
      ['sidecar', '--bind-addres=1'],
      2,
      /^$/,
      /^dogwatch: unknown flag --bind-addres; did you mean --bind-address\?\n$/,
    ],
    [['serve'], 2, /^$/, /^dogwatch: unknown command "serve"; .*\n$/],
  ])('%j ends with %i', (argv, code, out, err) => {
    const { status, stdout, stderr } = dogwatch(oldNode ?? process.execPath, ...argv);
    expect(status).toBe(code);
    expect(stdout).toMatch(out);
    expect(stderr).toMatch(err);
  });
});

describe('the launcher with options of Node', () => {
  /** Starts the launcher on `node` with a script that prints `ready PID` and then what it hears of. */
  async function launch(script: string, node = oldNode!) {
    const path = join(dir, `script-${children.length}-${Date.now()}.mjs`);
    writeFileSync(
      path,
      `setInterval(() => {}, 1000);\n${script}\nconsole.log('ready', process.pid, ...process.argv.slice(2), typeof gc);`,
    );
    const code = `import { runOnNode24 } from ${JSON.stringify(LAUNCHER)};
      await runOnNode24(${JSON.stringify(path)}, ['one', 'two words'], ['--expose-gc']);`;
    const launcher = spawn(node, ['--input-type=module', '-e', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(launcher);
    const lines = createInterface({ input: launcher.stdout })[Symbol.asyncIterator]();
    const line = async () => (await lines.next()).value;
    const exit = once(launcher, 'exit');
    const [ready, pid, ...rest] = String(await line()).split(' ');
    expect([ready, rest.join(' ')]).toEqual(['ready', 'one two words function']);
    return { launcher, line, exit, pid: Number(pid) };
  }

  test('gives its place to the script where Node can do that', async () => {
    const { launcher, exit, pid } = await launch('', process.execPath);
    expect(pid).toBe(launcher.pid);
    launcher.kill('SIGTERM');
    expect(await exit).toEqual([null, 'SIGTERM']);
  });

  test.skipIf(oldNode === undefined)('hands signals to its child, and the exit code back', async () => {
    const { launcher, exit } = await launch(`process.on('SIGTERM', () => process.exit(7));`);
    launcher.kill('SIGTERM');
    expect(await exit).toEqual([7, null]);
  });

  test.skipIf(oldNode === undefined)('dies of the signal its child died of', async () => {
    const { exit, pid } = await launch('');
    process.kill(pid, 'SIGTERM');
    expect(await exit).toEqual([null, 'SIGTERM']);
  });

  test.skipIf(oldNode === undefined)('is missed by its child when it is killed', async () => {
    const { launcher, line } = await launch(
      `process.once('disconnect', () => { console.log('orphan'); process.exit(); });`,
    );
    launcher.kill('SIGKILL');
    expect(await line()).toBe('orphan');
  });
});
