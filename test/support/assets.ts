import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { eventually } from './eventually.ts';

const GO_ROOT = fileURLToPath(new URL('../go/', import.meta.url));
const GO_WANTED = { major: 1, minor: 26 };
const BUILD_LOCK_TIMEOUT_MS = 60 * 60_000;
const PROGRESS_MS = 10_000;

type GoModule = 'controller' | 'etcd' | 'helm' | 'kine' | 'kubernetes' | 'nats';

/** What pins the version of a module's programs in its go.mod. */
const PINS: Record<GoModule, string> = {
  controller: 'sigs.k8s.io/controller-runtime',
  etcd: 'go.etcd.io/etcd/server/v3',
  helm: 'helm.sh/helm/v4',
  kine: 'github.com/k3s-io/kine',
  kubernetes: 'k8s.io/kubernetes',
  nats: 'github.com/nats-io/nats-server/v2',
};

/** A program that is built from source, and where its source is. */
interface Program {
  readonly module: GoModule;
  readonly package: string;
  /** True: the package is in this repository. False: it is pinned by the module's go.mod. */
  readonly ours: boolean;
  /** True: `go test -c`. */
  readonly test?: boolean;
}

const PROGRAMS = {
  etcd: { module: 'etcd', package: PINS.etcd, ours: false },
  kine: { module: 'kine', package: PINS.kine, ours: false },
  'nats-server': { module: 'nats', package: PINS.nats, ours: false },
  'kube-apiserver': kubernetes('cmd/kube-apiserver'),
  kubectl: kubernetes('cmd/kubectl'),
  informers: { module: 'kubernetes', package: './cmd/informers', ours: true },
  'storage-cases': { module: 'kubernetes', package: './cmd/storage-cases', ours: true, test: true },
  'kubelet-api': { module: 'kubernetes', package: './cmd/kubelet-api', ours: true },
  'kube-controller-manager': kubernetes('cmd/kube-controller-manager'),
  'kube-scheduler': kubernetes('cmd/kube-scheduler'),
  kubemark: kubernetes('cmd/kubemark'),
  'widget-controller': { module: 'controller', package: '.', ours: true },
  'e2e.test': { ...kubernetes('test/e2e'), test: true },
  helm: { module: 'helm', package: `${PINS.helm}/cmd/helm`, ours: false },
} as const satisfies Record<string, Program>;

function kubernetes(path: string): Program {
  return { module: 'kubernetes', package: `k8s.io/kubernetes/${path}`, ours: false };
}

export type AssetName = keyof typeof PROGRAMS;

/** What startControlPlane needs at the least; the names are envtest's. */
const CONTROL_PLANE: readonly AssetName[] = ['etcd', 'kube-apiserver', 'kubectl'];
export const ALL_ASSETS = Object.keys(PROGRAMS) as AssetName[];

/** The programs are not there and cannot be made; the message says what to do. */
export class AssetError extends Error {
  readonly code = 'ASSET';
}

/** Path of a program. Throws AssetError if it is not built. */
export function assetPath(name: AssetName): string {
  const path = readyPath(name);
  if (path === undefined) throw new AssetError(`${name} is not built: run "make assets"`);
  return path;
}

/** True if the programs can be started right now. */
export function assetsReady(names: readonly AssetName[] = CONTROL_PLANE): boolean {
  return names.every((name) => readyPath(name) !== undefined);
}

/**
 * Builds what is missing or outdated, one program at a time (go uses all cores by itself), and never twice: a program
 * appears under its name only when complete, and a second run waits for the first.
 */
export async function buildAssets(
  progress: (line: string) => void,
  names: readonly AssetName[] = ALL_ASSETS,
): Promise<void> {
  if (assetsReady(names)) return;
  await checkGo();
  await mkdir(cacheDirectory(), { recursive: true });
  const unlock = await lock(progress);
  try {
    const missing = names.filter((name) => readyPath(name) === undefined);
    for (const [index, name] of missing.entries()) {
      await build(name, (line) => progress(`assets ${index + 1}/${missing.length}: ${line}`));
    }
  } finally {
    unlock();
  }
}

/** `${XDG_CACHE_HOME:-~/.cache}/dogwatch/assets/VERSION`, the version being kube-apiserver's. */
function cacheDirectory(): string {
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  return join(cache, 'dogwatch', 'assets', pinnedVersion('kubernetes'));
}

function readyPath(name: AssetName): string | undefined {
  const provided = process.env['KUBEBUILDER_ASSETS'];
  if (provided !== undefined && CONTROL_PLANE.includes(name) && existsSync(join(provided, name)))
    return join(provided, name);
  const path = join(cacheDirectory(), name);
  return existsSync(path) && stampOf(path) === wantedStamp(name) ? path : undefined;
}

