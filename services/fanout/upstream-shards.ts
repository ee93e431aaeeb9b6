import type { Clock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { requestJson } from '@dogwatch/upstream/request-json.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';

/** Feature gates change with a restart of kube-apiserver. */
const REMEMBERED_MS = 60_000;
const TIMEOUT_MS = 5_000;
const HALF = "shardRange(object.metadata.uid,'0x0000000000000000','0x8000000000000000')";
const PATH = `/api/v1/namespaces?limit=1&shardSelector=${encodeURIComponent(HALF)}`;

/**
 * Whether upstream itself gives a part where it is asked for one (row G2): with its gate off it passes over a
 * shardSelector and gives everything. Its lists say which it did, so it is asked for one, once a minute at most.
 */
export class UpstreamShards {
  readonly #upstream: Upstream;
  readonly #clock: Clock;
  readonly #log: Log;
  #asked: { readonly at: number; readonly knows: Promise<boolean> } | undefined;

  constructor(deps: { upstream: Upstream; clock: Clock; log: Log }) {
    this.#upstream = deps.upstream;
    this.#clock = deps.clock;
    this.#log = deps.log;
  }

  /** False too where upstream does not say. */
  knows(): Promise<boolean> {
    const now = this.#clock.now();
    if (this.#asked === undefined || now - this.#asked.at >= REMEMBERED_MS) {
      this.#asked = { at: now, knows: this.#ask() };
    }
    return this.#asked.knows;
  }

  async #ask(): Promise<boolean> {
    try {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const { status, body } = await requestJson(this.#upstream, { path: PATH, signal, timeoutMs: TIMEOUT_MS });
      const { metadata } = body as { metadata?: { shardInfo?: unknown } };
      return status === 200 && metadata?.shardInfo !== undefined;
    } catch (error) {
      this.#log.warn({ err: error }, 'could not ask whether upstream knows shards: taken for one that does not');
      this.#asked = undefined;
      return false;
    }
  }
}
