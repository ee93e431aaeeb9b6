import type { Bus } from '@dogwatch/bus/bus.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Clock, Timer } from '@dogwatch/process/clock.ts';
import type { LaneEnd, LaneFacts } from '@dogwatch/watch/lane-view.ts';
import type { Listing, Position } from '@dogwatch/watch/watch-cache.ts';
import type { LogTail } from './log-tail.ts';
import type { Ring } from './ring.ts';

/** Followers of several partitions merge them by watermark, so a partition without changes is told this often. */
const WATERMARK_MS = 20;

/** One track that is published. */
export interface LiveTrack {
  readonly track: string;
  readonly term: number;
  /** What is in the ring behind this place is published. */
  readonly above: Position;
  readonly tail: LogTail | undefined;
}

interface Live {
  readonly track: string;
  readonly tail: LogTail | undefined;
  term: number;
  /** Number of the next entry of the ring to be published. */
  next: number;
  /** The highest version followers know to be complete. */
  told: ResourceVersion;
}

/** The tracks of a lane that this ingest leads: publishes what comes into the ring, and the watermarks. */
export class LiveTracks {
  readonly #bus: Bus;
  readonly #clock: Clock;
  readonly #ring: Ring;
  readonly #onDue: () => void;
  readonly #lives: readonly Live[];
  #vouchedAt = -Infinity;
  #due: Timer | undefined;

  /** `onDue` is called when a watermark that was put off is due: `flush` then sends it. */
  constructor(
    options: { readonly bus: Bus; readonly clock: Clock; readonly ring: Ring; readonly onDue: () => void },
    tracks: readonly LiveTrack[],
  ) {
    const { bus, clock, ring, onDue } = options;
    this.#bus = bus;
    this.#clock = clock;
    this.#ring = ring;
    this.#onDue = onDue;
    this.#lives = tracks.map(({ track, term, above, tail }, partition) => {
      const next = ring.after(partition, above) ?? ring.first(partition);
      return { track, term, tail, next, told: 0 };
    });
    for (const { tail, next } of this.#lives) tail?.start(next);
  }

  get tails(): readonly LogTail[] {
    return this.#lives.flatMap(({ tail }) => tail ?? []);
  }

  /**
   * Publishes what is new in the ring. All of the lane up to `rv` was read, which the other partitions are told if that
   * is due, or `isAwaited`.
   */
  flush(epoch: number, rv: ResourceVersion, isAwaited: boolean): void {
    for (const [partition, live] of this.#lives.entries()) {
      const end = this.#ring.end(partition);
      if (live.next === end) continue;
      this.#publishEntries(epoch, { partition, live, from: live.next });
      live.next = end;
      live.told = Math.max(live.told, this.#ring.last(partition).rv);
      live.tail?.wake(epoch, end);
    }
    if (this.#lives.length === 1 || this.#lives.every(({ told }) => told >= rv)) return;
    const wait = this.#vouchedAt + WATERMARK_MS - this.#clock.now();
    if (wait <= 0 || isAwaited) {
      this.#tell(epoch, rv);
    } else {
      this.#due ??= this.#clock.setTimeout(() => {
        this.#due = undefined;
        this.#onDue();
      }, wait);
    }
  }

  /** Everything up to `rv` was published. */
  watermark(epoch: number, rv: ResourceVersion): void {
    // Also to those that were told by a change: an event of its version may have been missing.
    for (const live of this.#lives) live.told = 0;
    this.#tell(epoch, rv);
  }

  /** Publishes all objects there are, by partition. */
  listings(epoch: number, facts: LaneFacts, listings: readonly Listing[]): void {
    for (const [partition, live] of this.#lives.entries()) {
      const listing = listings[partition]!;
      live.next = this.#ring.first(partition);
      live.told = listing.rv;
      const envelope = { kind: 'listing', epoch, facts, listing } as const;
      this.#publish(live, envelope);
      live.tail?.listing(envelope, live.next);
    }
  }

  end(epoch: number, end: LaneEnd): void {
    for (const live of this.#lives) {
      const envelope = { kind: 'end', epoch, end } as const;
      this.#publish(live, envelope);
      if (end === 'ended') live.tail?.end(envelope);
    }
  }

  /** Publishes again what was read since `time`, for followers that were cut off; they skip what they have. */
  republish(epoch: number, time: number): void {
    for (const [partition, live] of this.#lives.entries()) {
      const from = Math.min(live.next, this.#ring.since(partition, time));
      this.#publishEntries(epoch, { partition, live, from });
    }
  }

  /** Tells the log where idle tracks stand. */
  vouchInLog(epoch: number, rv: ResourceVersion): void {
    for (const { tail } of this.#lives) tail?.vouch(epoch, rv);
  }

  /** The track goes on under another leadership of its own. */
  succeed(track: string, term: number): void {
    for (const live of this.#lives) if (live.track === track) live.term = term;
  }

  /** Nothing is published any more. */
  close(): void {
    this.#due?.cancel();
    for (const { track, tail } of this.#lives) {
      tail?.close();
      this.#bus.cease(track);
    }
  }

  #publishEntries(epoch: number, { partition, live, from }: { partition: number; live: Live; from: number }): void {
    const end = this.#ring.end(partition);
    for (let at = Math.max(from, this.#ring.first(partition)); at < end;) {
      const { batch, next } = this.#ring.batch(partition, at, end);
      this.#publish(live, { kind: 'batch', epoch, batch });
      at = next;
    }
  }

  #tell(epoch: number, rv: ResourceVersion): void {
    this.#due?.cancel();
    this.#due = undefined;
    this.#vouchedAt = this.#clock.now();
    for (const [partition, live] of this.#lives.entries()) {
      if (live.told >= rv) continue;
      live.told = rv;
      this.#publish(live, { kind: 'watermark', epoch, previous: this.#ring.last(partition), rv });
    }
  }

  #publish({ track, term }: Live, envelope: Envelope): void {
    this.#bus.publish(track, envelope, term);
  }
}
