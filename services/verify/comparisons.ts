import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import { header } from './answer.ts';
import type { ClusterVersion } from './cluster-version.ts';
import { compare, type Comparison } from './compare.ts';
import { type Exchange, exchange } from './exchange.ts';
import { generate } from './generator.ts';
import type { Population } from './population.ts';
import { TOKEN_PLACE, type VerifyRequest, type World } from './request.ts';
import type { ServerSide } from './sides.ts';

/** How often a request is sent again because the cluster changed meanwhile, or a side asked to come again. */
const MAX_REPEATS = 8;
const MAX_RETRIES = 5;
const MAX_RETRY_AFTER_S = 10;
/** For a change that was just made to reach every cache. */
const SETTLE_MS = 200;

export interface Compared {
  readonly exchange: Exchange;
  readonly comparison: Comparison;
  /** Sent again because the cluster changed. */
  readonly repeats: number;
  /** Sent again because a side answered 429 or 503 with Retry-After. */
  readonly retries: number;
  /** The cluster changed each time: a difference may be that change. */
  readonly restless: boolean;
}

export interface ComparisonsOptions {
  readonly upstream: ServerSide;
  readonly dogwatch: ServerSide;
  readonly clusterVersion: ClusterVersion;
  readonly population: Population;
  readonly users: readonly string[];
  readonly write: boolean;
  /** Upstream honours shardSelector. */
  readonly sharded: boolean;
  readonly seed: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Makes the request of a number, sends it to both sides while the cluster stands still, and compares the answers. */
export class Comparisons {
  readonly #options: ComparisonsOptions;

  constructor(options: ComparisonsOptions) {
    this.#options = options;
  }

  /** Rejects with VerifyError if the cluster's version cannot be read. */
  async run(index: number): Promise<Compared> {
    const { clusterVersion, sharded, clock, signal } = this.#options;
    let repeats = 0;
    let retries = 0;
    for (;;) {
      const before = await clusterVersion.read();
      const request = await this.#withToken(generate(this.#options.seed, index, this.#world(before)));
      const found = await exchange(request, this.#options);
      const after = await clusterVersion.read();
      const comparison = compare(found, { version: after, sharded });
      const result = { exchange: found, comparison, repeats, retries, restless: false };
      if (comparison.difference === undefined || signal.aborted) return result;
      const wait = retryAfter(found);
      if (wait !== undefined && retries < MAX_RETRIES) {
        retries++;
        await sleep(clock, wait * 1_000, signal);
        continue;
      }
      if (before === after) return result;
      if (repeats >= MAX_REPEATS) return { ...result, restless: true };
      repeats++;
      await sleep(clock, SETTLE_MS, signal);
    }
  }

  #world(version: number): World {
    const { population, users, write } = this.#options;
    return { population, users, write, version };
  }

  /** The request with the token of its first page in it, if that has one. */
  async #withToken(request: VerifyRequest): Promise<VerifyRequest> {
    const { firstPage } = request;
    if (firstPage === undefined) return request;
    const first: VerifyRequest = {
      ...request,
      path: firstPage.path,
      headers: { accept: 'application/json' },
      protocol: 'h2',
    };
    const answered = await exchange(first, this.#options);
    const { body } = answered[firstPage.side];
    const token = /"continue":\s*"([\w-]+)"/.exec(body.toString('latin1'))?.[1] ?? '';
    return { ...request, path: request.path.replace(TOKEN_PLACE, token) };
  }
}

/** Seconds, if either side wants to be asked again later. */
function retryAfter({ upstream, dogwatch }: Exchange): number | undefined {
  for (const answer of [upstream, dogwatch]) {
    const seconds = Number(header(answer, 'retry-after'));
    if ([429, 503].includes(answer.status) && seconds > 0) return Math.min(seconds, MAX_RETRY_AFTER_S);
  }
  return undefined;
}
