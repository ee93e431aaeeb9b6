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
  type Position,
  WHOLE_VERSION,
  comparePositions,
} from '@dogwatch/watch/watch-cache.ts';
import type { Recovery } from './lane-supply.ts';

/** Bytes of objects in envelopes that wait while a track is recovered; beyond it they are dropped and recovered too. */
const QUEUE_BYTES_MAX = 64 * 1024 * 1024;
const RETRY_MS = { first: 100, most: 5_000 };

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
  #retry: Timer | undefined;
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
      case 'listing': {
        const held = envelope.epoch === this.#epoch ? this.#position : undefined;
        // It came twice.
        if (held !== undefined && comparePositions(wholeAt(envelope.listing.rv), held) <= 0) return;
        return this.#listing(envelope);
      }
      case 'listed':
        return this.recover();
      case 'batch':
      case 'watermark':
        if (this.#position === undefined || this.#recovering) this.#keep(envelope);
        else this.#continue(envelope, this.#position);
    }
  }

  /** Asks for what is missing, or everything where nothing is held or `all`. Nothing happens while that is under way. */
  recover(all = false): void {
    if (this.#recovering || this.#closed) return;
    this.#recovering = true;
    const { lane, log } = this.#options;
    const attempt = ++this.#attempt;
    const from = this.#position === undefined || all ? undefined : { epoch: this.#epoch, position: this.#position };
    const wanted = (): boolean => attempt === this.#attempt && !this.#closed;
    this.#ask(from, wanted).catch((error: unknown) => {
      if (!wanted()) return;
      const waitMs = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** this.#failures++);
      log.warn(
        { lane: laneKey(lane), partition: this.partition, err: error, waitMs },
        'what is missing of a track cannot be had yet',
      );
      this.#retry = this.#options.clock.setTimeout(() => {
        this.#recovering = false;
        this.recover(all);
      }, waitMs);
    });
  }

  /** The state brought is of no use: asks for another, after a while. */
  again(): void {
    this.#recovering = true;
    const attempt = ++this.#attempt;
    this.#retry = this.#options.clock.setTimeout(() => {
      if (attempt !== this.#attempt) return;
      this.#recovering = false;
      this.recover(true);
    }, RETRY_MS.first);
  }

  /** What is brought from now on continues `state`. */
  adopt(state: WholeState): void {
    this.#epoch = state.epoch;
    this.#position = state.position;
    this.#watermark = state.watermark;
    this.#recovered();
  }

  close(): void {
    this.#closed = true;
    this.#attempt++;
    this.#retry?.cancel();
    this.#queue = [];
  }

  async #ask(from: { epoch: number; position: Position } | undefined, wanted: () => boolean): Promise<void> {
    const { recovery, lane } = this.#options;
    const deliver = (envelope: Envelope): void => {
      if (!wanted()) throw new Error('the track was recovered otherwise');
      this.#deliver(envelope);
    };
    const found = await recovery.recover({ lane, partition: this.partition, from }, deliver);
    if (!wanted() || found === 'published') return;
    this.#failures = 0;
    if (found === 'delivered') return this.#recovered();
    if (found.epoch < this.#epoch) throw new Error(`a source is at epoch ${found.epoch}, behind ${this.#epoch}`);
    if (found.kind === 'state') return this.#state(found);
    if (from === undefined) throw new Error('a source continues what is not held');
    if (found.changes.length > 0)
      this.#continue(
        { kind: 'batch', epoch: from.epoch, batch: { previous: from.position, changes: found.changes } },
        from.position,
      );
    this.#position = found.position;
    this.#reach(found.watermark);
    this.#recovered();
  }

  /** An envelope of the log: it continues what is held, or the source is of no use. */
  #deliver(envelope: Envelope): void {
    if (envelope.epoch < this.#epoch || envelope.kind === 'end' || envelope.kind === 'listed') return;
    if (envelope.kind === 'listing') {
      return this.#listing(envelope);
    }
    const held = this.#position;
    if (held === undefined || envelope.epoch !== this.#epoch || comparePositions(previousOf(envelope), held) > 0) {
      throw new Error('an envelope that does not continue what is held');
    }
    this.#continue(envelope, held);
  }

  #listing({ epoch, facts, listing }: Extract<Envelope, { kind: 'listing' }>): void {
    const { rv } = listing;
    const empty = { tombstones: [], horizon: rv, changes: [] };
    this.#state({ kind: 'state', epoch, facts, listing, ...empty, position: wholeAt(rv), watermark: rv });
  }

  #state(state: WholeState): void {
    this.#attempt++;
    this.#retry?.cancel();
    this.#recovering = true;
    this.#options.sink.onState(this, state);
  }

  /** Takes what came meanwhile. */
  #recovered(): void {
    this.#recovering = false;
    this.#failures = 0;
    this.#attempt++;
    const kept = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    for (const envelope of kept) this.take(envelope);
  }

  #continue(envelope: Extract<Envelope, { kind: 'batch' | 'watermark' }>, held: Position): void {
    const { sink, lane, log } = this.#options;
    const previous = previousOf(envelope);
    if (envelope.epoch !== this.#epoch || comparePositions(previous, held) > 0) {
      this.gaps++;
      log.warn({ lane: laneKey(lane), partition: this.partition, held, previous }, 'a part of the track is missing');
      this.#keep(envelope);
      this.recover();
      return;
    }
    if (envelope.kind === 'batch') {
      const { fresh, position } = continuation(envelope.batch, held);
      if (fresh.length === 0) return;
      this.#position = position;
      sink.onChanges(this, envelope.batch, fresh);
      return;
    }
    const reached = wholeAt(envelope.rv);
    if (comparePositions(reached, held) > 0) this.#position = reached;
    this.#reach(envelope.rv);
  }

  #reach(rv: ResourceVersion): void {
    this.#watermark = Math.max(this.#watermark, rv);
    this.#options.sink.onWatermark(this, rv);
  }

  #keep(envelope: Envelope): void {
    if (envelope.kind === 'batch') {
      for (const { object } of envelope.batch.changes) this.#queuedBytes += object.bytes.length;
    }
    this.#queue.push(envelope);
    if (this.#queuedBytes <= QUEUE_BYTES_MAX) return;
    // What is dropped is found missing once the rest is there, and recovered in its turn.
    this.#queue = [envelope];
    this.#queuedBytes = 0;
  }
}

function wholeAt(rv: ResourceVersion): Position {
  return { rv, index: WHOLE_VERSION };
}

function previousOf(envelope: Extract<Envelope, { kind: 'batch' | 'watermark' }>): Position {
  return envelope.kind === 'batch' ? envelope.batch.previous : envelope.previous;
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
