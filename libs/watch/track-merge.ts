import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Change } from './watch-cache.ts';

/** Counted on top of the frame of a change that waits: its records and references. */
const CHANGE_OVERHEAD_BYTES = 256;

/** What a merge gives: the next stretch of the lane's one total order. */
export interface Merged {
  /** Ascending by (version, partition, place in the partition). */
  readonly changes: readonly Change[];
  /** Everything of the lane up to and including this version was given, with these changes or before. */
  readonly watermark: ResourceVersion;
}

/**
 * A partition's change came at or below what was vouched for, or below the change before it: something was lost or
 * repeated, and the lane has to be synced anew. The merge is as it was before.
 */
export class LateChange extends Error {
  readonly code = 'LateChange';
  constructor(partition: number, rv: ResourceVersion, complete: ResourceVersion) {
    super(
      `a change at ${rv} came after partition ${partition} was complete up to ${complete}: the lane must be synced anew`,
    );
  }
}

/**
 * Merges the partitions of one lane into the lane's one total order by their watermarks: a change is given once every
 * partition is known to hold nothing more at or below its version. So a partition that lags holds back all others,
 * and each of them must be told its watermark often, also where it has no changes.
 *
 * What waits is bounded by `bytesMax` (frames and a fixed sum per change). Beyond it `overfull` is true after `take`,
 * and the caller gives the lane up: its open watches end cleanly (they resume by the version they hold, here or
 * elsewhere), this merge is dropped, and the lane is synced anew.
 *
 * With one partition there is nothing to wait for: everything is given at once, also above the watermark, and a late
 * event of the watermark's own version (an etcd lease that expires deletes many in one version) is passed on.
 */
export class TrackMerge {
  readonly #partitions: readonly Waiting[];
  readonly #bytesMax: number;
  #bytes = 0;
  #given: ResourceVersion;

  /** `watermark`: the version up to which everything is held already, of every partition. */
  constructor(options: { partitions: number; bytesMax: number; watermark?: ResourceVersion }) {
    this.#bytesMax = options.bytesMax;
    this.#given = options.watermark ?? 0;
    this.#partitions = Array.from({ length: options.partitions }, () => new Waiting(this.#given));
  }

  /** The last watermark given. */
  get watermark(): ResourceVersion {
    return this.#given;
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** More waits than may: if that is so after `take`, the lane has to be given up. */
  get overfull(): boolean {
    return this.#bytes > this.#bytesMax;
  }

  /** The partition all others wait for, the first of several. */
  get slowest(): number {
    const lowest = this.#lowest();
    return this.#partitions.findIndex(({ reached }) => reached === lowest);
  }

  /** Adds changes that follow what was added of `partition`. Throws LateChange, and adds none, if they cannot. */
  add(partition: number, changes: readonly Change[]): void {
    const waiting = this.#partitions[partition]!;
    // Of the one partition of a lane, late events of a version that is vouched for are still in order.
    const lowest = this.#partitions.length === 1 ? waiting.reached : waiting.reached + 1;
    let last = Math.max(waiting.last, lowest);
    for (const { object } of changes) {
      if (object.rv < last) throw new LateChange(partition, object.rv, Math.max(waiting.last, waiting.reached));
      last = object.rv;
    }
    for (const change of changes) this.#bytes += waiting.push(change);
  }

  /** Everything of `partition` up to and including `rv` was added. Below what was said before it says nothing. */
  reach(partition: number, rv: ResourceVersion): void {
    const waiting = this.#partitions[partition]!;
    waiting.reached = Math.max(waiting.reached, rv);
  }

  /** All that can be given and was not yet; undefined if that is neither a change nor a higher watermark. */
  take(): Merged | undefined {
    const watermark = this.#lowest();
    const alone = this.#partitions.length === 1;
    if (watermark === this.#given && !(alone && this.#partitions[0]!.next < Number.POSITIVE_INFINITY)) return undefined;
    this.#given = watermark;
    return { changes: this.#merge(alone ? Number.MAX_SAFE_INTEGER : watermark), watermark };
  }

  #lowest(): ResourceVersion {
    let lowest = Number.POSITIVE_INFINITY;
    for (const { reached } of this.#partitions) if (reached < lowest) lowest = reached;
    return lowest;
  }

  /**
   * Takes all changes up to `limit`. The lowest is looked for among all partitions each time: for the few there are
   * that is quicker than a heap, and a partition gives all it has up to the next one's version at once.
   */
  #merge(limit: ResourceVersion): Change[] {
    const changes: Change[] = [];
    const ready = this.#partitions.filter(({ next }) => next <= limit);
    while (ready.length > 0) {
      let lowest = 0;
      let others = Number.POSITIVE_INFINITY;
      for (let at = 1; at < ready.length; at++) {
        const { next } = ready[at]!;
        if (next < ready[lowest]!.next) {
          others = ready[lowest]!.next;
          lowest = at;
        } else if (next < others) {
          others = next;
        }
      }
      const waiting = ready[lowest]!;
      // Of a version that several have, each gives all before the next does.
      this.#bytes -= waiting.shiftUpTo(Math.min(limit, Math.max(waiting.next, others - 1)), changes);
      if (waiting.next > limit) ready.splice(lowest, 1);
    }
    return changes;
  }
}

/** What waits of one partition, in its order. */
class Waiting {
  /** Everything up to here was added. */
  reached: ResourceVersion;
  /** Version of the last change added; 0 before the first. */
  last: ResourceVersion = 0;
  /** Version of the first change that waits; infinite if none does. */
  next: ResourceVersion = Number.POSITIVE_INFINITY;
  #changes: (Change | undefined)[] = [];
  /** Index in #changes of the first that waits; those before it are cut off now and then. */
  #head = 0;

  constructor(reached: ResourceVersion) {
    this.reached = reached;
  }

  /** Returns the bytes it counts for. */
  push(change: Change): number {
    this.#changes.push(change);
    this.last = change.object.rv;
    if (this.next === Number.POSITIVE_INFINITY) this.next = change.object.rv;
    return bytesOf(change);
  }

  /** Moves all changes up to `rv` to the end of `into`; returns the bytes they counted for. */
  shiftUpTo(rv: ResourceVersion, into: Change[]): number {
    let bytes = 0;
    while (this.next <= rv) {
      const change = this.#changes[this.#head]!;
      into.push(change);
      bytes += bytesOf(change);
      this.#changes[this.#head++] = undefined;
      this.next = this.#changes[this.#head]?.object.rv ?? Number.POSITIVE_INFINITY;
    }
    if (this.#head === this.#changes.length) {
      this.#changes = [];
      this.#head = 0;
    } else if (this.#head > 1024 && this.#head * 2 > this.#changes.length) {
      this.#changes.splice(0, this.#head);
      this.#head = 0;
    }
    return bytes;
  }
}

function bytesOf({ frame }: Change): number {
  return frame.length + CHANGE_OVERHEAD_BYTES;
}
