import { withResourceVersion } from '@dogwatch/kube/event-framer.ts';
import type { KubeObject, ObjectSchema } from '@dogwatch/kube/kube-object.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { type ChangeType, EventWindow, WindowEntry } from './event-window.ts';
import type { Interest } from './interest.ts';
import { ObjectStore, type StoreSnapshot } from './object-store.ts';

/** One change as the reflector read it; `frame` is upstream's own framed event, terminator included. */
export interface Change {
  readonly type: ChangeType;
  readonly object: KubeObject;
  readonly frame: Buffer;
}

/**
 * A place in a lane's total order. One resource version can carry many events (an expiring etcd lease deletes up to
 * about 1,000 at once), so a version alone is not a place: `index` counts the events of that version up to here.
 */
export interface Position {
  readonly rv: ResourceVersion;
  readonly index: number;
}

/** Index of a position behind every event of its version; there is room for late ones above it. */
export const WHOLE_VERSION = 2 ** 52;

/** Consecutive changes; applied only if they continue what is held: `previous <= held` (promise I4). */
export interface Batch {
  readonly previous: Position;
  readonly changes: readonly Change[];
}

/** All objects of the lane as upstream listed them at `rv`. */
export interface Listing {
  readonly rv: ResourceVersion;
  readonly objects: readonly KubeObject[];
}

/** A delete that is remembered when the window has let go of it. */
export interface Tombstone {
  /** As the DELETED event had it: its last bytes, at the version of the delete. */
  readonly object: KubeObject;
  /** Version at which it was created; 0 if that was before anybody looked. */
  readonly born: ResourceVersion;
}

export type SinceResult =
  | { readonly kind: 'from'; readonly sequence: number }
  | { readonly kind: 'expired'; readonly oldest: ResourceVersion };

/** The batch does not continue what is held: something between was lost. The lane must be repaired. */
export class ChainGap extends Error {
  readonly code = 'ChainGap';
  constructor(held: Position, batch: Position) {
    super(`a batch continues ${batch.rv}.${batch.index}, but only ${held.rv}.${held.index} is held`);
  }
}

/** Below, at or above 0 as `a` stands before, at or behind `b`. */
export function comparePositions(a: Position, b: Position): number {
  return a.rv - b.rv || a.index - b.index;
}

interface RepairedInterval {
  readonly from: ResourceVersion;
  readonly to: ResourceVersion;
}

/** Of more the oldest is forgotten, and with it all that may be resumed from up to its end. */
const REPAIRED_INTERVALS_MAX = 64;

/**
 * What a watch cache is: the current objects of a lane, the recent changes that led to them, and the version up to
 * which both are known to be complete. Watch groups follow it by `onEntries`; it never waits for them.
 *
 * A repair (upstream could not continue our watch) is a listing at R compared with what is held at watermark L. It is
 * applied at once, so nothing of it is visible before it is whole: first the objects that went, as deletes standing
 * at L, then those that changed in ascending order of their own versions, then the watermark R. Versions strictly
 * between L and R were never seen and cannot be resumed from; L itself can, and sees the repair whole.
 */
export class WatchCache {
  readonly schema: ObjectSchema;
  readonly #store = new ObjectStore();
  readonly #window: EventWindow;
  #position: Position;
  #watermark: ResourceVersion;
  #settled: ResourceVersion;
  /** Of changes up to here, which are backfilled, the object before is not known. */
  readonly #listedAt: ResourceVersion;
  #repaired: RepairedInterval[] = [];
  /** End of the last repaired interval that was forgotten. */
  #severedBelow: ResourceVersion = 0;
  #snapshot: StoreSnapshot | undefined;
  /** Called after a batch or repair has added entries at the end of the window. */
  onEntries: () => void = () => {};
  /** Called before a batch is applied that begins above the watermark, which is thereby proved complete. */
  onSettled: () => void = () => {};

  constructor(schema: ObjectSchema, listing: Listing, windowBytesMax: number) {
    this.schema = schema;
    this.#window = new EventWindow(windowBytesMax, listing.rv);
    this.#position = { rv: listing.rv, index: WHOLE_VERSION };
    this.#watermark = this.#settled = this.#listedAt = listing.rv;
    for (const object of listing.objects) this.#store.set(object);
  }

  /** Everything up to and including this version is applied. */
  get watermark(): ResourceVersion {
    return this.#watermark;
  }

  /** The last version known to be held whole: of the watermark's own, events may still be under way. */
  get settled(): ResourceVersion {
    return this.#settled;
  }

  get position(): Position {
    return this.#position;
  }

  get window(): EventWindow {
    return this.#window;
  }

  get size(): number {
    return this.#store.size;
  }

  get bytes(): number {
    return this.#store.bytes + this.#window.bytes;
  }

  get(key: string): KubeObject | undefined {
    return this.#store.get(key);
  }

