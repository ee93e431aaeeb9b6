import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Tombstone } from './watch-cache.ts';

interface Kept extends Tombstone {
  /** Found by a repair: it stands at a version that clients may hold without it (see WindowEntry). */
  readonly repair: boolean;
}

/** Counted on top of a tombstone's bytes: its records, key and references. */
const TOMBSTONE_OVERHEAD_BYTES = 256;

/**
 * The deletes of a lane in ascending order, each that of one (key, uid), bounded by bytes: beyond it the oldest is
 * dropped, and `horizon` moves up.
 */
export class Tombstones {
  readonly #bytesMax: number;
  #kept: (Kept | undefined)[] = [];
  /** Index in #kept of the oldest; those before it are cut off now and then. */
  #head = 0;
  #bytes = 0;
  #horizon: ResourceVersion;

  /** Every delete above `horizon` is in `tombstones`, which ascend. */
  constructor(bytesMax: number, horizon: ResourceVersion, tombstones: readonly Tombstone[]) {
    this.#bytesMax = bytesMax;
    this.#horizon = horizon;
    for (const tombstone of tombstones) this.add(tombstone, false);
  }

  /** Who holds this version, or one above it, can be told of every delete it has yet to see. */
  get horizon(): ResourceVersion {
    return this.#horizon;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#kept.length - this.#head;
  }

  /** Remembers a delete, which is at or above all others. */
  add({ object, born }: Tombstone, repair: boolean): void {
    this.#kept.push({ object, born, repair });
    this.#bytes += bytesOf(object);
    while (this.#bytes > this.#bytesMax) this.#drop();
    if (this.#head > 1024 && this.#head * 2 > this.#kept.length) {
      this.#kept.splice(0, this.#head);
      this.#head = 0;
    }
  }

  /** Those a client that holds everything up to `rv` has yet to see, ascending. */
  *after(rv: ResourceVersion): Generator<Tombstone, void> {
    let low = this.#head;
    let high = this.#kept.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#kept[middle]!.object.rv < rv) low = middle + 1;
      else high = middle;
    }
    for (; low < this.#kept.length; low++) {
      const tombstone = this.#kept[low]!;
      if (tombstone.object.rv > rv || tombstone.repair) yield tombstone;
    }
  }

  #drop(): void {
    const { object, repair } = this.#kept[this.#head]!;
    this.#kept[this.#head++] = undefined;
    this.#bytes -= bytesOf(object);
    this.#horizon = Math.max(this.#horizon, repair ? object.rv + 1 : object.rv);
  }
}

function bytesOf({ bytes }: KubeObject): number {
  return TOMBSTONE_OVERHEAD_BYTES + bytes.length;
}