function stampOf(path: string): string | undefined {
  return existsSync(`${path}.stamp`) ? readFileSync(`${path}.stamp`, 'utf8').trim() : undefined;
}

/** What a program is made of: a pinned version, or the hash of our sources and their pins. */
function wantedStamp(name: AssetName): string {
  const program: Program = PROGRAMS[name];
  if (!program.ours) return pinnedVersion(program.module);
  const directory = join(GO_ROOT, program.module, program.package);
  const hash = createHash('sha256');
  for (const file of readdirSync(directory).toSorted()) hash.update(file).update(readFileSync(join(directory, file)));
  return hash.update(pinnedVersion(program.module)).digest('hex');
}

/** The version of a module's programs in its go.mod. */
function pinnedVersion(module: GoModule): string {
  const path = PINS[module];
  const text = readFileSync(join(GO_ROOT, module, 'go.mod'), 'utf8');
  const version = new RegExp(`^(?:require|\\s)\\s*${path} (v\\S+)`, 'm').exec(text)?.[1];
  if (version === undefined) throw new AssetError(`test/go/${module}/go.mod does not pin ${path}`);
  return version;
}

/** Without these a server calls itself v0.0.0-master, and some of upstream's suites refuse it. */
function linkerFlags(module: GoModule): string {
  if (module !== 'kubernetes') return '-s -w';
  const version = pinnedVersion('kubernetes');
  const [major = '', minor = ''] = version.slice(1).split('.');
  const settings = { gitVersion: version, gitMajor: major, gitMinor: minor };
  return [
    '-s -w',
    ...Object.entries(settings).map(([key, value]) => `-X k8s.io/component-base/version.${key}=${value}`),
  ].join(' ');
}

async function build(name: AssetName, progress: (line: string) => void): Promise<void> {
  const program: Program = PROGRAMS[name];
  const path = join(cacheDirectory(), name);
  const partial = `${path}.partial`;
  const command = program.test === true ? ['test', '-c'] : ['build'];
  const start = performance.now();
  const elapsed = (): string => `${Math.round((performance.now() - start) / 1_000)} s`;
  progress(`building ${name} ${pinnedVersion(program.module)} ...`);
  const timer = setInterval(() => progress(`building ${name} ... ${elapsed()}`), PROGRESS_MS);
  try {
    await go(
      [...command, '-trimpath', '-ldflags', linkerFlags(program.module), '-o', partial, program.package],
      program.module,
    );
    await rm(`${path}.stamp`, { force: true });
    await rename(partial, path);
    await writeFile(`${path}.stamp`, `${wantedStamp(name)}\n`);
  } finally {
    clearInterval(timer);
  }
  progress(`built ${name} in ${elapsed()}`);
}

function go(args: readonly string[], module: GoModule): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('go', args, { cwd: join(GO_ROOT, module), stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-4_000)));
    child.on('error', (cause) => reject(new AssetError('cannot run go', { cause })));
    child.on('close', (code) => {
      if (code === 0) resolve();
      else reject(new AssetError(`go ${args[0]} failed with code ${code} in test/go/${module}:\n${stderr}`));
    });
  });
}

async function checkGo(): Promise<void> {
  const wanted = `Go ${GO_WANTED.major}.${GO_WANTED.minor} or newer`;
  let version: string;
  try {
    // Run where go.mod is: a Go that can fetch the toolchain it names says so here.
    const { stdout } = await promisify(execFile)('go', ['env', 'GOVERSION'], { cwd: join(GO_ROOT, 'kubernetes') });
    version = stdout.trim();
  } catch (cause) {
    throw new AssetError(
      `building kube-apiserver and the other real components needs ${wanted}: install it from https://go.dev/dl`,
      { cause },
    );
  }
  const [major = 0, minor = 0] = version.replace(/^go/, '').split('.').map(Number);
  if (major < GO_WANTED.major || (major === GO_WANTED.major && minor < GO_WANTED.minor)) {
    throw new AssetError(
      `this machine has ${version}; the real components need ${wanted}: install it from https://go.dev/dl`,
    );
  }
}

/**
 * One builder at a time, by a file that holds its pid. It only saves work: two builders would each rename a complete
 * program into place.
 */
async function lock(progress: (line: string) => void): Promise<() => void> {
  const path = join(cacheDirectory(), '.lock');
  let announced = false;
  await eventually({ what: `the build lock ${path}`, timeoutMs: BUILD_LOCK_TIMEOUT_MS, everyMs: 500 }, async () => {
    try {
      const file = await open(path, 'wx');
      await file.writeFile(String(process.pid));
      await file.close();
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = Number(await readFile(path, 'utf8').catch(() => ''));
    if (holder > 0 && !isAlive(holder)) await rm(path, { force: true });
    else if (!announced) progress(`assets: waiting for the build of process ${holder}`);
    announced = true;
    return false;
  });
  return () => rmSync(path, { force: true });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
