import { type Compared, Comparisons, type ComparisonsOptions } from './comparisons.ts';
import type { Finding, Findings } from './findings.ts';
import { generate } from './generator.ts';
import { FIRST_LIVE, LiveRounds, type LiveRoundsOptions, ROUND_SIZE } from './live-rounds.ts';
import type { ServedResource } from './resources.ts';
import type { VerifyConfig } from './verify-config.ts';

/** Of the requests, with --write, those that watch objects change. */
const LIVE_SHARE = 0.1;
/** Watches mostly wait; so many times more of them are under way at once. */
const WATCHES_PER_READ = 4;

export interface RunOptions extends ComparisonsOptions, Omit<LiveRoundsOptions, 'resources'> {
  readonly config: VerifyConfig;
  readonly findings: Findings;
  /** Of what --write may make objects. */
  readonly writable: readonly ServedResource[];
  readonly onFinding: (finding: Finding) => void;
  readonly onProgress: (text: string) => void;
}

/** All requests of a run: first those that need the cluster to stand still, then rounds of changes. */
export class Run {
  readonly #options: RunOptions;
  readonly #comparisons: Comparisons;
  readonly #total: number;

  constructor(options: RunOptions) {
    this.#options = options;
    this.#comparisons = new Comparisons(options);
    this.#total = options.config.only === undefined ? options.config.requests : 1;
  }

  /** Resolves when all are made, differences are as many as are wanted, or the signal aborts. Rejects with VerifyError. */
  async all(): Promise<void> {
    const { config, write } = this.#options;
    const { only, requests } = config;
    if (only !== undefined) {
      if (only >= FIRST_LIVE) await this.#live(Math.floor((only - FIRST_LIVE) / ROUND_SIZE), 1, only);
      else await this.#still([only]);
      return;
    }
    const rounds = write ? Math.max(1, Math.floor((requests * LIVE_SHARE) / ROUND_SIZE)) : 0;
    await this.#still(Array.from({ length: Math.max(0, requests - rounds * ROUND_SIZE) }, (_, i) => i));
    await this.#live(0, rounds);
  }

  async #still(numbers: readonly number[]): Promise<void> {
    const { config, seed, population, users, write } = this.#options;
    const world = { population, users, write, version: 1 };
    const streams: number[] = [];
    const reads: number[] = [];
    for (const index of numbers) (generate(seed, index, world).stream ? streams : reads).push(index);
    const work = async (queue: number[]): Promise<void> => {
      while (!this.#over) {
        const index = queue.shift();
        if (index === undefined) return;
        this.#add(await this.#comparisons.run(index));
      }
    };
    await Promise.all([
      ...Array.from({ length: config.concurrency }, () => work(reads)),
      ...Array.from({ length: config.concurrency * WATCHES_PER_READ }, () => work(streams)),
    ]);
  }

  /** Rounds of changes; with `only`, of the requests of a round only that one counts. */
  async #live(first: number, count: number, only?: number): Promise<void> {
    if (count === 0 || this.#over) return;
    const { writable } = this.#options;
    const rounds = new LiveRounds({ ...this.#options, resources: writable });
    await rounds.open();
    try {
      for (let round = first; round < first + count && !this.#over; round++) {
        for (const compared of await rounds.run(round)) {
          if (only === undefined || compared.exchange.request.index === only) this.#add(compared);
        }
      }
    } finally {
      await rounds.close();
    }
  }

  get #over(): boolean {
    const { signal, findings, config } = this.#options;
    return signal.aborted || findings.differences.length >= config.maxDifferences;
  }

  #add(compared: Compared): void {
    const { findings, onFinding, onProgress } = this.#options;
    const finding = findings.add(compared);
    if (finding !== undefined) onFinding(finding);
    onProgress(`\r${findings.requests} of ${this.#total}, ${findings.differences.length} different `);
  }
}
