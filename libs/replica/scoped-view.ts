import { type BookmarkTemplate, bookmarkTemplate, minimalBookmark } from '@dogwatch/kube/event-framer.ts';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import { type LaneCut, cutOf } from '@dogwatch/watch/lane-cut.ts';
import type { Extent, LaneEnd, LaneFacts, LaneView } from '@dogwatch/watch/lane-view.ts';
import { type Change, WatchCache } from '@dogwatch/watch/watch-cache.ts';
import type { Backfills } from './backfills.ts';
import type { Fences } from './fences.ts';
import { type Provable, whenFresh } from './freshness.ts';
import type { ReplicaLimits } from './lane-replica.ts';
import type { Pace } from './pace.ts';
import type { PartitionLink } from './partition-link.ts';
import type { Scope } from './scope.ts';
import type { WholeState } from './track-feed.ts';
import type { VersionAges } from './version-ages.ts';
import { VersionWaiters } from './version-waiters.ts';

/** Changes kept while a scope is read; of more, all are dropped, and it is read again. */
const CHANGES_MAX = 10_000;

export interface ScopedViewOptions {
  readonly key: string;
  readonly lane: Lane;
  readonly clock: Clock;
  readonly limits: ReplicaLimits;
  /** To the partitions the scope can have objects in. */
  readonly links: readonly PartitionLink[];
  readonly partitionOf: (object: KubeObject) => number;
  /** Up to which everything of the scope was given to `take`. */
  readonly watermark: () => ResourceVersion;
  /** Of the whole lane, looked at when its watermark has moved. */
  readonly waiters: VersionWaiters;
  readonly fences: Fences;
  readonly pace: Pace;
  readonly ages: VersionAges;
  readonly backfills: Backfills;
  /** The view waits for the watermark: `finishSync` is to be called when it has moved. */
  readonly onBehind: (view: ScopedView) => void;
}

/** What is being read of the scope, and what changed meanwhile. */
interface Syncing {
  readonly states: Map<PartitionLink, WholeState>;
  readonly changes: Change[];
}

/** The watch cache of one scope: small, and exactly what its few clients can see. */
export class ScopedView implements LaneView, Provable {
  readonly scope: Scope;
  readonly key: string;
  readonly lane: Lane;
  /** Of the lane only the scope is held. */
  readonly laneObjects = Infinity;
  readonly #options: ScopedViewOptions;
  readonly #endListeners = new Set<(end: LaneEnd) => void>();
  #cache: WatchCache | undefined;
  #facts: LaneFacts | undefined;
  #bookmark: BookmarkTemplate | undefined;
  #epoch = 0;
  #syncing: Syncing | undefined;
  /** Those who wait for the first state. */
  #opening: VersionWaiters | undefined;
  #closed = false;
  appliedAt = 0;

  constructor(scope: Scope, options: ScopedViewOptions) {
    this.scope = scope;
    this.key = options.key;
    this.lane = options.lane;
    this.#options = options;
  }

  get ready(): boolean {
    return this.#cache !== undefined;
  }

