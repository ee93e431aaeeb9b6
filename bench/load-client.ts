import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { LagHistogram } from './lag-histogram.ts';
import type { LoadConnectionPlan, LoadTarget } from './load-connection.ts';
import { emptyCounts, type LoadCounts } from './load-stream.ts';
import { pinToCpu } from './process-usage.ts';

export interface LoadPlan {
  readonly target: LoadTarget;
  readonly connections: readonly LoadConnectionPlan[];
  /** Worker processes; a worker holds about 20,000 streams. Default 1. */
  readonly processes?: number;
  /** New connections per second and worker. Default 200. */
  readonly rampPerSecond?: number;
  /** A CPU for the workers, where taskset is there to pin them. */
  readonly cpu?: number;
}

export type ToWorker =
  | {
      readonly type: 'open';
      readonly target: LoadTarget;
      readonly connections: readonly LoadConnectionPlan[];
      readonly rampPerSecond: number;
    }
  | { readonly type: 'report'; readonly id: number; readonly reset: boolean; readonly streams: boolean };

/** One worker's answer to `report`; `streams` holds [live events, sum of versions] of each stream, in the plan's order. */
export interface WorkerReport {
  readonly id: number;
  readonly counts: LoadCounts;
  readonly lag: readonly number[];
  readonly streams: readonly (readonly [number, number])[];
  readonly cpuSeconds: number;
}

/** All workers together. Counts are since the last reset; `open` and `ready` are states. */
export interface LoadReport {
  readonly counts: LoadCounts;
  readonly lag: LagHistogram;
  /** [live events, sum of their versions] per stream. */
  readonly streams: readonly (readonly [number, number])[];
  /** The clients' own CPU since they started. */
  readonly cpuSeconds: number;
}

/** A load worker ended, or did not answer. */
export class LoadClientError extends Error {
  readonly code = 'LOAD_CLIENT';
}

const WORKER = fileURLToPath(new URL('./load-worker.main.ts', import.meta.url));
const ANSWER_MS = 20_000;

/** Many watches from processes of their own. Always `stop` it. */
export class LoadClient {
  readonly total: number;
  readonly #workers: ChildProcess[] = [];
  readonly #waiting = new Map<number, (report: WorkerReport | Error) => void>();
  #ids = 0;
  #failure: LoadClientError | undefined;

  private constructor(plan: LoadPlan) {
    this.total = plan.connections.reduce((sum, { paths }) => sum + paths.length, 0);
  }

  /** Starts the workers, which begin to open connections at once. */
  static start(plan: LoadPlan): LoadClient {
    const client = new LoadClient(plan);
    const { processes = 1, rampPerSecond = 200, target, connections } = plan;
    const share = Math.ceil(connections.length / processes);
    for (let index = 0; index < processes; index += 1) {
      const part = connections.slice(index * share, (index + 1) * share);
      if (part.length > 0) client.#fork({ type: 'open', target, connections: part, rampPerSecond }, plan.cpu);
    }
    return client;
  }

  /** What was counted; `reset` starts the counts anew, `streams` asks for each stream's own. Rejects with LoadClientError. */
  async report({ reset = false, streams = false } = {}): Promise<LoadReport> {
    const reports = await Promise.all(this.#workers.map((worker) => this.#ask(worker, { reset, streams })));
    const counts = emptyCounts();
    const lag = new LagHistogram();
    for (const report of reports) {
      addCounts(counts, report.counts);
      lag.add(new LagHistogram(report.lag));
    }
    return {
      counts,
      lag,
      streams: reports.flatMap((report) => report.streams),
      cpuSeconds: reports.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
    };
  }

  /** Resolves when every stream has had its initial events. Rejects with LoadClientError after `timeoutMs`. */
  async ready(timeoutMs: number): Promise<void> {
    const until = performance.now() + timeoutMs;
    for (;;) {
      const { counts } = await this.report();
      if (counts.ready === this.total && counts.open === this.total) return;
      if (performance.now() > until) {
        const errors = Object.entries(counts.errors).map(([code, count]) => `${count} × ${code}`);
        const why = errors.length === 0 ? 'no errors' : errors.join(', ');
        throw new LoadClientError(
          `${counts.ready} of ${this.total} watches are ready after ${timeoutMs / 1000} s (${why})`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Ends the workers and their connections. */
  async stop(): Promise<void> {
    await Promise.all(
      this.#workers.map(
        (worker) =>
          new Promise<void>((resolve) => {
            if (worker.exitCode !== null || worker.signalCode !== null) resolve();
            else {
              worker.removeAllListeners('exit');
              worker.once('exit', () => resolve());
              worker.kill('SIGTERM');
            }
          }),
      ),
    );
  }

  #fork(open: ToWorker, cpu: number | undefined): void {
    const worker = fork(WORKER, { execPath: process.execPath, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    if (cpu !== undefined && worker.pid !== undefined) pinToCpu(worker.pid, cpu);
    worker.on('message', (report: WorkerReport) => this.#settle(report.id, report));
    worker.on('exit', (code, signal) => {
      this.#failure = new LoadClientError(`a load worker ended (${signal ?? `code ${code}`})`);
      for (const id of this.#waiting.keys()) this.#settle(id, this.#failure);
    });
    worker.send(open);
    this.#workers.push(worker);
  }

  #ask(worker: ChildProcess, wanted: { reset: boolean; streams: boolean }): Promise<WorkerReport> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    this.#ids += 1;
    const id = this.#ids;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => this.#settle(id, new LoadClientError(`a load worker did not answer within ${ANSWER_MS / 1000} s`)),
        ANSWER_MS,
      );
      this.#waiting.set(id, (report) => {
        clearTimeout(timer);
        if (report instanceof Error) reject(report);
        else resolve(report);
      });
      worker.send({ type: 'report', id, ...wanted } satisfies ToWorker);
    });
  }

  #settle(id: number, report: WorkerReport | Error): void {
    this.#waiting.get(id)?.(report);
    this.#waiting.delete(id);
  }
}

function addCounts(sum: LoadCounts, counts: LoadCounts): void {
  const { errors, ...numbers } = counts;
  for (const key of Object.keys(numbers) as (keyof typeof numbers)[]) sum[key] += numbers[key];
  for (const [code, count] of Object.entries(errors)) sum.errors[code] = (sum.errors[code] ?? 0) + count;
}
