import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { SeedsReport } from '../simulation/seeds-report.ts';
import { type Mutant, ROOT } from './mutant.ts';
import { MUTANT_VARIABLE } from './planted.ts';

/** A bug may keep a run from ever ending, which is a way to be caught, too. */
const TIMEOUT_MS = 300_000;
const STDERR_CHARS_MAX = 2_000;

/** How a planted bug fared. */
export interface Outcome {
  readonly mutant: Mutant;
  /** `broken`: nothing was proved, because it was not planted or the process failed otherwise. */
  readonly result: 'caught' | 'survived' | 'broken';
  /** Seed that failed; undefined where a unit test did. */
  readonly seed?: number;
  /** Seeds it took, that one included. */
  readonly seeds?: number;
  /** What failed, in its own words; of what is broken, why. */
  readonly check: string;
  readonly seconds: number;
}

export interface Budget {
  readonly firstSeed: number;
  readonly seeds: number;
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs what has to catch `mutant` in a process that has that bug. */
export async function runMutant(mutant: Mutant, budget: Budget): Promise<Outcome> {
  const begun = performance.now();
  const found = mutant.by === undefined ? await bySeeds(mutant, budget) : await byUnitTest(mutant, mutant.by);
  return { mutant, ...found, seconds: (performance.now() - begun) / 1_000 };
}

type Found = Omit<Outcome, 'mutant' | 'seconds'>;

async function bySeeds(mutant: Mutant, { firstSeed, seeds }: Budget): Promise<Found> {
  const loader = join(ROOT, 'test/mutations/loader.ts');
  const main = join(ROOT, 'test/simulation/seeds.main.ts');
  const { code, stdout, stderr } = await run(mutant, ['--import', loader, main, String(firstSeed), String(seeds)]);
  if (code === null) return { result: 'caught', check: `a run does not end within ${TIMEOUT_MS / 1_000} s` };
  const line = stdout.trim().split('\n').at(-1) ?? '';
  if (!line.startsWith('{') || code > 1) return { result: 'broken', check: `exit code ${code}: ${stderr}` };
  const { failed, seeds: done } = JSON.parse(line) as SeedsReport;
  if (failed === undefined) return { result: 'survived', check: `${done} seeds passed` };
  return { result: 'caught', seed: failed.seed, seeds: done, check: firstLine(failed.message) };
}

/** As vitest's JSON reporter writes it. */
interface VitestReport {
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

async function byUnitTest(mutant: Mutant, file: string): Promise<Found> {
  const report = join(tmpdir(), `dogwatch-mutant-${mutant.id}-${process.pid}.json`);
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const config = join(ROOT, 'test/mutations/vitest.config.ts');
  try {
    const reporters = ['--reporter=json', `--outputFile.json=${report}`];
    const { code, stderr } = await run(mutant, [vitest, 'run', '--config', config, ...reporters, file]);
    if (code === null) return { result: 'caught', check: `${file} does not end within ${TIMEOUT_MS / 1_000} s` };
    if (code === 0) return { result: 'survived', check: `${file} passed` };
    const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as VitestReport;
    const failed = testResults.flatMap(({ assertionResults }) => assertionResults).find((it) => it.status === 'failed');
    if (failed === undefined) return { result: 'broken', check: `no test of ${file} failed: ${stderr}` };
    return { result: 'caught', check: failed.fullName };
  } finally {
    rmSync(report, { force: true });
  }
}

async function run(mutant: Mutant, args: readonly string[]): Promise<Ended> {
  const child: ChildProcess = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
    cwd: ROOT,
    env: { ...process.env, [MUTANT_VARIABLE]: mutant.id },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  const output = Promise.all([text(child.stdout!), text(child.stderr!)]);
  const [code] = (await once(child, 'exit')) as [number | null];
  const [stdout, stderr] = await output;
  return { code, stdout, stderr: stderr.slice(0, STDERR_CHARS_MAX) };
}

function firstLine(message: string): string {
  return (message.split('\n')[0] ?? '').replace(/^\w*Error(?: \[\w+\])?: /, '');
}
