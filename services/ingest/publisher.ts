import type { Bus } from '@dogwatch/bus/bus.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Clock, Timer } from '@dogwatch/process/clock.ts';
import type { LaneEnd, LaneFacts } from '@dogwatch/watch/lane-view.ts';
import { partitionOf } from '@dogwatch/watch/partition.ts';
import {
  type Change,
  type Listing,
  type Position,
  WHOLE_VERSION,
  comparePositions,
} from '@dogwatch/watch/watch-cache.ts';
import { type LiveTrack, LiveTracks } from './live-tracks.ts';
import type { LogTail } from './log-tail.ts';
import { Ring } from './ring.ts';
import { type PartitionedListing, trackState } from './track-sync.ts';

/** Read in one turn of the event loop, it is published before the turn ends. */
const UNPUBLISHED_BYTES_MAX = 8 * 1024 * 1024;

/** Who names the histories of a lane. */
export interface Epochs {
  /** Name of the history that follows `after`. */
  next(after: number): number;
  /** Makes a history known before it is published; undefined if there is nobody to tell. */
  declare(epoch: number, rv: ResourceVersion): Promise<void> | undefined;
}

export interface PublisherOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly epochs: Epochs;
  /** 1 if one version of the lane may carry many events, as of Events. */
  readonly partitions: number;
  /** Bound of what is kept of the changes read. */
  readonly ringBytesMax: number;
  /** How long the objects of a listing are kept, in ms. */
  readonly retainListingMs: number;
  /** What is read within this time of the last publication, in ms, is published together. */
  readonly gatherMs: number;
}

interface Undeclared extends PartitionedListing {
  readonly epoch: number;
  /** The history before, whose watches must end; 0: none. */
  readonly ended: number;
}

/**
 * Gives a lane's changes their places in its total order, keeps the last of them, and, while this ingest leads the
 * lane, publishes them by partition in batches: what was read in one turn of the event loop travels together, so that
 * load raises the batch and an idle lane waits for nothing.
 *
 * With one partition, one version may carry many events, of which some may be still to come. With several it carries
 * one: what was read of a version was read whole, or followers that merge partitions could never go on.
 */
