import type { Lane } from '@dogwatch/kube/lane.ts';
import { scanObject } from '@dogwatch/kube/object-scanner.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { StatusError } from '@dogwatch/kube/status.ts';
import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { Backoff } from './backoff.ts';
import { readWatch } from './upstream-watch.ts';

const DEFINITIONS: Lane = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  resource: 'customresourcedefinitions',
  encoding: 'json',
  view: 'metadata',
};
const WATCH_SECONDS = '1800';
/** Without the right to watch them, what became of a definition is found out when upstream ends the lane's watch. */
const REFUSED_MS = 60_000;

export interface DefinitionsOptions {
  readonly upstream: Upstream;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
}

type Listener = (rv: ResourceVersion) => void;

/**
 * Tells when CustomResourceDefinitions change, from one watch of the metadata of all of them, which is open while
 * anybody follows one. Nothing is kept of what is read.
 */
export class Definitions {
  readonly #options: DefinitionsOptions;
  readonly #backoff: Backoff;
  readonly #followed = new Map<string, Set<Listener>>();
  #reading: AbortController | undefined;

  constructor(options: DefinitionsOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.random);
  }

  /**
   * Calls `onVersion` with each version the definition `name` is heard to have, the present one among them, and again
   * whenever the watch begins anew; not where it is deleted. Returns how to stop.
   */
  follow(name: string, onVersion: Listener): () => void {
    const listeners = this.#followed.get(name) ?? new Set();
    this.#followed.set(name, listeners.add(onVersion));
    if (this.#reading === undefined) {
      this.#reading = new AbortController();
      void this.#read(this.#reading.signal);
    }
    return () => {
      listeners.delete(onVersion);
      if (listeners.size === 0 && this.#followed.get(name) === listeners) this.#followed.delete(name);
      if (this.#followed.size > 0) return;
      this.#reading?.abort();
      this.#reading = undefined;
    };
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    while (!signal.aborted) {
      let delay = 0;
      try {
        await this.#watch(signal);
      } catch (error) {
        if (signal.aborted) return;
        const refused = error instanceof StatusError && (error.status.code === 403 || error.status.code === 404);
        delay = refused ? REFUSED_MS : 0;
        log.warn({ err: error }, 'cannot watch the definitions of custom resources, trying again');
      }
      await sleep(clock, Math.max(delay, this.#backoff.next()), signal);
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const end = await readWatch(
      this.#options.upstream,
      // Without a version: all there are first, on servers of any age.
      { lane: DEFINITIONS, query: { timeoutSeconds: WATCH_SECONDS }, signal },
      {
        onEvent: (type, object) => {
          if (signal.aborted || type === 'DELETED' || type === 'BOOKMARK') return;
          this.#backoff.reset();
          const { name, resourceVersion } = scanObject('json', object);
          for (const listener of this.#followed.get(name) ?? []) listener(resourceVersion);
        },
      },
    );
    if (end.kind !== 'eof') throw new StatusError(end.status);
  }
}
