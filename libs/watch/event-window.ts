import { frameEvent, withResourceVersion } from '@dogwatch/kube/event-framer.ts';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { Encoding } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';

export type ChangeType = 'ADDED' | 'MODIFIED' | 'DELETED';

/** Counted on top of an entry's bytes: the records and references themselves. */
const ENTRY_OVERHEAD_BYTES = 256;

/** What a window entry is made of; see there. */
export interface WindowChange {
  readonly type: ChangeType;
  readonly object: KubeObject;
  readonly index?: number;
  readonly previous: KubeObject | undefined;
  readonly frame?: Buffer | undefined;
  readonly repair?: boolean;
  readonly backfilled?: boolean;
}

/**
 * One change of one object. It keeps the object before and after, because an object that leaves a selector is a
 * DELETED with the previous bytes (protocol row W15), and its frames, because all watchers share them.
 */
export class WindowEntry {
  readonly type: ChangeType;
  /** Version of the event; for a repair delete the watermark it was found at. */
  readonly rv: ResourceVersion;
  /** Its place among the events of its version, as in `Position`; -1 where it was not read as an event of the lane. */
  readonly index: number;
  readonly object: KubeObject;
  /** The object as it was before; undefined if it did not exist, or is not known (`backfilled`). */
  readonly previous: KubeObject | undefined;
  /** A delete found by comparing with a list: it stands at a version that may already have been a bookmark. */
  readonly repair: boolean;
  /** From upstream's own window, older than the lane's first list: what was before is not known. */
  readonly backfilled: boolean;
  readonly #encoding: Encoding;
  readonly #frames: Partial<Record<ChangeType, Buffer>> = {};
  #departure: Buffer | undefined;

  constructor(encoding: Encoding, change: WindowChange) {
    this.#encoding = encoding;
    this.type = change.type;
    this.rv = change.object.rv;
    this.index = change.index ?? -1;
    this.object = change.object;
    this.previous = change.previous;
    this.repair = change.repair ?? false;
    this.backfilled = change.backfilled ?? false;
    if (change.frame !== undefined) this.#frames[change.type] = change.frame;
  }

  /** The framed event as `type`, made once. */
  frame(type: ChangeType): Buffer {
    return (this.#frames[type] ??= frameEvent(this.#encoding, type, this.object.bytes));
  }

  /** The DELETED for watchers whose selector the object left: previous bytes, this event's version. */
  departure(): Buffer {
    const { previous } = this;
    if (previous === undefined) throw new Error('an object that was not there cannot leave a selector');
    return (this.#departure ??= frameEvent(
      this.#encoding,
      'DELETED',
      withResourceVersion(this.#encoding, previous.bytes, this.rv),
    ));
  }

  /** Bytes this entry may hold, the previous object's included. */
  get bytes(): number {
    return ENTRY_OVERHEAD_BYTES + this.object.bytes.length + (this.previous?.bytes.length ?? 0);
  }
}

/**
 * The recent changes of a lane in order of arrival, bounded by bytes: when full the oldest are evicted, and `start`
 * moves up. Every entry has a sequence number, dense and local to this process.
 */
export class EventWindow {
  readonly #bytesMax: number;
  #entries: (WindowEntry | undefined)[] = [];
  /** Index in #entries of the oldest entry still held; the evicted before it are cut off now and then. */
  #head = 0;
  /** Sequence number of #entries[0]. */
  #base = 0;
  #bytes = 0;
  #complete = true;
  #start: ResourceVersion;

  constructor(bytesMax: number, start: ResourceVersion) {
    this.#bytesMax = bytesMax;
    this.#start = start;
  }

  /** Every change above this version is held; a watch may resume from it, or from any version above. */
  get start(): ResourceVersion {
    return this.#start;
  }

  /** True while nothing was evicted: what came before `start` was never here. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Sequence number of the oldest entry held. */
  get first(): number {
    return this.#base + this.#head;
  }

  /** Sequence number the next entry will get. */
  get end(): number {
    return this.#base + this.#entries.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#entries.length - this.#head;
  }

  at(sequence: number): WindowEntry {
    const entry = this.#entries[sequence - this.#base];
    if (entry === undefined) throw new RangeError(`window entry ${sequence} is not in [${this.first}, ${this.end})`);
    return entry;
  }

  push(entry: WindowEntry): void {
    this.#entries.push(entry);
    this.#bytes += entry.bytes;
    while (this.#bytes > this.#bytesMax && this.size > 1) this.#evict();
    if (this.#head > 1024 && this.#head * 2 > this.#entries.length) {
      this.#entries.splice(0, this.#head);
      this.#base += this.#head;
      this.#head = 0;
    }
  }

  /** Puts changes in (start, this.start] before the oldest entry; sequence numbers below the present ones. */
  prepend(entries: readonly WindowEntry[], start: ResourceVersion): void {
    if (start >= this.#start) return;
    const kept = this.#entries.slice(this.#head);
    this.#base = this.first - entries.length;
    this.#entries = [...entries, ...kept];
    this.#head = 0;
    this.#start = start;
    for (const entry of entries) this.#bytes += entry.bytes;
    while (this.#bytes > this.#bytesMax && this.size > 1) this.#evict();
  }

  /**
   * Sequence number of the first change a client that holds everything up to `rv` has yet to see. Repair deletes
   * standing at `rv` are replayed to it, because it may hold `rv` from a bookmark sent before the repair.
   */
  after(rv: ResourceVersion): number {
    let low = this.#head;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#entries[middle]!.rv < rv) low = middle + 1;
      else high = middle;
    }
    // Late events of `rv` may follow its repair deletes, so from here on it is a walk: of one version at most.
    for (; low < this.#entries.length; low++) {
      const entry = this.#entries[low]!;
      if (entry.rv !== rv || entry.repair) break;
    }
    return this.#base + low;
  }

  #evict(): void {
    const entry = this.#entries[this.#head]!;
    this.#entries[this.#head] = undefined;
    this.#head++;
    this.#bytes -= entry.bytes;
    this.#complete = false;
    // A repair delete shares its version with events before it: a resume at that version would miss it now. Never down
    // again, for late events of that version may follow.
    this.#start = Math.max(this.#start, entry.repair ? entry.rv + 1 : entry.rv);
  }
}
