import type { Bus } from '@dogwatch/bus/bus.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { type BookmarkTemplate, bookmarkTemplate, minimalBookmark } from '@dogwatch/kube/event-framer.ts';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Extent, LaneEnd, LaneFacts, LaneView } from '@dogwatch/watch/lane-view.ts';
import { type Batch, type Change, type Listing, type Tombstone, WatchCache } from '@dogwatch/watch/watch-cache.ts';
import { Backfills } from './backfills.ts';
import { Fences } from './fences.ts';
import { type Provable, whenFresh } from './freshness.ts';
import type { Recovery } from './lane-supply.ts';
import { Pace } from './pace.ts';
import { PartitionedLane } from './partitioned-lane.ts';
import { TrackFeed, type WholeState } from './track-feed.ts';
import { VersionAges } from './version-ages.ts';
import { VersionWaiters } from './version-waiters.ts';

export interface ReplicaDependencies {
  readonly bus: Bus;
  readonly recovery: Recovery;
  readonly clock: Clock;
  readonly log: Log;
}

export interface ReplicaLimits {
  /** Bound of the event window in bytes. */
  readonly windowBytesMax: number;
  /** Bound of the remembered deletes in bytes. */
  readonly tombstoneBytesMax: number;
}

/** A state of all partitions that are followed, at one version. */
export interface LaneState {
  readonly epoch: number;
  readonly facts: LaneFacts;
  readonly listing: Listing;
  readonly tombstones: readonly Tombstone[];
  readonly horizon: ResourceVersion;
}

/** One lane's watch cache, or that of one of its partitions, fed from the bus. */
export class LaneReplica implements LaneView, Provable {
  readonly lane: Lane;
  readonly #deps: ReplicaDependencies;
  readonly #limits: ReplicaLimits;
  readonly #feeds: readonly TrackFeed[];
  readonly #partitions: PartitionedLane | undefined;
  readonly #waiters: VersionWaiters;
  readonly #endListeners = new Set<(end: LaneEnd) => void>();
  readonly #appliedListeners = new Set<(what: 'changes' | 'state') => void>();
  #cache: WatchCache | undefined;
  #bookmark: BookmarkTemplate | undefined;
  #facts: LaneFacts | undefined;
  #epoch = 0;
  readonly #backfills: Backfills;
  readonly #fences: Fences;
  readonly #pace = new Pace();
  readonly #ages = new VersionAges();
  appliedAt = 0;

