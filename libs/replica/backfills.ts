import type { Bus } from '@dogwatch/bus/bus.ts';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { WatchCache } from '@dogwatch/watch/watch-cache.ts';

/** What is to be filled. */
export interface Backfilled {
  readonly cache: WatchCache;
  /** True for what the cache holds of the lane. */
  concerns(object: KubeObject): boolean;
}

interface Asked {
  readonly rv: ResourceVersion;
  readonly cache: WatchCache;
  readonly of: Backfilled;
}

/**
 * Fills windows from upstream's own history, for watches from before a lane's first listing. One reading at a time,
 * from the oldest version asked for, so that it serves all who ask, whichever of the lane's caches they are of.
 */
export class Backfills {
  readonly #lane: Lane;
  readonly #bus: Bus;
  readonly #asked = new Set<Asked>();
  /** Upstream has said that what comes after this version is gone; it does not come back. */
  readonly #goneAt = new WeakMap<WatchCache, ResourceVersion>();
  #reading: Promise<void> | undefined;

  constructor(lane: Lane, bus: Bus) {
    this.#lane = lane;
    this.#bus = bus;
  }

  /** True once the window begins at or below `rv`, false if it cannot. Rejects with StatusError. */
  async reach(rv: ResourceVersion, of: Backfilled): Promise<boolean> {
    const { cache } = of;
    const asked = { rv, cache, of };
    this.#asked.add(asked);
    try {
      while (of.cache === cache && cache.window.start > rv) {
        // What was evicted for want of room would be again.
        if (this.#isGone(asked) || !cache.window.complete) return false;
        this.#reading ??= this.#read().finally(() => (this.#reading = undefined));
        await this.#reading;
      }
      return of.cache === cache;
    } finally {
      this.#asked.delete(asked);
    }
  }

  async #read(): Promise<void> {
    const asked = [...this.#asked].filter((each) => !this.#isGone(each) && each.cache.window.start > each.rv);
    const from = Math.min(...asked.map(({ rv }) => rv));
    const to = Math.max(...asked.map(({ cache }) => cache.window.start));
    const changes = await this.#bus.request('backfill', { lane: this.#lane, from, to });
    for (const [cache, of] of new Map(asked.map(({ cache, of }) => [cache, of]))) {
      if (changes === undefined) this.#goneAt.set(cache, Math.max(this.#goneAt.get(cache) ?? -1, from));
      // Where the window has moved on meanwhile, what was read no longer reaches it.
      else if (cache.window.start <= to) {
        cache.backfill(
          from,
          changes.filter(({ object }) => of.concerns(object)),
        );
      }
    }
  }

  #isGone({ rv, cache }: Asked): boolean {
    return rv <= (this.#goneAt.get(cache) ?? -1);
  }
}
