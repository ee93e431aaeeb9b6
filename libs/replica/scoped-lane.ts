import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Timer } from '@dogwatch/process/clock.ts';
import type { LaneEnd } from '@dogwatch/watch/lane-view.ts';
import { partitionOf } from '@dogwatch/watch/partition.ts';
import { LateChange, TrackMerge } from '@dogwatch/watch/track-merge.ts';
import type { Batch, Change } from '@dogwatch/watch/watch-cache.ts';
import { Backfills } from './backfills.ts';
import { Fences } from './fences.ts';
import type { ReplicaLimits } from './lane-replica.ts';
import { Pace } from './pace.ts';
import { type LinkOptions, PartitionLink } from './partition-link.ts';
import { type Scope, scopeKey } from './scope.ts';
import { ScopedView } from './scoped-view.ts';
import type { FeedSink, TrackFeed, WholeState } from './track-feed.ts';
import { VersionAges } from './version-ages.ts';
import { VersionWaiters } from './version-waiters.ts';

/** Bytes that may wait for a partition that lags, before the scopes that span partitions are read anew. */
const MERGE_BYTES_MAX = 64 * 1024 * 1024;
const WATCH_MS = 1_000;

export type ScopedLaneOptions = Omit<LinkOptions, 'lane' | 'partition' | 'sink'>;

/** All partitions in one order, for scopes that span them. */
interface Merging {
  readonly merge: TrackMerge;
  /** Those of another history are not merged. */
  readonly epoch: number;
  /** Up to here everything was given to the views. */
  given: ResourceVersion;
}

/** The scopes of one keyed lane that this process has clients for, fed by a link to a shard of each partition. */
export class ScopedLane implements FeedSink {
  readonly lane: Lane;
  readonly #options: ScopedLaneOptions;
  readonly #limits: ReplicaLimits;
  readonly #links: readonly PartitionLink[];
  readonly #views = new Map<string, ScopedView>();
  readonly #named = new Map<string, ScopedView>();
  readonly #indexed = new Map<string, ScopedView>();
  /** Those that are read, but wait for the watermark. */
  readonly #behind = new Set<ScopedView>();
  readonly #waiters: VersionWaiters;
  readonly #fences: Fences;
  readonly #pace = new Pace();
  readonly #ages = new VersionAges();
  readonly #backfills: Backfills;
  readonly #watching: Timer;
  /** Undefined while no scope spans partitions. */
  #merging: Merging | undefined;
  #closed = false;
  /** Called once the resource is gone upstream: the lane is to be closed. */
  onEnded: () => void = () => {};