  /** `partitions`: those that are followed; several are merged into the lane's one order. */
  constructor(lane: Lane, partitions: readonly number[], deps: ReplicaDependencies, limits: ReplicaLimits) {
    this.lane = lane;
    this.#deps = deps;
    this.#limits = limits;
    this.#waiters = new VersionWaiters(deps.clock);
    this.#backfills = new Backfills(lane, deps.bus);
    this.#fences = new Fences({ bus: deps.bus, lane, clock: deps.clock });
    const merged = partitions.length > 1 ? new PartitionedLane(lane, deps, this.#merged()) : undefined;
    const sink = merged ?? {
      onChanges: (_feed: TrackFeed, batch: Batch) => this.#change((cache) => cache.apply(batch)),
      onWatermark: (_feed: TrackFeed, rv: ResourceVersion) => this.#apply((cache) => cache.advance(rv, cache.position)),
      onState: (feed: TrackFeed, state: WholeState) => this.#onState(feed, state),
      onEnd: (end: LaneEnd) => this.#end(end),
    };
    this.#feeds = partitions.map((partition) => new TrackFeed({ ...deps, lane, partition, sink }));
    this.#partitions = merged;
    merged?.start(this.#feeds);
  }

  get key(): string {
    return laneKey(this.lane);
  }

  get cache(): WatchCache {
    if (this.#cache === undefined) throw new Error(`lane ${laneKey(this.lane)} has no listing yet`);
    return this.#cache;
  }

  /** True once the first state is in. */
  get ready(): boolean {
    return this.#cache !== undefined;
  }

  /** True once it is ready, false if it is not within `timeoutMs`. */
  async whenReady(timeoutMs: number): Promise<boolean> {
    return this.ready || (await this.#waiters.wait(() => this.ready, timeoutMs));
  }

  get facts(): LaneFacts {
    return this.#facts!;
  }

  get bookmark(): BookmarkTemplate {
    return this.#bookmark!;
  }

  get epoch(): number {
    return this.#epoch;
  }

  get laneObjects(): number {
    return this.cache.size;
  }

  get moving(): boolean {
    return this.#pace.isMoving(this.#deps.clock.now());
  }

  ageOf(rv: ResourceVersion): number {
    return this.#ages.of(rv, this.#deps.clock.now());
  }

  /** Times a part of the lane was missing. */
  get gaps(): number {
    return this.#feeds.reduce((total, { gaps }) => total + gaps, 0);
  }

  /** The feed of a partition that is followed. */
  feed(partition: number): TrackFeed {
    return this.#feeds.find((feed) => feed.partition === partition)!;
  }

  onEnd(listener: (end: LaneEnd) => void): () => void {
    this.#endListeners.add(listener);
    return () => this.#endListeners.delete(listener);
  }

  /** Calls `listener` after changes or a watermark were applied, or a whole state. Returns how to stop. */
  onApplied(listener: (what: 'changes' | 'state') => void): () => void {
    this.#appliedListeners.add(listener);
    return () => this.#appliedListeners.delete(listener);
  }

  reached(rv: ResourceVersion, timeoutMs: number): Promise<boolean> {
    if (this.cache.watermark >= rv) return Promise.resolve(true);
    return this.#waiters.wait(() => this.cache.watermark >= rv, timeoutMs);
  }

  fresh<T>(timeoutMs: number, use: (rv: ResourceVersion) => T, extent: Extent): Promise<T> {
    const proof = { clock: this.#deps.clock, fences: this.#fences, waiters: this.#waiters, ages: this.#ages };
    return whenFresh(this, proof, { timeoutMs, use, extent });
  }

  backfill(rv: ResourceVersion): Promise<boolean> {
    return this.#backfills.reach(rv, this);
  }

  /** It is of the whole lane. */
  concerns(): boolean {
    return true;
  }

  /** Asks for what is not there yet. */
  start(): void {
    for (const feed of this.#feeds) if (feed.position === undefined) feed.recover();
  }

  /** Takes the next envelope of a track that is followed. */
  onEnvelope(envelope: Envelope, partition = 0): void {
    this.feed(partition).take(envelope);
    this.#waiters.check();
  }

  /** Nobody will be fed any more. */
  close(): void {
    for (const feed of this.#feeds) feed.close();
    this.#partitions?.close();
    this.#end('ended');
    this.#waiters.close();
  }

  #merged(): ConstructorParameters<typeof PartitionedLane>[2] {
    return {
      onMerged: (changes: readonly Change[], watermark: ResourceVersion) => {
        if (changes.length === 0) return this.#apply((cache) => cache.advance(watermark, cache.position));
        this.#change((cache) => {
          cache.apply({ previous: cache.position, changes });
          cache.advance(watermark, cache.position);
        });
      },
      onState: (state: LaneState) => {
        this.#adopt(state);
        this.#waiters.check();
        this.#applied('state');
      },
      onEnd: (end: LaneEnd) => this.#end(end),
    };
  }

  #onState(feed: TrackFeed, state: WholeState): void {
    this.#adopt(state);
    if (state.changes.length > 0) this.cache.apply({ previous: this.cache.position, changes: state.changes });
    // Before the feed goes on with what came meanwhile, which continues the whole state.
    this.cache.advance(state.watermark, this.cache.position);
    this.#applied('state');
    // Of a version that is held in part the cache may not know which: then that is a hole like any other.
    feed.adopt({ ...state, position: this.cache.position });
    this.#waiters.check();
  }

  #adopt({ epoch, facts, listing, tombstones, horizon }: LaneState): void {
    this.#facts = facts;
    this.#bookmark =
      facts.bookmark === undefined
        ? minimalBookmark(this.lane.encoding, facts.kind, facts.apiVersion)
        : bookmarkTemplate(this.lane.encoding, facts.bookmark);
    if (this.#cache !== undefined && epoch === this.#epoch && this.#cache.repair(listing)) return;
    if (this.#cache !== undefined) this.#end('expired');
    this.#epoch = epoch;
    const stateDiff = this.lane.resource !== 'events';
    this.#cache = new WatchCache(facts.schema, listing, { ...this.#limits, stateDiff, tombstones, horizon });
    this.#ages.note(listing.rv, this.#deps.clock.now());
  }

  #change(apply: (cache: WatchCache) => void): void {
    this.#pace.note(this.#deps.clock.now());
    this.#apply(apply);
  }

  #apply(apply: (cache: WatchCache) => void): void {
    apply(this.cache);
    this.appliedAt = this.#deps.clock.now();
    this.#ages.note(this.cache.watermark, this.appliedAt);
    this.#waiters.check();
    this.#applied('changes');
  }

  #applied(what: 'changes' | 'state'): void {
    for (const listener of this.#appliedListeners) listener(what);
  }

  #end(end: LaneEnd): void {
    for (const listener of this.#endListeners) listener(end);
  }
}
