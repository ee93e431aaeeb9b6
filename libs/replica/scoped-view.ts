import type { Bus } from '@dogwatch/bus/bus.ts';
import { type BookmarkTemplate, bookmarkTemplate, minimalBookmark } from '@dogwatch/kube/event-framer.ts';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { StatusError, serviceUnavailable } from '@dogwatch/kube/status.ts';
import type { Clock, Timer } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { type LaneCut, cutOf } from '@dogwatch/watch/lane-cut.ts';
import type { LaneEnd, LaneFacts, LaneView } from '@dogwatch/watch/lane-view.ts';
import { type Change, WatchCache } from '@dogwatch/watch/watch-cache.ts';
import { Backfills } from './backfills.ts';
import type { ReplicaLimits } from './lane-replica.ts';
import type { PartitionLink } from './partition-link.ts';
import type { Scope } from './scope.ts';
import type { WholeState } from './track-feed.ts';
import type { VersionWaiters } from './version-waiters.ts';

const RETRY_MS = 500;

export interface ScopedViewOptions {
  readonly key: string;
  readonly lane: Lane;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: ReplicaLimits;
  /** To the partitions the scope can have objects in. */
  readonly links: readonly PartitionLink[];
  readonly partitionOf: (object: KubeObject) => number;
  /** Up to which everything of the scope was given to `take`. */
  readonly watermark: () => ResourceVersion;
  readonly waiters: VersionWaiters;
}

/** What is being read of the scope, and what changed meanwhile. */
interface Syncing {
  states: readonly WholeState[] | undefined;
  readonly changes: Change[];
}

/** The watch cache of one scope: small, and exactly what its few clients can see. */
export class ScopedView implements LaneView {
  readonly scope: Scope;
  readonly key: string;
  readonly lane: Lane;
  readonly #options: ScopedViewOptions;
  readonly #backfills: Backfills;
  readonly #endListeners = new Set<(end: LaneEnd) => void>();
  #cache: WatchCache | undefined;
  #facts: LaneFacts | undefined;
  #bookmark: BookmarkTemplate | undefined;
  #epoch = 0;
  #syncing: Syncing | undefined;
  #retry: Timer | undefined;
  #closed = false;
  appliedAt = 0;

  constructor(scope: Scope, options: ScopedViewOptions) {
    this.scope = scope;
    this.key = options.key;
    this.lane = options.lane;
    this.#options = options;
    this.#backfills = new Backfills(options.lane, options.bus, () => this.cache);
  }

  get ready(): boolean {
    return this.#cache !== undefined;
  }

  /** Everything that was given to it and to those it shares its links with, up to their watermark. */
  get cache(): WatchCache {
    const cache = this.#cache;
    if (cache === undefined) throw new Error(`${this.key} has no state yet`);
    const watermark = this.#syncing === undefined ? this.#options.watermark() : 0;
    if (watermark > cache.watermark) cache.advance(watermark, cache.position);
    return cache;
  }

  get facts(): LaneFacts {
    return this.#facts!;
  }

  get bookmark(): BookmarkTemplate {
    return this.#bookmark!;
  }

  onEnd(listener: (end: LaneEnd) => void): () => void {
    this.#endListeners.add(listener);
    return () => this.#endListeners.delete(listener);
  }

  async whenReady(timeoutMs: number): Promise<boolean> {
    return this.ready || (await this.#options.waiters.wait(() => this.ready, timeoutMs));
  }

  reached(rv: ResourceVersion, timeoutMs: number): Promise<boolean> {
    if (this.cache.watermark >= rv) return Promise.resolve(true);
    return this.#options.waiters.wait(() => this.cache.watermark >= rv, timeoutMs);
  }

  async fresh<T>(timeoutMs: number, use: (rv: ResourceVersion) => T): Promise<T> {
    const { bus, clock } = this.#options;
    const deadline = clock.now() + timeoutMs;
    const { rv } = await bus.request('fence', { lane: this.lane, inventory: false });
    if (!(await this.reached(rv, deadline - clock.now()))) {
      throw new StatusError(serviceUnavailable('the watch cache could not be proved fresh in time', 1));
    }
    return use(this.cache.watermark);
  }

  backfill(rv: ResourceVersion): Promise<boolean> {
    return this.#backfills.reach(rv);
  }

  /** True if the scope can have objects in the partition. */
  uses(partition: number): boolean {
    return this.#options.links.some((link) => link.partition === partition);
  }

  /** Reads the scope as a whole, to begin with or to repair with; changes are kept until it is there. */
  sync(): void {
    if (this.#closed) return;
    const syncing: Syncing = { states: undefined, changes: this.#syncing?.changes ?? [] };
    this.#syncing = syncing;
    Promise.all(this.#options.links.map((link) => link.add(this.scope))).then(
      (states) => {
        syncing.states = states;
        if (this.#syncing === syncing) this.finishSync();
      },
      (error: unknown) => {
        if (this.#syncing !== syncing || this.#closed) return;
        this.#options.log.debug({ scope: this.key, err: error }, 'a scope could not be read yet');
        this.#retry = this.#options.clock.setTimeout(() => this.sync(), RETRY_MS);
      },
    );
  }

  /** Goes on once everything up to the newest of the states was given; true if nothing is being read any more. */
  finishSync(): boolean {
    if (this.#syncing === undefined) return true;
    const { states, changes } = this.#syncing;
    if (states === undefined) return false;
    const watermark = this.#options.watermark();
    const { partitionOf, links } = this.#options;
    const cut = cutOf(
      states.map((state, at) => ({
        ...state,
        watermark: links.length === 1 ? state.watermark : watermark,
        changes: changes.filter(
          ({ object }) => object.rv > state.listing.rv && partitionOf(object) === links[at]!.partition,
        ),
      })),
    );
    if (cut.kind === 'behind') return false;
    this.#syncing = undefined;
    this.#adopt(states, cut);
    const rest = cut.rest.flat().toSorted((a, b) => a.object.rv - b.object.rv);
    if (rest.length > 0) this.#apply(rest);
    this.#options.waiters.check();
    return true;
  }

  /** Takes a change of the scope; what the view holds already is passed over. */
  take(change: Change): void {
    if (this.#syncing !== undefined) this.#syncing.changes.push(change);
    else if (this.#cache !== undefined) this.#apply([change]);
  }

  end(end: LaneEnd): void {
    for (const listener of this.#endListeners) listener(end);
  }

  close(): void {
    this.#closed = true;
    this.#retry?.cancel();
    for (const link of this.#options.links) link.remove(this.scope);
    this.end('ended');
  }

  #apply(changes: readonly Change[]): void {
    const cache = this.#cache!;
    cache.apply({ previous: cache.position, changes });
    this.appliedAt = this.#options.clock.now();
  }

  #adopt(states: readonly WholeState[], cut: LaneCut): void {
    const { facts } = states[0]!;
    const { encoding } = this.lane;
    const epoch = Math.max(...states.map((state) => state.epoch));
    this.#facts = facts;
    this.#bookmark =
      facts.bookmark === undefined
        ? minimalBookmark(encoding, facts.kind, facts.apiVersion)
        : bookmarkTemplate(encoding, facts.bookmark);
    if (this.#cache !== undefined && epoch === this.#epoch && this.#cache.repair(cut.listing)) return;
    if (this.#cache !== undefined) this.end('expired');
    this.#epoch = epoch;
    const { listing, tombstones, horizon } = cut;
    this.#cache = new WatchCache(facts.schema, listing, {
      ...this.#options.limits,
      stateDiff: true,
      tombstones,
      horizon,
    });
  }
}
