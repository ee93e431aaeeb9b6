import type { Bus } from '@dogwatch/bus/bus.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { WatchCache } from '@dogwatch/watch/watch-cache.ts';

/**
 * Fills a lane's window from upstream's own history, for watches from before its first listing. One reading at a time,
 * from the oldest version asked for, so that it serves all who ask.
 */
export class Backfills {
  readonly #lane: Lane;
  readonly #bus: Bus;
  readonly #cache: () => WatchCache;
  readonly #asked = new Set<{ readonly rv: ResourceVersion }>();
  #filled: WatchCache | undefined;
  #reading: Promise<void> | undefined;
  /** Upstream has said that what comes after this version of `#filled` is gone; it does not come back. */
  #goneAt = -1;

  constructor(lane: Lane, bus: Bus, cache: () => WatchCache) {
    this.#lane = lane;
    this.#bus = bus;
    this.#cache = cache;
  }

  /** True once the window begins at or below `rv`, false if it cannot. Rejects with StatusError. */
  async reach(rv: ResourceVersion): Promise<boolean> {
    const cache = this.#cache();
    if (cache !== this.#filled) this.#goneAt = -1;
    this.#filled = cache;
    const asked = { rv };
    this.#asked.add(asked);
    try {
      while (this.#cache() === cache && cache.window.start > rv) {
        // What was evicted for want of room would be again.
        if (rv <= this.#goneAt || !cache.window.complete) return false;
        this.#reading ??= this.#read(cache).finally(() => (this.#reading = undefined));
        await this.#reading;
      }
      return this.#cache() === cache;
    } finally {
      this.#asked.delete(asked);
    }
  }

  async #read(cache: WatchCache): Promise<void> {
    const from = Math.min(...[...this.#asked].map(({ rv }) => rv).filter((rv) => rv > this.#goneAt));
    const to = cache.window.start;
    const changes = await this.#bus.request('backfill', { lane: this.#lane, from, to });
    if (changes === undefined) this.#goneAt = Math.max(this.#goneAt, from);
    // Where the window has moved on meanwhile, what was read no longer reaches it.
    else if (cache.window.start === to) cache.backfill(from, changes);
  }
}