  constructor(lane: Lane, partitions: number, options: ScopedLaneOptions, limits: ReplicaLimits) {
    this.lane = lane;
    this.#options = options;
    this.#limits = limits;
    this.#waiters = new VersionWaiters(options.clock);
    this.#fences = new Fences({ bus: options.bus, lane, clock: options.clock });
    this.#backfills = new Backfills(lane, options.bus);
    this.#links = Array.from(
      { length: partitions },
      (_, partition) => new PartitionLink({ ...options, lane, partition, sink: this }),
    );
    this.#watching = options.clock.setInterval(() => {
      for (const link of this.#links) link.watch();
    }, WATCH_MS);
  }

  get size(): number {
    return this.#views.size;
  }

  has(scope: Scope): boolean {
    return this.#views.has(scopeKey(this.lane, scope));
  }

  /** The view of a scope, opened if it is not. */
  view(scope: Scope): ScopedView {
    const key = scopeKey(this.lane, scope);
    const held = this.#views.get(key);
    if (held !== undefined) return held;
    if (scope.kind === 'indexed') this.#merging ??= this.#newMerging();
    const view = new ScopedView(scope, {
      key,
      lane: this.lane,
      clock: this.#options.clock,
      limits: this.#limits,
      links: scope.kind === 'name' ? [this.#linkOf(scope.namespace, scope.name)] : this.#links,
      partitionOf: this.#partitionOf,
      watermark: () => this.#watermarkOf(scope),
      waiters: this.#waiters,
      fences: this.#fences,
      pace: this.#pace,
      ages: this.#ages,
      backfills: this.#backfills,
      onBehind: this.#onBehind,
    });
    this.#views.set(key, view);
    if (scope.kind === 'name') this.#named.set(scope.key, view);
    else this.#indexed.set(scope.value, view);
    view.sync();
    return view;
  }

  /** Nobody uses the view any more. */
  release(view: ScopedView): void {
    if (this.#views.get(view.key) !== view) return;
    this.#views.delete(view.key);
    if (view.scope.kind === 'name') this.#named.delete(view.scope.key);
    else this.#indexed.delete(view.scope.value);
    if (this.#indexed.size === 0) this.#merging = undefined;
    this.#behind.delete(view);
    view.close();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watching.cancel();
    for (const link of this.#links) link.close();
    for (const view of Array.from(this.#views.values())) this.release(view);
    this.#waiters.close();
  }

  onChanges(feed: TrackFeed, _batch: Batch, fresh: readonly Change[]): void {
    const now = this.#options.clock.now();
    this.#pace.note(now);
    this.#ages.note(fresh.at(-1)!.object.rv, now);
    for (const change of fresh) this.#named.get(change.object.key)?.take(change);
    this.#toMerge(feed, (merge) => {
      merge.add(feed.partition, fresh);
      merge.reach(feed.partition, fresh.at(-1)!.object.rv);
    });
    this.#moved();
  }

  onWatermark(feed: TrackFeed, rv: ResourceVersion): void {
    this.#ages.note(rv, this.#options.clock.now());
    this.#toMerge(feed, (merge) => merge.reach(feed.partition, rv));
    this.#moved();
  }

  /** The link begins, or its shard could not continue it: its scopes are read as a whole, before anything behind it. */
  onState(feed: TrackFeed, state: WholeState): void {
    for (const view of this.#views.values()) view.resync(feed.partition);
    this.#mergeFrom(feed, state);
    feed.adopt(state);
    this.#ages.note(feed.watermark, this.#options.clock.now());
    this.#links[feed.partition]!.resume(state);
    this.#moved();
  }

  /** Each partition says so; once is enough. Where a history ends, the next comes as a state. */
  onEnd(end: LaneEnd): void {
    if (end === 'ended' && !this.#closed) this.onEnded();
  }

  readonly #partitionOf = ({ namespace, name }: { namespace: string; name: string }): number =>
    partitionOf(namespace, name, this.#links.length);

  readonly #onBehind = (view: ScopedView): void => void this.#behind.add(view);

  #linkOf(namespace: string, name: string): PartitionLink {
    return this.#links[partitionOf(namespace, name, this.#links.length)]!;
  }

  #watermarkOf(scope: Scope): ResourceVersion {
    if (scope.kind === 'indexed') return this.#merging?.given ?? 0;
    return this.#linkOf(scope.namespace, scope.name).feed.watermark;
  }

  /** Merges what comes from now on, in the newest history; of one partition what comes behind a whole state. */
  #newMerging(begun?: { readonly feed: TrackFeed; readonly state: WholeState }): Merging {
    const places = this.#links.map(({ feed }) => (feed === begun?.feed ? begun.state : feed));
    const epoch = Math.max(...places.map((place) => place.epoch));
    const reached = places.map((place) => (place.epoch === epoch ? reachOf(place) : 0));
    const given = Math.min(...reached);
    const merge = new TrackMerge({ partitions: this.#links.length, bytesMax: MERGE_BYTES_MAX, watermark: given });
    for (const [partition, rv] of reached.entries()) merge.reach(partition, rv);
    return { merge, epoch, given };
  }

  /** What waits of the partition is in `state`, or of another history; what waits of the others is still to be given. */
  #mergeFrom(feed: TrackFeed, state: WholeState): void {
    const merging = this.#merging;
    if (merging === undefined) return;
    if (state.epoch > merging.epoch) this.#merging = this.#newMerging({ feed, state });
    else if (state.epoch === merging.epoch) {
      this.#advance(merging, (merge) => merge.reach(feed.partition, reachOf(state)));
    }
  }

  #toMerge(feed: TrackFeed, use: (merge: TrackMerge) => void): void {
    const merging = this.#merging;
    if (merging?.epoch === feed.epoch) this.#advance(merging, use);
  }

  #advance(merging: Merging, use: (merge: TrackMerge) => void): void {
    const { merge } = merging;
    try {
      use(merge);
    } catch (error) {
      if (!(error instanceof LateChange)) throw error;
      this.#syncIndexed(error);
      return;
    }
    const merged = merge.take();
    for (const change of merged?.changes ?? []) this.#give(change);
    merging.given = merge.watermark;
    if (merge.overfull) this.#syncIndexed(new Error(`partition ${merge.slowest} lags too far behind the others`));
  }

  #give(change: Change): void {
    const { indexed } = change.object;
    if (indexed !== '') this.#indexed.get(indexed)?.take(change);
  }

  /** What is merged has a hole: views that span partitions begin anew from what the shards hold. */
  #syncIndexed(reason: Error): void {
    this.#options.log.error({ lane: laneKey(this.lane), err: reason }, 'the scopes of a lane are read anew');
    this.#merging = this.#newMerging();
    for (const view of this.#indexed.values()) view.sync();
  }

  #moved(): void {
    for (const view of this.#behind) if (view.finishSync()) this.#behind.delete(view);
    this.#waiters.check();
  }
}

/** Everything up to here was brought: a version is whole as soon as its change is. */
function reachOf({ watermark, position }: Pick<TrackFeed, 'watermark' | 'position'>): ResourceVersion {
  return Math.max(watermark, position?.rv ?? 0);
}
