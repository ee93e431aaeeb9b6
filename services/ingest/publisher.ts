import type { Bus } from '@dogwatch/bus/bus.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { LaneEnd, LaneFacts } from '@dogwatch/watch/lane-view.ts';
import {
  type Change,
  type Listing,
  type Position,
  WHOLE_VERSION,
  comparePositions,
} from '@dogwatch/watch/watch-cache.ts';

/**
 * Gives a lane's changes their places in its total order and publishes them in batches: what was read in one turn of
 * the event loop travels together, so that load raises the batch and an idle lane waits for nothing.
 */
export class Publisher {
  readonly #bus: Bus;
  readonly #track: string;
  #epoch = 0;
  #pending: Change[] = [];
  #flushing: NodeJS.Immediate | undefined;
  /** Place of the last change published. */
  #published: Position = { rv: 0, index: 0 };
  /** Place of the last change read. */
  #read: Position = { rv: 0, index: 0 };
  #changesAsked = 0;
  #interrupted = false;
  /** Events of version #read.rv that a resumed watch will send again. */
  #repeats = 0;
  /** Changes read since the lane was opened. */
  changes = 0;

  constructor(bus: Bus, track: string) {
    this.#bus = bus;
    this.#track = track;
  }

  /** Names the history that is published; grows when continuity is lost. */
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

  /** Publishes all objects at `listing.rv`; `newEpoch` where they do not continue what was published. */
  listing(facts: LaneFacts, listing: Listing, newEpoch: boolean): void {
    this.flush();
    if (newEpoch) {
      if (this.#epoch > 0) this.end('expired');
      this.#epoch++;
    }
    this.#interrupted = false;
    this.#read = this.#published = { rv: listing.rv, index: WHOLE_VERSION };
    this.#bus.publish(this.#track, { kind: 'listing', epoch: this.#epoch, facts, listing });
  }

  /** Takes a change upstream sent; false if it was read before. */
  change(change: Change): boolean {
    const { rv } = change.object;
    if (rv < this.#read.rv) return false;
    if (rv === this.#read.rv && this.#repeats > 0) {
      this.#repeats--;
      return false;
    }
    this.#repeats = 0;
    this.#read = rv === this.#read.rv ? { rv, index: this.#read.index + 1 } : { rv, index: 0 };
    this.changes++;
    this.#pending.push(change);
    this.#flushing ??= setImmediate(() => this.flush());
    return true;
  }

  /** Upstream vouches that everything up to `rv` was read. */
  watermark(rv: ResourceVersion): void {
    if (this.#interrupted) return;
    if (rv <= this.#read.rv && this.#read.index >= WHOLE_VERSION) return;
    this.flush();
    if (rv < this.#read.rv) return;
    this.#read = { rv, index: WHOLE_VERSION };
    this.#bus.publish(this.#track, { kind: 'watermark', epoch: this.#epoch, previous: this.#published, rv });
    this.#published = this.#read;
  }

  /** Ends the open watches of the lane. */
  end(end: LaneEnd): void {
    this.flush();
    this.#bus.publish(this.#track, { kind: 'end', epoch: this.#epoch, end });
  }

  /** True if no change was read since this was last asked. */
  quiet(): boolean {
    const quiet = this.changes === this.#changesAsked;
    this.#changesAsked = this.changes;
    return quiet;
  }

  flush(): void {
    if (this.#flushing !== undefined) clearImmediate(this.#flushing);
    this.#flushing = undefined;
    if (this.#pending.length === 0) return;
    const batch = { previous: this.#published, changes: this.#pending };
    this.#pending = [];
    this.#published = this.#read;
    this.#bus.publish(this.#track, { kind: 'batch', epoch: this.#epoch, batch });
  }
}