export class Publisher {
  readonly #options: PublisherOptions;
  /** What is kept of the changes read. */
  readonly ring: Ring;
  #epoch = 0;
  #flushing: { cancel(): void } | undefined;
  #flushedAt = -Infinity;
  #unpublishedBytes = 0;
  /** Place of the last change read, in the lane. */
  #read: Position = { rv: 0, index: 0 };
  #published: ResourceVersion = 0;
  #changesAsked = 0;
  #interrupted = false;
  /** Followers wait for this version; 0: for none that has not been published. */
  #hastened: ResourceVersion = 0;
  /** Events of version #read.rv that a resumed watch will send again. */
  #repeats = 0;
  #live: LiveTracks | undefined;
  #undeclared: Undeclared | undefined;
  #listing: PartitionedListing | undefined;
  #retained: Timer | undefined;
  #listedAt = -Infinity;
  /** Changes read since the lane was opened. */
  changes = 0;
  /** Called when what was read cannot be published as it is: the lane must be listed anew. */
  onLost: (reason: string) => void = () => {};

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.ring = new Ring(options.partitions, options.ringBytesMax);
  }

  /** Names the history that is published; grows when continuity is lost. 0: there is none. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Version of the last change or watermark read. */
  get rv(): ResourceVersion {
    return this.#read.rv;
  }

  /** The last version up to which everything was read for sure: of `rv`, events may still be under way. */
  get settled(): ResourceVersion {
    return this.#read.index >= WHOLE_VERSION ? this.#read.rv : this.#read.rv - 1;
  }

  /** Everything up to here was published. */
  get published(): ResourceVersion {
    return this.#published;
  }

  get leads(): boolean {
    return this.#live !== undefined;
  }

  get logTails(): readonly LogTail[] {
    return this.#live?.tails ?? [];
  }

  /** True if everything up to `position` was read. */
  holds(position: Position): boolean {
    return comparePositions(position, this.#read) <= 0;
  }

  /**
   * The version a watch resumes from. One version can carry many events, of which only some may have been read: then
   * it is asked for again, and `change` drops those that were. `settled`: enough time has passed to be sure of it.
   */
  resumeFrom(settled: boolean): ResourceVersion {
    if (settled) this.watermark(this.#read.rv);
    this.#repeats = this.#read.index >= WHOLE_VERSION ? 0 : this.#read.index + 1;
    return this.#repeats === 0 ? this.#read.rv : this.#read.rv - 1;
  }

  /** Nothing that was read continues: until the next listing nobody can vouch for more than was published. */
  interrupt(): void {
    this.#interrupted = true;
  }

  /** What is read from now on continues history `epoch` at `rv`. To be called while nothing is published. */
  restart(epoch: number, rv: ResourceVersion): void {
    this.#epoch = epoch;
    this.#interrupted = false;
    this.#listing = undefined;
    this.#restartAt(rv);
  }

  /** Publishes from now on, first what the ring holds behind the places given. */
  lead(tracks: readonly LiveTrack[]): void {
    const { bus, clock } = this.#options;
    this.#live = new LiveTracks({ bus, clock, ring: this.ring, onDue: () => this.flush() }, tracks);
    if (this.#epoch > 0) this.#catchUp(0);
  }

  /** Publishes nothing any more, and reads on. */
  standBy(): void {
    this.#cancelFlush();
    this.#live?.close();
    this.#live = undefined;
    // What nobody has heard of is no history to go on with.
    if (this.#undeclared !== undefined) this.#epoch = 0;
    this.#undeclared = undefined;
  }

  /**
   * Publishes all objects at `listing.rv`; `newEpoch` where they do not continue what was published. Undefined once that
   * is done; a promise where others must be told of the epoch first, which rejects with StatusError.
   */
  listing(facts: LaneFacts, listing: Listing, newEpoch: boolean): Promise<void> | undefined {
    this.flush();
    this.#interrupted = false;
    this.#restartAt(listing.rv);
    const parted = { facts, listings: this.#parted(listing) };
    this.#retain(parted);
    if (newEpoch) return this.#begin(parted, listing.rv);
    if (this.#undeclared !== undefined) this.#undeclared = { ...this.#undeclared, ...parted };
    else this.#live?.listings(this.#epoch, facts, parted.listings);
    return undefined;
  }

  /** Takes a change upstream sent; false if it was read before. */
  change(change: Change): boolean {
    const { partitions, clock } = this.#options;
    const { rv, namespace, name } = change.object;
    if (rv < this.#read.rv) return false;
    if (rv === this.#read.rv && this.#repeats > 0) {
      this.#repeats--;
      return false;
    }
    this.#repeats = 0;
    if (partitions > 1 && rv <= this.#published) {
      this.onLost(`an event came at version ${rv}, which followers were told was whole`);
      return false;
    }
    const partition = partitionOf(namespace, name, partitions);
    const previous = partitions === 1 && rv === this.#read.rv ? this.#read : this.ring.last(partition);
    const position = rv === previous.rv ? { rv, index: previous.index + 1 } : { rv, index: 0 };
    this.ring.push(partition, { change, previous, position, readAt: clock.now() });
    this.#read = partitions === 1 ? position : { rv, index: WHOLE_VERSION };
    this.changes++;
    if (this.#live === undefined) {
      this.ring.trim();
      return true;
    }
    this.#unpublishedBytes += change.frame.length;
    if (this.#unpublishedBytes > UNPUBLISHED_BYTES_MAX) this.flush();
    else if (this.#hastened > 0 && rv >= this.#hastened) this.#flushAtOnce();
    else this.#flushing ??= this.#flushSoon();
    return true;
  }

  /** Followers wait for `rv`: as soon as that is read it is published, and all partitions are told, ungathered. */
  hasten(rv: ResourceVersion): void {
    this.#hastened = Math.max(this.#hastened, rv);
    if (this.#hastened <= this.#read.rv) this.#flushAtOnce();
  }

  /** Upstream vouches that everything up to `rv` was read. */
  watermark(rv: ResourceVersion): void {
    if (this.#interrupted) return;
    if (rv <= this.#read.rv && this.#read.index >= WHOLE_VERSION) return;
    this.flush();
    if (rv < this.#read.rv) return;
    this.#read = { rv, index: WHOLE_VERSION };
    if (this.#undeclared !== undefined || this.#live === undefined) return;
    this.#published = rv;
    this.#live.watermark(this.#epoch, rv);
  }

  /** Ends the open watches of the lane. */
  end(end: LaneEnd): void {
    this.flush();
    if (this.#undeclared === undefined) this.#live?.end(this.#epoch, end);
  }

  /** True if no change was read since this was last asked. */
  quiet(): boolean {
    const quiet = this.changes === this.#changesAsked;
    this.#changesAsked = this.changes;
    return quiet;
  }

  /** Publishes what was read, which otherwise waits for the end of the turn. */
  flush(): void {
    this.#cancelFlush();
    if (this.#undeclared === undefined && this.#live !== undefined && this.#epoch > 0) {
      this.#published = this.settled;
      const isAwaited = this.#hastened > 0 && this.#hastened <= this.#read.rv;
      if (isAwaited) this.#hastened = 0;
      this.#live.flush(this.#epoch, this.#read.rv, isAwaited);
      this.#flushedAt = this.#options.clock.now();
    }
    this.ring.trim();
  }

  /** Publishes again what was read since `time`, for followers that were cut off. */
  republish(time: number): void {
    this.flush();
    if (this.#undeclared !== undefined || this.#live === undefined) return;
    this.#live.republish(this.#epoch, time);
    this.#live.watermark(this.#epoch, this.#published);
  }

  /** Tells the log where tracks without changes stand. */
  vouchInLog(): void {
    if (this.#undeclared === undefined) this.#live?.vouchInLog(this.#epoch, this.#published);
  }

  /** A track goes on under another term. */
  succeed(track: string, term: number): void {
    this.#live?.succeed(track, term);
  }

  /** What a follower of one partition lacks; undefined if it is not held, or not ours to tell. */
  sync(
    partition: number,
    from: { readonly epoch: number; readonly position: Position } | undefined,
  ): TrackState | undefined {
    if (this.#live === undefined || this.#undeclared !== undefined) return undefined;
    this.flush();
    const published = { epoch: this.#epoch, watermark: this.#published, listing: this.#listing };
    return trackState({ ring: this.ring, ...published }, partition, from);
  }

  /** Lets go of everything. */
  close(): void {
    this.standBy();
    this.#retained?.cancel();
    this.#listing = undefined;
  }

  #restartAt(rv: ResourceVersion): void {
    this.ring.restart(rv);
    this.#hastened = 0;
    this.#read = { rv, index: WHOLE_VERSION };
    this.#published = rv;
    this.#repeats = 0;
  }

  #begin(parted: PartitionedListing, rv: ResourceVersion): Promise<void> | undefined {
    const { epochs } = this.#options;
    const before = this.#epoch;
    // Only who leads names histories.
    this.#epoch = this.#live === undefined ? 0 : epochs.next(before);
    if (this.#live === undefined) return undefined;
    const epoch = this.#epoch;
    this.#undeclared = { ...parted, epoch, ended: this.#undeclared === undefined ? before : this.#undeclared.ended };
    const declared = epochs.declare(epoch, rv);
    if (declared === undefined) {
      this.#announce(epoch);
      return undefined;
    }
    return declared.then(() => this.#announce(epoch));
  }

  #announce(epoch: number): void {
    const undeclared = this.#undeclared;
    if (undeclared?.epoch !== epoch || this.#live === undefined) return;
    this.#undeclared = undefined;
    if (undeclared.ended > 0) this.#live.end(undeclared.ended, 'expired');
    this.#live.listings(epoch, undeclared.facts, undeclared.listings);
    const { partitions } = this.#options;
    const evicted = Array.from({ length: partitions }, (_, at) => this.ring.before(at, this.ring.first(at))).some(
      ({ rv }) => rv > undeclared.listings[0]!.rv,
    );
    if (evicted) this.onLost('more was read than the ring holds while others were told of a new epoch');
    else this.#catchUp(undeclared.listings[0]!.rv);
  }

  /** Publishes what was only read, and how far that is if it is further than `told`. */
  #catchUp(told: ResourceVersion): void {
    this.flush();
    if (this.#options.partitions === 1 && this.settled > told) this.#live?.watermark(this.#epoch, this.settled);
  }

  /** The objects of `listing`, each with its partition. */
  #parted(listing: Listing): Listing[] {
    const { partitions } = this.#options;
    if (partitions === 1) return [listing];
    const { rv } = listing;
    const parts = Array.from({ length: partitions }, (): KubeObject[] => []);
    for (const object of listing.objects) parts[partitionOf(object.namespace, object.name, partitions)]!.push(object);
    return parts.map((objects) => ({ rv, objects }));
  }

  /** True if a listing was published less than `ms` ago that followers can still be given. */
  listedWithin(ms: number): boolean {
    return this.#options.clock.now() - this.#listedAt < ms;
  }

  #retain(listing: PartitionedListing): void {
    const { clock, retainListingMs } = this.#options;
    this.#retained?.cancel();
    if (retainListingMs === 0) return;
    this.#listing = listing;
    this.#listedAt = clock.now();
    this.#retained = clock.setTimeout(() => (this.#listing = undefined), retainListingMs);
  }

  /** At the end of the turn; under load later, for an envelope costs about as much as ten events in it. */
  #flushSoon(): { cancel(): void } {
    const { clock, gatherMs } = this.#options;
    const wait = this.#flushedAt + gatherMs - clock.now();
    if (wait > 0) return clock.setTimeout(() => this.flush(), wait);
    return this.#flushInTurn();
  }

  #flushAtOnce(): void {
    this.#flushing?.cancel();
    this.#flushing = this.#flushInTurn();
  }

  #flushInTurn(): { cancel(): void } {
    const immediate = setImmediate(() => this.flush());
    return { cancel: () => clearImmediate(immediate) };
  }

  #cancelFlush(): void {
    this.#flushing?.cancel();
    this.#flushing = undefined;
    this.#unpublishedBytes = 0;
  }
}
