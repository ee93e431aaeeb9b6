import { execFileSync } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { fileURLToPath } from 'node:url';
import { buildAssets } from '@dogwatch/test/support/assets.ts';
import { ControlPlane } from '@dogwatch/test/support/control-plane.ts';
import { loadTarget, temporaryDirectory } from './cluster.ts';
import { type Comparison, type Machine, memoryPerWatch, reportLines, summarizeCase } from './compare-report.ts';
import {
  type CompareCase,
  type IdleRound,
  measureIdle,
  measureRound,
  type Round,
  type Subject,
} from './compare-round.ts';
import { ConfigMapWriter } from './config-map-writer.ts';
import { DogwatchProcess } from './dogwatch-process.ts';
import { pinToCpu } from './process-usage.ts';

// `make bench`: kube-apiserver and dogwatch in turn on the same events. Prints a table, writes results/compare.json.

const CASES: readonly CompareCase[] = [
  { name: '18 watches per connection', connections: 100, watchesPerConnection: 18, rate: 12 },
  { name: '1 watch per connection', connections: 500, watchesPerConnection: 1, rate: 30 },
];
const IDLE_CONNECTIONS = 200;
const SERVER_CPU = 0;
const OTHERS_CPU = 1;

/** How much is measured within a time. Opening, settling and draining take about five seconds a round. */
interface Plan {
  readonly rounds: number;
  readonly idleRounds: number;
  readonly secondsPerRound: number;
}

const DEFAULT_SECONDS = 400;
const SETUP_SECONDS = 25;
const ROUND_OVERHEAD_SECONDS = 6;
const IDLE_ROUND_SECONDS = 40;

async function main(): Promise<number> {
  const cleanups: (() => Promise<unknown>)[] = [];
  const stopped = new Promise<never>((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.on(signal, () => reject(new Error(`stopped by ${signal}`)));
  });
  try {
    await Promise.race([compare(planFor(process.env['BENCH_SECONDS']), cleanups), stopped]);
    return 0;
  } catch (error) {
    console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  } finally {
    for (const cleanup of cleanups.toReversed())
      await cleanup().catch((error: unknown) => console.error('bench:', error));
  }
}

function planFor(text: string | undefined): Plan {
  const seconds = text === undefined || text === '' ? DEFAULT_SECONDS : Number(text);
  if (!(seconds >= 60)) throw new Error(`BENCH_SECONDS must be 60 or more, not "${text}"`);
  const long = seconds >= 300;
  const rounds = long ? 5 : 3;
  const idleRounds = long ? 3 : 1;
  const measured = rounds * CASES.length * 2;
  const left = seconds - SETUP_SECONDS - idleRounds * IDLE_ROUND_SECONDS - measured * ROUND_OVERHEAD_SECONDS;
  return { rounds, idleRounds, secondsPerRound: Math.min(15, Math.max(3, left / measured)) };
}

async function compare(plan: Plan, cleanups: (() => Promise<unknown>)[]): Promise<void> {
  await buildAssets((line) => console.log(line), ['etcd', 'kube-apiserver']);
  const loadBefore = loadavg()[0] ?? 0;
  const dir = await temporaryDirectory();
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
  const plane = await ControlPlane.start();
  cleanups.push(() => plane.stop());
  const bench = new Bench(plane, dir);
  cleanups.push(() => bench.stop());
  const idleRounds: IdleRound[] = [];
  for (let index = 0; index < plan.idleRounds; index += 1) idleRounds.push(...(await bench.idle()));
  const writer = new ConfigMapWriter(plane.admin, 'bench');
  await writer.prepare();
  const rounds: Round[] = [];
  for (const compareCase of CASES) {
    for (let index = 0; index < plan.rounds; index += 1)
      rounds.push(...(await bench.rounds(compareCase, writer, { index, plan })));
  }
  const comparison: Comparison = {
    machine: machine(loadBefore, bench.pinned),
    cases: CASES.map((compareCase) => summarizeCase(compareCase, rounds)),
    memoryBytesPerWatch: memoryPerWatch(idleRounds),
    rounds,
    idleRounds,
  };
  console.log(`\n${reportLines(comparison).join('\n')}`);
  const results = new URL('./results/', import.meta.url);
  await mkdir(results, { recursive: true });
  const file = fileURLToPath(new URL('compare.json', results));
  await writeFile(file, `${JSON.stringify(comparison, undefined, 2)}\n`);
  console.log(`raw numbers: ${file}`);
}

