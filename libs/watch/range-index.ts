import { type Hash64, isLess } from '@dogwatch/kube/fnv1a64.ts';
import type { ShardRange } from '@dogwatch/kube/shard-selector.ts';

interface Entry<T> {
  readonly start: Hash64;
  readonly end: Hash64;
  readonly thing: T;
}

/**
 * Things found by the ranges of hashes they are under: an interval tree, kept as an array ascending by start, of which
 * each part knows how far its ranges reach. Finding costs O(log n) for each thing found, a change O(n).
 */
export class RangeIndex<T> {
  #entries: Entry<T>[] = [];
  /** For the middle of each part of #entries that `#visit` may be in, the highest end in that part. */
  #reach: Hash64[] = [];
  #changed = false;

  get empty(): boolean {
    return this.#entries.length === 0;
  }

  /** `ranges` must be disjoint: a thing is found once for each that a hash lies in. */
  add(ranges: readonly ShardRange[], thing: T): void {
    for (const { start, end } of ranges) this.#entries.splice(this.#after(start), 0, { start, end, thing });
    this.#changed = true;
  }

  remove(thing: T): void {
    this.#entries = this.#entries.filter((entry) => entry.thing !== thing);
    this.#changed = true;
  }

  /** Calls `found` with every thing under a range that `hash` lies in. */
  visit(hash: Hash64, found: (thing: T) => void): void {
    if (this.#changed) {
      this.#reach = this.#entries.map(({ end }) => end);
      this.#measure(0, this.#entries.length);
      this.#changed = false;
    }
    this.#visit(0, this.#entries.length, hash, found);
  }

  #visit(from: number, to: number, hash: Hash64, found: (thing: T) => void): void {
    if (from >= to) return;
    const middle = (from + to) >>> 1;
    if (!isLess(hash, this.#reach[middle]!)) return;
    this.#visit(from, middle, hash, found);
    const { start, end, thing } = this.#entries[middle]!;
    if (isLess(hash, start)) return;
    if (isLess(hash, end)) found(thing);
    this.#visit(middle + 1, to, hash, found);
  }

  /** Sets how far the ranges of a part reach; returns it. */
  #measure(from: number, to: number): Hash64 | undefined {
    if (from >= to) return undefined;
    const middle = (from + to) >>> 1;
    let reach = this.#entries[middle]!.end;
    for (const part of [this.#measure(from, middle), this.#measure(middle + 1, to)]) {
      if (part !== undefined && isLess(reach, part)) reach = part;
    }
    this.#reach[middle] = reach;
    return reach;
  }

  /** Place behind every entry that starts at or below `start`. */
  #after(start: Hash64): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isLess(start, this.#entries[middle]!.start)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
