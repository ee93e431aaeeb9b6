import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RateFleets, RatePopulation } from '@dogwatch/bench/rate-fleets.ts';
import type { RateReport } from '@dogwatch/bench/rate-writer.ts';
import type { ResourceCounts } from '@dogwatch/bench/simulated-counters.ts';
import { Child } from './child.ts';
import { LineReader } from './line-reader.ts';

export type FleetName = keyof RateFleets;

/** What the process is started with. */
export interface RateUpstreamStart {
  readonly population: RatePopulation;
  /** Events of each resource it keeps. */
  readonly window: number;
  /** Where it writes the way to itself. */
  readonly kubeconfig: string;
}

export type RateUpstreamCommand =
  | { readonly do: 'write'; readonly fleet: FleetName; readonly rate: number; readonly limit: number }
  | { readonly do: 'stop' }
  | { readonly do: 'report' }
  | { readonly do: 'versions'; readonly fleet: FleetName };

export interface RateUpstreamReport {
  /** The newest there is. */
  readonly version: number;
  /** By `resource.group`. */
  readonly resources: Readonly<Record<string, ResourceCounts>>;
  readonly writers: Readonly<Partial<Record<FleetName, RateReport>>>;
}

const MAIN = fileURLToPath(new URL('cluster-rate-upstream.main.ts', import.meta.url));
const START_TIMEOUT_MS = 60_000;
/** It answers between two batches of writes, however many of these are due. */
const ANSWER_TIMEOUT_MS = 20_000;

/** The simulated upstream in a process of its own, whose writers begin when they are told to. */
export class RateUpstream {
  readonly kubeconfig: string;
  readonly #child: Child;
  readonly #lines: LineReader;
  /** Answers come in the order of the commands. */
  #asked: Promise<unknown> = Promise.resolve();

  private constructor(child: Child, lines: LineReader, kubeconfig: string) {
    this.#child = child;
    this.#lines = lines;
    this.kubeconfig = kubeconfig;
  }

  /** Resolves once it serves. */
  static async start(dir: string, options: Omit<RateUpstreamStart, 'kubeconfig'>): Promise<RateUpstream> {
    const kubeconfig = join(dir, 'upstream.kubeconfig');
    const child = await Child.start({
      name: 'upstream',
      command: process.execPath,
      args: [MAIN, JSON.stringify({ ...options, kubeconfig } satisfies RateUpstreamStart)],
      logFile: join(dir, 'upstream.log'),
      pipe: true,
    });
    const lines = new LineReader('upstream', child.stdout);
    try {
      await lines.until(/"serving"/, START_TIMEOUT_MS);
    } catch (cause) {
      const tail = child.tail();
      await child.kill9();
      throw new Error(`the simulated upstream did not start\n${tail}`, { cause });
    }
    return new RateUpstream(child, lines, kubeconfig);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Begins to write a fleet at `rate` events a second, and stops by itself after `limit`. */
  async write(fleet: FleetName, rate: number, limit: number): Promise<void> {
    await this.#ask({ do: 'write', fleet, rate, limit });
  }

  async stopWriting(): Promise<void> {
    await this.#ask({ do: 'stop' });
  }

  async report(): Promise<RateUpstreamReport> {
    return (await this.#ask({ do: 'report' })) as RateUpstreamReport;
  }

  /** The version of each object of a fleet, by its index. */
  async versions(fleet: FleetName): Promise<number[]> {
    return (await this.#ask({ do: 'versions', fleet })) as number[];
  }

  async stop(): Promise<void> {
    await this.#child.stop();
  }

  #ask(command: RateUpstreamCommand): Promise<unknown> {
    const answered = this.#asked.then(async () => {
      this.#child.assertAlive();
      this.#child.stdin.write(`${JSON.stringify(command)}\n`);
      return JSON.parse(await this.#lines.next(ANSWER_TIMEOUT_MS)) as unknown;
    });
    this.#asked = answered.catch(() => undefined); // whoever asked is told
    return answered;
  }
}
