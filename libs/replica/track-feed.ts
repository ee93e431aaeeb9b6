import type { Envelope } from '@dogwatch/bus/envelope.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Clock, Timer } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { LaneEnd } from '@dogwatch/watch/lane-view.ts';
import {
  type Batch,
  type Change,
  ChainGap,
  type Position,
  WHOLE_VERSION,
  comparePositions,
  isGap,
} from '@dogwatch/watch/watch-cache.ts';
import { type Lack, type Recovery, Superseded } from './lane-supply.ts';

/** Bytes of envelopes that wait while a track is recovered; beyond it they are dropped and recovered too. */
const QUEUE_BYTES_MAX = 64 * 1024 * 1024;
/** Counted on top of the objects of an envelope that waits. */
const ENVELOPE_OVERHEAD_BYTES = 256;
const RETRY_MS = { first: 100, most: 5_000 };
/** A listing that was promised and does not come so long is asked for again: it may have been lost on its way. */
const PROMISE_MS = 30_000;

/** Everything of a track, to begin with or to repair with. */
export type WholeState = Extract<TrackState, { kind: 'state' }>;

/** Who takes what a feed brings. */
export interface FeedSink {
  /** Changes that continue what was brought before, `batch` as it came; those among them held before are skipped. */
  onChanges(feed: TrackFeed, batch: Batch, fresh: readonly Change[]): void;
  /** Everything up to `rv` was brought. */
  onWatermark(feed: TrackFeed, rv: ResourceVersion): void;
  /** Nothing is brought from here on until `adopt`. */
  onState(feed: TrackFeed, state: WholeState): void;
  onEnd(end: LaneEnd): void;
}

export interface FeedOptions {
  readonly lane: Lane;
  readonly partition: number;
  readonly sink: FeedSink;
  readonly recovery: Recovery;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when nothing is missing any more, and what came meanwhile was brought. */
  readonly onRecovered?: () => void;
}

/**
 * One track of a lane as a replica follows it (promise I4): what continues what is held is handed on, what does not is
 * kept while the hole before it is filled. What comes twice, as from two publishers at a takeover, is dropped.
 */