  /** Everything that was given to it and to those it shares its links with, up to their watermark. */
  get cache(): WatchCache {
    const cache = this.#cache;
    if (cache === undefined) throw new Error(`${this.key} has no state yet`);
    // While it is read anew, changes are kept back.
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

  /** Names the history that is held; 0 before the first. */
  get epoch(): number {
    return this.#epoch;
  }

  get moving(): boolean {
    return this.#options.pace.isMoving(this.#options.clock.now());
  }

  ageOf(rv: ResourceVersion): number {
    return this.#options.ages.of(rv, this.#options.clock.now());
  }

  onEnd(listener: (end: LaneEnd) => void): () => void {
    this.#endListeners.add(listener);
    return () => this.#endListeners.delete(listener);
  }

  /** True once it is ready, false if it is not within `timeoutMs`, or closed. */
  async whenReady(timeoutMs: number): Promise<boolean> {
    if (this.ready || this.#closed) return this.ready;
    this.#opening ??= new VersionWaiters(this.#options.clock);
    return await this.#opening.wait(() => this.ready, timeoutMs);
  }

  async reached(rv: ResourceVersion, timeoutMs: number): Promise<boolean> {
    const holds = (): boolean => this.cache.watermark >= rv;
    return holds() || (await this.#options.waiters.wait(holds, timeoutMs));
  }

  fresh<T>(timeoutMs: number, use: (rv: ResourceVersion) => T, extent: Extent): Promise<T> {
    return whenFresh(this, this.#options, { timeoutMs, use, extent });
  }

  backfill(rv: ResourceVersion): Promise<boolean> {
    return this.#options.backfills.reach(rv, this);
  }

  concerns(object: KubeObject): boolean {
    const { scope } = this;
    return scope.kind === 'name' ? object.key === scope.key : object.indexed === scope.value;
  }

  /** Reads the scope as a whole, to begin with or to repair with; from now on changes are kept until it is there. */
  sync(): void {
    if (this.#closed) return;
    this.#syncing = { states: new Map(), changes: [] };
    for (const link of this.#options.links) this.#read(link);
  }

  /** What is brought of one partition begins anew: reads that, and all others unless that is under way. */
  resync(partition: number): void {
    const link = this.#options.links.find((it) => it.partition === partition);
    if (link === undefined) return;
    if (this.#syncing === undefined) return this.sync();
    const { partitionOf } = this.#options;
    const { states, changes } = this.#syncing;
    states.delete(link);
    // Those of before are in what it begins with, or of another history.
    this.#syncing = { states, changes: changes.filter(({ object }) => partitionOf(object) !== partition) };
    this.#read(link);
  }

  /** Goes on once everything up to the newest of the states was given; true if nothing is being read any more. */
  finishSync(): boolean {
    if (this.#syncing === undefined) return true;
    const { states: found, changes } = this.#syncing;
    const { links, onBehind } = this.#options;
    const states = links.flatMap((link) => found.get(link) ?? []);
    const epoch = Math.max(...states.map((state) => state.epoch));
    // Of a partition that has yet to go on to a new history, the state of that will be read.
    if (states.length < links.length || states.some((state) => state.epoch < epoch)) return false;
    const cut = this.#cut(states, changes, epoch);
    if (cut === undefined) {
      onBehind(this);
      return false;
    }
    this.#adopt(states[0]!.facts, epoch, cut);
    this.#syncing = undefined;
    this.#apply(cut.rest.flat().toSorted((a, b) => a.object.rv - b.object.rv));
    this.#opening?.check();
    this.#opening = undefined;
    this.#options.waiters.check();
    return true;
  }

  /** Takes a change of the scope; what the view holds already is passed over. */
  take(change: Change): void {
    const syncing = this.#syncing;
    if (syncing === undefined) {
      if (this.#cache !== undefined) this.#apply([change]);
    } else if (syncing.changes.push(change) > CHANGES_MAX) {
      this.sync();
    }
  }

  end(end: LaneEnd): void {
    for (const listener of this.#endListeners) listener(end);
  }

  close(): void {
    this.#closed = true;
    for (const link of this.#options.links) link.remove(this.scope);
    this.#opening?.close();
    this.end('ended');
  }

  #read(link: PartitionLink): void {
    link.read(this.scope, (state) => {
      this.#syncing?.states.set(link, state);
      this.finishSync();
    });
  }

  /** One moment of all partitions; undefined if not everything up to it was given. */
  #cut(states: readonly WholeState[], changes: readonly Change[], epoch: number): LaneCut | undefined {
    const { partitionOf, links, watermark } = this.#options;
    const given = watermark();
    // Below what is held the cache could not be repaired.
    const atLeast = epoch === this.#epoch ? (this.#cache?.watermark ?? 0) : 0;
    // What a state brings of its own partition must not go before what is yet to come of the others.
    const rv = states.reduce((highest, { listing, position }) => Math.max(highest, listing.rv, position.rv), atLeast);
    if (links.length > 1 && given < rv) return undefined;
    const cut = cutOf(
      states.map((state, at) => ({
        ...state,
        watermark: links.length === 1 ? Math.max(state.watermark, given) : given,
        changes: [
          ...state.changes,
          ...changes.filter(
            ({ object }) => object.rv > state.position.rv && partitionOf(object) === links[at]!.partition,
          ),
        ],
      })),
      atLeast,
    );
    return cut.kind === 'cut' ? cut : undefined;
  }

  /** Each version carries one change, so one at or below the watermark was applied. */
  #apply(changes: readonly Change[]): void {
    const cache = this.#cache!;
    const fresh = changes.filter(({ object }) => object.rv > cache.watermark);
    if (fresh.length === 0) return;
    cache.apply({ previous: cache.position, changes: fresh });
    this.appliedAt = this.#options.clock.now();
  }

  #adopt(facts: LaneFacts, epoch: number, { listing, tombstones, horizon }: LaneCut): void {
    const { encoding } = this.lane;
    this.#facts = facts;
    this.#bookmark =
      facts.bookmark === undefined
        ? minimalBookmark(encoding, facts.kind, facts.apiVersion)
        : bookmarkTemplate(encoding, facts.bookmark);
    if (this.#cache !== undefined && epoch === this.#epoch && this.#cache.repair(listing)) return;
    if (this.#cache !== undefined) this.end('expired');
    this.#epoch = epoch;
    this.#cache = new WatchCache(facts.schema, listing, {
      ...this.#options.limits,
      stateDiff: true,
      tombstones,
      horizon,
    });
  }
}
