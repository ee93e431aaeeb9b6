import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Timer } from '@dogwatch/process/clock.ts';
import type { LaneEnd } from '@dogwatch/watch/lane-view.ts';
import { partitionOf } from '@dogwatch/watch/partition.ts';
import { LateChange, TrackMerge } from '@dogwatch/watch/track-merge.ts';
import type { Batch, Change } from '@dogwatch/watch/watch-cache.ts';
import type { ReplicaLimits } from './lane-replica.ts';
import { type LinkOptions, PartitionLink } from './partition-link.ts';
import { type Scope, scopeKey } from './scope.ts';
import { ScopedView } from './scoped-view.ts';
import type { FeedSink, TrackFeed, WholeState } from './track-feed.ts';
import { VersionWaiters } from './version-waiters.ts';

const MERGE_BYTES_MAX = 64 * 1024 * 1024;
const WATCH_MS = 1_000;

export type ScopedLaneOptions = Omit<LinkOptions, 'lane' | 'partition' | 'sink'>;

/** The scopes of one keyed lane that this process has clients for, fed by a link to a shard of each partition. */
export class ScopedLane implements FeedSink {
  readonly lane: Lane;
  readonly #options: ScopedLaneOptions;
  readonly #limits: ReplicaLimits;
  readonly #links: readonly PartitionLink[];
  readonly #views = new Map<string, ScopedView>();
  readonly #named = new Map<string, ScopedView>();
  readonly #indexed = new Map<string, ScopedView>();
  /** Those that are being read. */
  readonly #unfinished = new Set<ScopedView>();
  readonly #waiters: VersionWaiters;
  readonly #watching: Timer;
  /** Of all partitions, for scopes that span them; undefined while there is none. */
  #merge: TrackMerge | undefined;

  constructor(lane: Lane, partitions: number, options: ScopedLaneOptions, limits: ReplicaLimits) {
    this.lane = lane;
    this.#options = options;
    this.#limits = limits;
    this.#waiters = new VersionWaiters(options.clock);
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

  get views(): Iterable<ScopedView> {
    return this.#views.values();
  }

  /** The view of a scope, opened if it is not. */
  view(scope: Scope): ScopedView {
    const key = scopeKey(this.lane, scope);
    const held = this.#views.get(key);
    if (held !== undefined) return held;
    if (scope.kind === 'indexed') this.#merge ??= this.#newMerge();
    const view = new ScopedView(scope, {
      ...this.#options,
      key,
      lane: this.lane,
      limits: this.#limits,
      links: scope.kind === 'name' ? [this.#linkOf(scope.namespace, scope.name)] : this.#links,
      partitionOf: ({ namespace, name }) => partitionOf(namespace, name, this.#links.length),
      watermark: () => this.#watermarkOf(scope),
      waiters: this.#waiters,
    });
    this.#views.set(key, view);
    if (scope.kind === 'name') this.#named.set(scope.key, view);
    else this.#indexed.set(scope.value, view);
    this.#sync(view);
    return view;
  }

  /** Nobody uses the view any more. */
  release(view: ScopedView): void {
    if (this.#views.get(view.key) !== view) return;
    this.#views.delete(view.key);
    if (view.scope.kind === 'name') this.#named.delete(view.scope.key);
    else this.#indexed.delete(view.scope.value);
    if (this.#indexed.size === 0) this.#merge = undefined;
    this.#unfinished.delete(view);
    view.close();
  }

  close(): void {
    this.#watching.cancel();
    for (const view of Array.from(this.#views.values())) this.release(view);
    for (const link of this.#links) link.close();
    this.#waiters.close();
  }

  onChanges(feed: TrackFeed, _batch: Batch, fresh: readonly Change[]): void {
    for (const change of fresh) this.#named.get(change.object.key)?.take(change);
    this.#toMerge(feed, (merge) => {
      merge.add(feed.partition, fresh);
      merge.reach(feed.partition, fresh.at(-1)!.object.rv);
    });
    this.#waiters.check();
  }

  onWatermark(feed: TrackFeed, rv: ResourceVersion): void {
    this.#toMerge(feed, (merge) => merge.reach(feed.partition, rv));
    for (const view of this.#unfinished) if (view.finishSync()) this.#unfinished.delete(view);
    this.#waiters.check();
  }

  /** The link begins, or its shard could not continue it: its scopes are read as a whole. */
  onState(feed: TrackFeed, state: WholeState): void {
    feed.adopt(state);
    this.#links[feed.partition]!.resume();
    this.#toMerge(feed, (merge) => merge.reach(feed.partition, state.watermark));
    for (const view of this.#views.values()) {
      if (view.ready && view.uses(feed.partition)) this.#sync(view);
    }
  }

  /** Told to every partition; each view is told once, by the first. */
  onEnd(end: LaneEnd): void {
    for (const view of this.#views.values()) view.end(end);
  }

  #linkOf(namespace: string, name: string): PartitionLink {
    return this.#links[partitionOf(namespace, name, this.#links.length)]!;
  }

  #watermarkOf(scope: Scope): ResourceVersion {
    if (scope.kind === 'indexed') return this.#merge?.watermark ?? 0;
    return this.#linkOf(scope.namespace, scope.name).feed.watermark;
  }

  #newMerge(): TrackMerge {
    const merge = new TrackMerge({ partitions: this.#links.length, bytesMax: MERGE_BYTES_MAX });
    for (const { feed, partition } of this.#links) merge.reach(partition, feed.watermark);
    return merge;
  }

  #toMerge(feed: TrackFeed, use: (merge: TrackMerge) => void): void {
    const merge = this.#merge;
    if (merge === undefined) return;
    try {
      use(merge);
    } catch (error) {
      if (!(error instanceof LateChange)) throw error;
      this.#syncIndexed(error);
      return;
    }
    const merged = merge.take();
    for (const change of merged?.changes ?? []) this.#give(change);
    if (merge.overfull)
      this.#syncIndexed(new Error(`partition ${merge.slowest} lags, seen by partition ${feed.partition}`));
  }

  #give(change: Change): void {
    const { indexed } = change.object;
    if (indexed !== '') this.#indexed.get(indexed)?.take(change);
  }

  /** What is merged has a hole: views that span partitions begin anew from what the shards hold. */
  #syncIndexed(reason: Error): void {
    this.#options.log.error({ lane: laneKey(this.lane), err: reason }, 'the scopes of a lane are read anew');
    this.#merge = this.#newMerge();
    for (const view of this.#indexed.values()) this.#sync(view);
  }

  #sync(view: ScopedView): void {
    this.#unfinished.add(view);
    view.sync();
  }
}