export class TrackFeed {
  readonly partition: number;
  readonly #options: FeedOptions;
  #epoch = 0;
  #position: Position | undefined;
  #watermark: ResourceVersion = 0;
  #queue: Envelope[] = [];
  #queuedBytes = 0;
  /** Grows when what is asked for is not wanted any more. */
  #attempt = 0;
  #recovering = false;
  /** Only a whole state will do, until one is adopted. */
  #all = false;
  /** What was kept is being taken. */
  #replaying = false;
  #retry: Timer | undefined;
  /** Times in a row that what was found was of no use. */
  #failures = 0;
  #closed = false;
  /** Times a part of the track was missing. */
  gaps = 0;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.partition = options.partition;
  }

  /** Behind the last change brought; undefined while there is nothing to continue. */
  get position(): Position | undefined {
    return this.#position;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** True while something is missing. */
  get recovering(): boolean {
    return this.#recovering;
  }

  /** Everything up to here was brought; of a version of which a part was, the one before it. */
  get watermark(): ResourceVersion {
    return this.#watermark;
  }

  /** Takes the next envelope of the track. */
  take(envelope: Envelope): void {
    if (this.#closed || envelope.epoch < this.#epoch) return;
    switch (envelope.kind) {
      case 'end':
        return this.#options.sink.onEnd(envelope.end);
      case 'listing':
        return this.#listing(envelope);
      case 'listed':
        if (this.#holds(envelope.epoch, wholeAt(envelope.rv))) return;
        // What is under way may be from before it, and what was waited for may be just this.
        this.#recovering = false;
        this.recover();
        // What is found may be older still: then this shows that something is missing.
        return this.#keep({ ...envelope, kind: 'watermark', previous: wholeAt(envelope.rv) });
      case 'batch':
      case 'watermark':
        if (this.#position === undefined || this.#recovering) this.#keep(envelope);
        else this.#continue(envelope, this.#position);
    }
  }

  /**
   * Asks for what is missing, or everything where nothing is held or `all`. Nothing happens while that is under way; it
   * is asked again, ever more slowly, until what is found leads on.
   */
  recover(all = false): void {
    if (this.#closed || (this.#recovering && (!all || this.#all))) return;
    this.#recovering = true;
    this.#all ||= all;
    this.#retry?.cancel();
    const attempt = ++this.#attempt;
    const from =
      this.#position === undefined || this.#all ? undefined : { epoch: this.#epoch, position: this.#position };
    const wanted = (): boolean => attempt === this.#attempt && !this.#closed;
    this.#ask(from, wanted).catch((error: unknown) => {
      if (wanted()) this.#later(error);
    });
  }

  /** The state brought is of no use: asks for another, after a while. */
  again(): void {
    this.#all = true;
    this.#later(new Error('the state of a partition does not go with those of the others'));
  }

  /** What is brought from now on continues `state`. */
  adopt(state: WholeState): void {
    this.#epoch = state.epoch;
    this.#position = state.position;
    this.#watermark = state.watermark;
    this.#all = false;
    this.#recovered();
  }

  /** Nothing is brought, and so nothing asked for, until `recover`. */
  rest(): void {
    this.#attempt++;
    this.#recovering = false;
    this.#retry?.cancel();
    this.forget();
  }

  /** What came and was kept is not brought: another way brings it. */
  forget(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  close(): void {
    this.rest();
    this.#closed = true;
  }

  async #ask(from: Lack['from'], wanted: () => boolean): Promise<void> {
    const { recovery, lane, clock } = this.#options;
    const deliver = (envelope: Envelope): void => {
      if (!wanted()) throw new Superseded();
      this.#deliver(envelope);
    };
    const found = await recovery.recover({ lane, partition: this.partition, from }, deliver);
    if (!wanted()) return;
    if (found === 'published') {
      this.#retry = clock.setTimeout(
        () => this.#later(new Error('a listing was promised and did not come')),
        PROMISE_MS,
      );
      return;
    }
    if (found === 'delivered') {
      if (from === undefined) throw new Error('a log does not continue what is not held');
      return this.#recovered();
    }
    if (found.epoch < this.#epoch) throw new Error(`a source is at epoch ${found.epoch}, behind ${this.#epoch}`);
    if (found.kind === 'state') {
      if (this.#isAhead(found)) throw new Error(`a source is at ${found.position.rv}, behind what is held`);
      return this.#state(found);
    }
    if (from === undefined || found.epoch !== from.epoch) throw new Error('a source continues what is not held');
    this.#continue(
      { kind: 'batch', epoch: from.epoch, batch: { previous: from.position, changes: found.changes } },
      from.position,
    );
    this.#reachPosition(found.position);
    this.#reach(found.watermark);
    // Whoever was brought it may have found that it needs a whole state.
    if (wanted()) this.#recovered();
  }

  /** An envelope of the log. Throws ChainGap if it does not continue what is held. */
  #deliver(envelope: Envelope): void {
    if (envelope.epoch < this.#epoch || envelope.kind === 'end') return;
    if (envelope.kind === 'listed') {
      // The log does not have the listing: it leads no further.
      if (this.#holds(envelope.epoch, wholeAt(envelope.rv))) return;
      throw new ChainGap(this.#position ?? NOWHERE, wholeAt(envelope.rv));
    }
    if (envelope.kind === 'listing') return this.#listing(envelope);
    const held = this.#position;
    const previous = previousOf(envelope);
    if (held === undefined || envelope.epoch !== this.#epoch || this.#isGap(held, previous)) {
      throw new ChainGap(held ?? NOWHERE, previous);
    }
    this.#continue(envelope, held);
  }

  #listing({ epoch, facts, listing }: Extract<Envelope, { kind: 'listing' }>): void {
    const { rv } = listing;
    // It came twice.
    if (this.#holds(epoch, wholeAt(rv))) return;
    const empty = { tombstones: [], horizon: rv, changes: [] };
    this.#state({ kind: 'state', epoch, facts, listing, ...empty, position: wholeAt(rv), watermark: rv });
  }

  #state(state: WholeState): void {
    this.#attempt++;
    this.#retry?.cancel();
    this.#recovering = this.#all = true;
    this.#options.sink.onState(this, state);
  }

  /** What was found is of no use, or nothing was: it is asked for again after a while. */
  #later(reason: unknown): void {
    const { lane, log, clock } = this.#options;
    const waitMs = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** this.#failures++);
    log.warn(
      { lane: laneKey(lane), partition: this.partition, err: reason, waitMs },
      'what is missing of a track cannot be had yet',
    );
    this.#attempt++;
    this.#recovering = true;
    this.#retry?.cancel();
    this.#retry = clock.setTimeout(() => {
      this.#recovering = false;
      this.recover();
    }, waitMs);
  }

  /** Takes what came meanwhile. */
  #recovered(): void {
    this.#recovering = false;
    this.#attempt++;
    const kept = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#replaying = true;
    try {
      for (const envelope of kept) this.take(envelope);
    } finally {
      this.#replaying = false;
    }
    if (this.#recovering) return;
    this.#failures = 0;
    this.#options.onRecovered?.();
  }

  #continue(envelope: Extract<Envelope, { kind: 'batch' | 'watermark' }>, held: Position): void {
    const { sink, lane, log } = this.#options;
    const previous = previousOf(envelope);
    if (envelope.epoch !== this.#epoch || this.#isGap(held, previous)) {
      this.#keep(envelope);
      // Whoever was asked did not have it yet.
      if (this.#replaying) return this.#later(new ChainGap(held, previous));
      this.gaps++;
      log.warn({ lane: laneKey(lane), partition: this.partition, held, previous }, 'a part of the track is missing');
      return this.recover();
    }
    if (envelope.kind === 'batch') {
      const { fresh, position } = continuation(envelope.batch, held);
      if (fresh.length === 0) return;
      this.#position = position;
      sink.onChanges(this, envelope.batch, fresh);
      return;
    }
    this.#reachPosition(wholeAt(envelope.rv));
    this.#reach(envelope.rv);
  }

  #isGap(held: Position, previous: Position): boolean {
    return isGap(held, previous, this.#options.lane.resource !== 'events');
  }

  #reach(rv: ResourceVersion): void {
    this.#watermark = Math.max(this.#watermark, rv);
    this.#options.sink.onWatermark(this, rv);
  }

  /** Never back: what is held already is told of again by a source that is behind. */
  #reachPosition(position: Position): void {
    if (!this.#holds(this.#epoch, position)) this.#position = position;
  }

  /** True if everything of `epoch` up to `position` was brought. */
  #holds(epoch: number, position: Position): boolean {
    return epoch === this.#epoch && this.#position !== undefined && comparePositions(position, this.#position) <= 0;
  }

  #isAhead({ epoch, position }: WholeState): boolean {
    return epoch === this.#epoch && this.#position !== undefined && comparePositions(position, this.#position) < 0;
  }

  #keep(envelope: Extract<Envelope, { kind: 'batch' | 'watermark' }>): void {
    this.#queue.push(envelope);
    this.#queuedBytes += bytesOf(envelope);
    if (this.#queuedBytes <= QUEUE_BYTES_MAX) return;
    // What is dropped is found missing once the rest is there, and recovered in its turn.
    this.#queue = [envelope];
    this.#queuedBytes = bytesOf(envelope);
  }
}

const NOWHERE: Position = { rv: 0, index: 0 };

function wholeAt(rv: ResourceVersion): Position {
  return { rv, index: WHOLE_VERSION };
}

function previousOf(envelope: Extract<Envelope, { kind: 'batch' | 'watermark' }>): Position {
  return envelope.kind === 'batch' ? envelope.batch.previous : envelope.previous;
}

function bytesOf(envelope: Extract<Envelope, { kind: 'batch' | 'watermark' }>): number {
  if (envelope.kind === 'watermark') return ENVELOPE_OVERHEAD_BYTES;
  return envelope.batch.changes.reduce((bytes, { object }) => bytes + object.bytes.length, ENVELOPE_OVERHEAD_BYTES);
}

/** What of `batch` stands behind `held`, and the place of its last change. */
function continuation({ previous, changes }: Batch, held: Position): { fresh: readonly Change[]; position: Position } {
  let place = previous;
  let skipped = 0;
  for (const { object } of changes) {
    place = object.rv === place.rv ? { rv: object.rv, index: place.index + 1 } : { rv: object.rv, index: 0 };
    if (comparePositions(place, held) <= 0) skipped++;
  }
  return { fresh: skipped === 0 ? changes : changes.slice(skipped), position: place };
}
