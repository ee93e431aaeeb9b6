import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Clock, Timer } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { cutOf } from '@dogwatch/watch/lane-cut.ts';
import type { LaneEnd } from '@dogwatch/watch/lane-view.ts';
import { LateChange, TrackMerge } from '@dogwatch/watch/track-merge.ts';
import type { Batch, Change } from '@dogwatch/watch/watch-cache.ts';
import type { LaneState } from './lane-replica.ts';
import type { FeedSink, TrackFeed, WholeState } from './track-feed.ts';

/** Bytes that may wait for a partition that lags, before the lane is synced anew. */
const MERGE_BYTES_MAX = 256 * 1024 * 1024;
/** Once one partition was given a whole state the others are asked for theirs, unless that comes by itself so soon. */
const GATHER_MS = 500;

/** Who takes the lane in its one order. */
export interface MergedSink {
  onMerged(changes: readonly Change[], watermark: ResourceVersion): void;
  onState(state: LaneState): void;
  onEnd(end: LaneEnd): void;
}

/**
 * Several partitions as one lane. Changes are merged by watermark; a partition that can only be given as a whole (at
 * the beginning, and when its history was lost or repaired) makes the lane gather the whole of all, because the lane
 * repairs in one step or not at all (promise I2).
 */
export class PartitionedLane implements FeedSink {
  readonly #lane: Lane;
  readonly #options: { readonly clock: Clock; readonly log: Log };
  readonly #sink: MergedSink;
  #feeds: readonly TrackFeed[] = [];
  #merge: TrackMerge | undefined;
  /** What the lane is held at; a cut below it could not repair it. */
  #watermark: ResourceVersion = 0;
  #epoch = 0;
  readonly #gathered = new Map<TrackFeed, WholeState>();
  #gathering: Timer | undefined;

  constructor(lane: Lane, options: { readonly clock: Clock; readonly log: Log }, sink: MergedSink) {
    this.#lane = lane;
    this.#options = options;
    this.#sink = sink;
  }

  /** Names the feeds, in the order of their partitions. */
  start(feeds: readonly TrackFeed[]): void {
    this.#feeds = feeds;
  }

  onChanges(feed: TrackFeed, _batch: Batch, fresh: readonly Change[]): void {
    const merge = this.#merge;
    if (merge === undefined) return;
    const at = this.#feeds.indexOf(feed);
    try {
      merge.add(at, fresh);
    } catch (error) {
      if (!(error instanceof LateChange)) throw error;
      this.#syncAnew(error);
      return;
    }
    // A version is whole as soon as it is read, where there are several partitions.
    merge.reach(at, fresh.at(-1)!.object.rv);
    this.#release(merge);
  }

  onWatermark(feed: TrackFeed, rv: ResourceVersion): void {
    const merge = this.#merge;
    if (merge === undefined) return;
    merge.reach(this.#feeds.indexOf(feed), rv);
    this.#release(merge);
  }

  onState(feed: TrackFeed, state: WholeState): void {
    this.#gathered.set(feed, state);
    if (this.#gathered.size === this.#feeds.length) this.#cut();
    else this.#gatherLater();
  }

  onEnd(end: LaneEnd): void {
    // Each partition says so; once is enough.
    if (this.#merge === undefined) return;
    this.#merge = undefined;
    this.#sink.onEnd(end);
  }

  close(): void {
    this.#gathering?.cancel();
  }

  #gatherLater(): void {
    this.#gathering ??= this.#options.clock.setTimeout(() => {
      this.#gathering = undefined;
      // Again and again, until all are there.
      this.#gatherLater();
      for (const feed of this.#feeds) if (!this.#gathered.has(feed)) feed.recover(true);
    }, GATHER_MS);
  }

  #cut(): void {
    this.#gathering?.cancel();
    this.#gathering = undefined;
    const states = this.#feeds.map((feed) => this.#gathered.get(feed)!);
    const epoch = Math.max(...states.map((state) => state.epoch));
    const old = this.#feeds.filter((feed) => this.#gathered.get(feed)!.epoch < epoch);
    const cut = cutOf(states, epoch === this.#epoch ? this.#watermark : 0);
    if (old.length > 0 || cut.kind === 'behind') {
      const again = old.length > 0 || cut.kind !== 'behind' ? old : cut.partitions.map((at) => this.#feeds[at]!);
      for (const feed of again) this.#gathered.delete(feed);
      for (const feed of again) feed.again();
      return;
    }
    this.#gathered.clear();
    const { listing, tombstones, horizon, rest } = cut;
    this.#sink.onState({ epoch, facts: states[0]!.facts, listing, tombstones, horizon });
    const merge = new TrackMerge({
      partitions: this.#feeds.length,
      bytesMax: MERGE_BYTES_MAX,
      watermark: listing.rv,
    });
    this.#merge = merge;
    this.#epoch = epoch;
    this.#watermark = listing.rv;
    for (const [at, changes] of rest.entries()) {
      merge.add(at, changes);
      merge.reach(at, states[at]!.watermark);
    }
    this.#release(merge);
    for (const [at, feed] of this.#feeds.entries()) feed.adopt(states[at]!);
  }

  #release(merge: TrackMerge): void {
    const merged = merge.take();
    if (merged !== undefined) {
      this.#watermark = merged.watermark;
      this.#sink.onMerged(merged.changes, merged.watermark);
    }
    if (merge.overfull) this.#syncAnew(new Error(`partition ${merge.slowest} lags too far behind the others`));
  }

  #syncAnew(reason: Error): void {
    this.#options.log.error({ lane: laneKey(this.#lane), err: reason }, 'the lane is synced anew');
    this.#merge = undefined;
    this.#gatherLater();
    for (const feed of this.#feeds) feed.recover(true);
  }
}