/** The two servers, and what they are measured with. */
class Bench {
  /** Servers on one CPU, everything else on another; false where taskset or a second CPU is missing. */
  readonly pinned: boolean;
  readonly #plane: ControlPlane;
  readonly #dir: string;
  #dogwatch: DogwatchProcess | undefined;

  constructor(plane: ControlPlane, dir: string) {
    this.#plane = plane;
    this.#dir = dir;
    this.pinned = cpus().length > 1 && pinToCpu(process.pid, OTHERS_CPU);
    this.#pin(plane.pid('etcd'), OTHERS_CPU);
    this.#pin(plane.pid('kube-apiserver'), SERVER_CPU);
  }

  async stop(): Promise<void> {
    await this.#dogwatch?.stop();
    this.#dogwatch = undefined;
  }

  /** Memory per watch, each server freshly started and alone. */
  async idle(): Promise<IdleRound[]> {
    await this.stop();
    await this.#plane.kill9('kube-apiserver');
    await this.#plane.restart('kube-apiserver');
    this.#pin(this.#plane.pid('kube-apiserver'), SERVER_CPU);
    const direct = await measureIdle(this.#apiserver(), IDLE_CONNECTIONS, this.pinned);
    const through = await measureIdle(await this.#startedDogwatch(), IDLE_CONNECTIONS, this.pinned);
    for (const round of [direct, through]) {
      const kilobytes = (round.afterBytes - round.beforeBytes) / round.watches / 1024;
      console.log(`memory: ${round.subject} ${kilobytes.toFixed(1)} KB for each of ${round.watches} idle watches`);
    }
    return [direct, through];
  }

  /** One round of each server; which is first changes from round to round. */
  async rounds(
    compareCase: CompareCase,
    writer: ConfigMapWriter,
    { index, plan }: { index: number; plan: Plan },
  ): Promise<Round[]> {
    const subjects = [this.#apiserver(), await this.#startedDogwatch()];
    const rounds: Round[] = [];
    for (const subject of index % 2 === 0 ? subjects : subjects.toReversed()) {
      const apiserverPid = this.#plane.pid('kube-apiserver');
      const round = await measureRound({
        subject,
        apiserverPid,
        compareCase,
        writer,
        seconds: plan.secondsPerRound,
        pinned: this.pinned,
      });
      rounds.push(round);
      const micros = (round.cpuSeconds / round.deliveries) * 1e6;
      console.log(
        `round ${index + 1}/${plan.rounds}, ${compareCase.name}, ${subject.name}: ${micros.toFixed(1)} µs CPU per delivery, ` +
          `${round.deliveries} deliveries, lag p50 ${round.lagP50Ms.toFixed(1)} p99 ${round.lagP99Ms.toFixed(1)} ms`,
      );
    }
    return rounds;
  }

  #apiserver(): Subject {
    const { endpoint } = this.#plane;
    return {
      name: 'kube-apiserver',
      pid: this.#plane.pid('kube-apiserver'),
      target: { server: endpoint.server, ca: endpoint.ca },
      authorization: `Bearer ${this.#plane.token('admin')}`,
    };
  }

  async #startedDogwatch(): Promise<Subject> {
    if (this.#dogwatch === undefined) {
      this.#dogwatch = await DogwatchProcess.start(await this.#plane.kubeconfig('dogwatch'), this.#dir);
      this.#pin(this.#dogwatch.pid, SERVER_CPU);
    }
    const { target } = await loadTarget(this.#dogwatch.kubeconfig);
    return { name: 'dogwatch', pid: this.#dogwatch.pid, target, authorization: `Bearer ${this.#plane.token('admin')}` };
  }

  #pin(pid: number, cpu: number): void {
    if (this.pinned) pinToCpu(pid, cpu);
  }
}

function machine(loadBefore: number, pinned: boolean): Machine {
  return {
    commit: commit(),
    node: process.version,
    kernel: release(),
    cpus: cpus().length,
    cpuModel: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGb: Math.round(totalmem() / 1024 ** 3),
    loadBefore,
    loadAfter: loadavg()[0] ?? 0,
    pinned,
    date: new Date().toISOString(),
  };
}

/** The commit, marked where the work tree differs from it. */
function commit(): string {
  const git = (...args: string[]) =>
    execFileSync('git', args, {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  try {
    return `${git('rev-parse', '--short=12', 'HEAD')}${git('status', '--porcelain') === '' ? '' : '-dirty'}`;
  } catch {
    return 'unknown';
  }
}

process.exitCode = await main();
process.exit();