  /** The objects as they are now, at `watermark`. Shared by all who ask between two changes. */
  snapshot(): StoreSnapshot {
    return (this.#snapshot ??= this.#store.snapshot());
  }

  /** Applies what is new of `batch`; throws ChainGap, and changes nothing, if it does not continue what is held. */
  apply(batch: Batch): void {
    if (comparePositions(batch.previous, this.#position) > 0) throw new ChainGap(this.#position, batch.previous);
    const from = this.#window.end;
    let place = batch.previous;
    for (const change of batch.changes) {
      const { rv } = change.object;
      place = rv === place.rv ? { rv, index: place.index + 1 } : { rv, index: 0 };
      if (comparePositions(place, this.#position) <= 0) continue;
      if (rv > this.#watermark) {
        this.#settled = this.#watermark;
        this.onSettled();
      }
      this.#put(change.type, change.object, change.frame);
      this.#position = place;
      this.#watermark = rv;
    }
    this.#announce(from);
  }

  /**
   * Moves the watermark without a change: a bookmark of the lane, or a verification watch, says that nothing but what
   * was published up to `previous` lies below. Throws ChainGap if that is not held.
   */
  advance(rv: ResourceVersion, previous: Position): void {
    if (comparePositions(previous, this.#position) > 0) throw new ChainGap(this.#position, previous);
    if (rv < this.#watermark) return;
    this.#reach(rv);
    this.onSettled();
  }

  /**
   * Makes the cache equal to `listing`. Returns false, and changes nothing, if only a new cache can follow it: the
   * listing is older than what is held, or has a change at or below the watermark, which should have been held.
   */
  repair(listing: Listing): boolean {
    const from = this.#watermark;
    if (listing.rv < from) return false;
    const first = this.#window.end;
    const listed = new Map(listing.objects.map((object) => [object.key, object]));
    const changed = [...listed.values()].filter((object) => {
      const held = this.#store.get(object.key);
      return held === undefined || held.uid !== object.uid || held.rv < object.rv;
    });
    const oldest = from + (this.#position.index < WHOLE_VERSION ? 0 : 1);
    if (changed.some(({ rv }) => rv < oldest)) return false;
    for (const held of this.snapshot().range()) {
      if (listed.get(held.key)?.uid !== held.uid) this.#repairDelete(held, from);
    }
    for (const object of changed.toSorted((a, b) => a.rv - b.rv)) {
      this.#put(this.#store.get(object.key) === undefined ? 'ADDED' : 'MODIFIED', object, undefined);
    }
    if (listing.rv > from) this.#repaired.push({ from, to: listing.rv });
    if (this.#repaired.length > REPAIRED_INTERVALS_MAX) this.#severedBelow = this.#repaired.shift()!.to;
    this.#reach(listing.rv);
    this.#announce(first);
    return true;
  }

  /**
   * Adds changes older than the lane's first listing, read from upstream's own window: all in (`start`, window start].
   */
  backfill(start: ResourceVersion, changes: readonly Change[]): void {
    const latest = new Map<string, KubeObject>();
    const entries = changes
      .filter(({ object }) => object.rv > start && object.rv <= this.#window.start)
      .map(({ type, object, frame }) => {
        const previous = latest.get(object.key);
        if (type === 'DELETED') latest.delete(object.key);
        else latest.set(object.key, object);
        const { rv } = object;
        return new WindowEntry(this.schema.encoding, { type, rv, object, previous, frame, backfilled: true });
      });
    this.#window.prepend(entries, start);
  }

  /**
   * Where a client of `interest` that holds everything up to `rv` goes on, or expired if that is not held (any more).
   * What left an interest before the lane's first listing is not known, so one that can be left goes no further back.
   */
  since(rv: ResourceVersion, interest: Interest): SinceResult {
    const start = this.#window.start;
    const known = interest.cannotBeLeft(this.schema) ? start : Math.max(start, this.#listedAt);
    const oldest = Math.max(known, this.#severedBelow, this.#repairedAround(rv)?.to ?? 0);
    if (rv < oldest) return { kind: 'expired', oldest };
    return { kind: 'from', sequence: this.#window.after(rv) };
  }

  /** True if `rv` lies inside a repaired interval, of which only the outcome is known: nothing can continue it. */
  severed(rv: ResourceVersion): boolean {
    return rv < this.#severedBelow || this.#repairedAround(rv) !== undefined;
  }

  #repairedAround(rv: ResourceVersion): RepairedInterval | undefined {
    return this.#repaired.find(({ from, to }) => from < rv && rv < to);
  }

  /** Everything up to `rv` is held whole. */
  #reach(rv: ResourceVersion): void {
    this.#watermark = this.#settled = rv;
    this.#position = { rv, index: WHOLE_VERSION };
  }

  #repairDelete(held: KubeObject, rv: ResourceVersion): void {
    this.#store.delete(held.key);
    const { encoding } = this.schema;
    const object = { ...held, rv, bytes: withResourceVersion(encoding, held.bytes, rv) };
    this.#window.push(new WindowEntry(encoding, { type: 'DELETED', rv, object, previous: held, repair: true }));
  }

  #put(type: ChangeType, object: KubeObject, frame: Buffer | undefined): void {
    const previous = type === 'DELETED' ? this.#store.delete(object.key) : this.#store.set(object);
    this.#window.push(new WindowEntry(this.schema.encoding, { type, rv: object.rv, object, previous, frame }));
  }

  #announce(from: number): void {
    if (this.#window.end === from) return;
    this.#snapshot = undefined;
    this.onEntries();
  }
}
