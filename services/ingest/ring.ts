import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import {
  type Batch,
  type Change,
  type Position,
  WHOLE_VERSION,
  comparePositions,
} from '@dogwatch/watch/watch-cache.ts';
import { Fifo } from './fifo.ts';

/** Counted on top of a change's frame: the records and references themselves. */
const ENTRY_OVERHEAD_BYTES = 256;
/** Bounds of one envelope; only the events of one version may exceed them, for they are never split. */
const BATCH_BYTES_MAX = 256 * 1024;
const BATCH_CHANGES_MAX = 256;

/** One change as it was read. */
export interface RingEntry {
  readonly change: Change;
  /** Place before it in its partition: of the change before, or of what vouched for its version before it came. */
  readonly previous: Position;
  readonly position: Position;
  /** Monotonic time in ms. */
  readonly readAt: number;
}

interface Kept extends RingEntry {
  readonly partition: number;
  /** Bytes of all entries of its partition up to it, since the ring was made. */
  readonly through: number;
}

interface Partition {
  readonly entries: Fifo<Kept>;
  /** Everything of the partition behind this place is held. */
  start: Position;
  /** Bytes of all entries that ever were. */
  through: number;
}

/**
 * What was last read of a lane, by partition, bounded by bytes: when full the oldest are evicted, whatever their
 * partition. What is published live, what is appended to the log and what a follower lacks are all read from here, so
 * a place in it is all that each of them has to keep. Sequence numbers are a partition's own.
 */
export class Ring {
  readonly #bytesMax: number;
  readonly #partitions: readonly Partition[];
  readonly #order = new Fifo<Kept>();
  #bytes = 0;

  constructor(partitions: number, bytesMax: number) {
    this.#bytesMax = bytesMax;
    this.#partitions = Array.from({ length: partitions }, () => ({
      entries: new Fifo<Kept>(),
      start: { rv: 0, index: WHOLE_VERSION },
      through: 0,
    }));
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Lets go of everything: what is pushed from now on continues all there was up to `rv`, of every partition. */
  restart(rv: ResourceVersion): void {
    for (const partition of this.#partitions) {
      partition.entries.clear();
      partition.start = { rv, index: WHOLE_VERSION };
    }
    this.#order.clear();
    this.#bytes = 0;
  }

  push(partition: number, entry: RingEntry): void {
    const into = this.#partitions[partition]!;
    const bytes = bytesOf(entry);
    into.through += bytes;
    const { change, previous, position, readAt } = entry;
    const kept = { change, previous, position, readAt, partition, through: into.through };
    into.entries.push(kept);
    this.#order.push(kept);
    this.#bytes += bytes;
  }

  /** Evicts what is above the bound. Until then nothing goes, so that what must be used first can be. */
  trim(): void {
    while (this.#bytes > this.#bytesMax) {
      const oldest = this.#order.shift();
      if (oldest === undefined) return;
      const partition = this.#partitions[oldest.partition]!;
      partition.entries.shift();
      partition.start = oldest.position;
      this.#bytes -= bytesOf(oldest);
    }
  }

  /** Sequence number of the oldest entry held; `end` if there is none. */
  first(partition: number): number {
    return this.#partitions[partition]!.entries.first;
  }

  end(partition: number): number {
    return this.#partitions[partition]!.entries.end;
  }

  at(partition: number, sequence: number): RingEntry {
    return this.#partitions[partition]!.entries.at(sequence)!;
  }

  /** Place just before the entry of this number, which is held or the next to come. */
  before(partition: number, sequence: number): Position {
    const { entries, start } = this.#partitions[partition]!;
    return sequence <= entries.first ? start : entries.at(sequence - 1)!.position;
  }

  /** Place of the last entry. */
  last(partition: number): Position {
    return this.before(partition, this.end(partition));
  }

  /** Number of the first entry behind `position`; undefined if some that were are not held any more. */
  after(partition: number, position: Position): number | undefined {
    const { entries, start } = this.#partitions[partition]!;
    if (comparePositions(position, start) < 0) return undefined;
    let low = entries.first;
    let high = entries.end;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (comparePositions(entries.at(middle)!.position, position) > 0) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Number of the first entry read at `time` or later. */
  since(partition: number, time: number): number {
    const { entries } = this.#partitions[partition]!;
    let sequence = entries.end;
    while (sequence > entries.first && entries.at(sequence - 1)!.readAt >= time) sequence--;
    return sequence;
  }

  /** Bytes of the entries in [from, to) that are still held. */
  bytesBetween(partition: number, from: number, to: number): number {
    const { entries, through } = this.#partitions[partition]!;
    const upTo = (sequence: number): number => {
      const entry = entries.at(sequence);
      return entry === undefined ? through : entry.through - bytesOf(entry);
    };
    return Math.max(0, upTo(to) - upTo(Math.max(from, entries.first)));
  }

  /** What travels together from number `from` on: up to `to`, the bounds of an envelope, or a break in the chain. */
  batch(partition: number, from: number, to: number): { readonly batch: Batch; readonly next: number } {
    const { entries } = this.#partitions[partition]!;
    const { previous } = entries.at(from)!;
    const changes: Change[] = [];
    let bytes = 0;
    let last = previous;
    let next = from;
    for (; next < to; next++) {
      const entry = entries.at(next)!;
      const full = bytes >= BATCH_BYTES_MAX || changes.length >= BATCH_CHANGES_MAX;
      if (full && entry.position.rv !== last.rv) break;
      if (comparePositions(entry.previous, last) !== 0) break;
      changes.push(entry.change);
      bytes += entry.change.frame.length;
      last = entry.position;
    }
    return { batch: { previous, changes }, next };
  }
}

function bytesOf({ change }: RingEntry): number {
  return ENTRY_OVERHEAD_BYTES + change.frame.length;
}
