import { frameBookmark, minimalBookmark } from '@dogwatch/kube/event-framer.ts';
import type { Interest } from './interest.ts';
import { eventsIn, podSchema } from './test-objects.ts';
import { type Change, type Listing, WatchCache } from './watch-cache.ts';
import { WatchGroups } from './watch-groups.ts';
import type { PumpResult, Watcher, WatchStart } from './watcher.ts';

const TEMPLATE = minimalBookmark('json', 'Pod', 'v1');

/** A client: takes `capacity` writes, then blocks until it is drained. */
export class Client {
  readonly watcher: Watcher;
  readonly wakes: { count: number };
  conflations = 0;
  capacity = Number.POSITIVE_INFINITY;
  #received: string[] = [];

  constructor(groups: WatchGroups, asked: Interest, start: WatchStart, allowBookmarks = true) {
    const wakes = { count: 0 };
    this.wakes = wakes;
    this.watcher = groups.join(asked, {
      start,
      allowBookmarks,
      owner: { wake: () => wakes.count++, conflated: () => this.conflations++ },
    });
  }

  pump(): PumpResult {
    return this.watcher.pump({
      write: (bytes) => {
        this.#received.push(...eventsIn(bytes));
        return --this.capacity > 0;
      },
    });
  }

  /** Everything received since this was last asked. */
  received(): string[] {
    this.pump();
    return this.#received.splice(0);
  }
}

export interface LaneLimits {
  windowBytesMax?: number;
  tombstoneBytesMax?: number;
  stateDiff?: boolean;
  framesMax?: number;
  lagBytesMax?: number;
}

export class Lane {
  readonly cache: WatchCache;
  readonly groups: WatchGroups;

  constructor(listing: Listing, limits: LaneLimits = {}) {
    const { windowBytesMax = 1024 * 1024, stateDiff = false, tombstoneBytesMax = 1024 * 1024 } = limits;
    this.cache = new WatchCache(podSchema, listing, { windowBytesMax, tombstoneBytesMax, stateDiff });
    this.groups = new WatchGroups(this.cache, limits);
  }

  change(...changes: Change[]): void {
    this.cache.apply({ previous: this.cache.position, changes });
  }

  bookmark(quiet: boolean): void {
    this.groups.bookmark(quiet, (rv) => frameBookmark(TEMPLATE, rv, false));
  }

  resume(asked: Interest, rv: number, allowBookmarks = true): Client {
    const since = this.cache.since(rv, asked);
    if (since.kind === 'expired') throw new Error(`${rv} is expired`);
    const start: WatchStart =
      since.kind === 'from'
        ? { kind: 'resume', sequence: since.sequence, rv }
        : { kind: 'diff', events: this.cache.diff(rv, asked), rv };
    return new Client(this.groups, asked, start, allowBookmarks);
  }

  initial(asked: Interest, rv = this.cache.watermark): Client {
    const end = frameBookmark(TEMPLATE, rv, true);
    return new Client(this.groups, asked, { kind: 'initial', objects: this.cache.select(asked), rv, end });
  }
}
