import { withResourceVersion } from '@dogwatch/kube/event-framer.ts';
import { Attributes, type KubeObject, type ObjectSchema } from '@dogwatch/kube/kube-object.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { type ChangeType, EventWindow, type WindowChange, WindowEntry } from './event-window.ts';
import { type History, changesBehind, changesFrom, rewind } from './history.ts';
import type { Interest } from './interest.ts';
import { ObjectStore, type StoreSnapshot } from './object-store.ts';
import { PastState, PastStates, changedSince } from './past-state.ts';
import { RepairedIntervals } from './repaired-intervals.ts';
import { Selection } from './selection.ts';
import { type StateEvent, stateDiff } from './state-diff.ts';
import { Tombstones } from './tombstones.ts';

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

/** How far `part` goes back. */
const RECENT_CHANGES = 1_000;

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
  /** Version at which it was created, or found by a repair; 0 if that was before anybody looked. */
  readonly born: ResourceVersion;
}

export interface WatchCacheOptions {
  /** Bound of the event window in bytes. */
  readonly windowBytesMax: number;
  /** Bound of the remembered deletes in bytes. */
  readonly tombstoneBytesMax: number;
  /**
   * Whether who was away for longer than the window may be told of the state instead of every change. Off where each
   * change counts, and where one version carries many.
   */
  readonly stateDiff: boolean;
  /** Every delete above this version is in `tombstones`; the listing's where nothing is known of what came before. */
  readonly horizon?: ResourceVersion;
  /** Deletes at or below the listing, ascending. */
  readonly tombstones?: readonly Tombstone[];
}

export type SinceResult =
  /** Every change from this window sequence number on. */
  | { readonly kind: 'from'; readonly sequence: number }
  /** Not every change is held, but the state and what went: see `diff`. */
  | { readonly kind: 'diff' }
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

/**
 * True if something between `held` and what continues `previous` is missing. Where every version is one event
 * (`wholeVersions`, all but Events), who has it has all of it, whether told so or not.
 */
export function isGap(held: Position, previous: Position, wholeVersions: boolean): boolean {
  return wholeVersions ? previous.rv > held.rv : comparePositions(previous, held) > 0;
}

/**
 * What a watch cache is: the current objects of a lane, the recent changes that led to them, what went for longer than
 * that, and the version up to which all are known to be complete. Watch groups follow it by `onEntries`; it never waits for them.
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
  readonly #tombstones: Tombstones;
  readonly #stateDiff: boolean;
  #position: Position;
  #watermark: ResourceVersion;
  #settled: ResourceVersion;
  /** Of changes up to here, which are backfilled, the object before is not known. */
  readonly #listedAt: ResourceVersion;
  readonly #repaired: RepairedIntervals;
  /** From this window entry on changes were read one by one, and everything at or below `rv` was held before. */
  #exactFrom: { readonly first: number; readonly rv: ResourceVersion };
  #snapshot: StoreSnapshot | undefined;
  readonly #pastStates = new PastStates();
  /** Called after a batch or repair has added entries at the end of the window. */
  onEntries: () => void = () => {};
  /** Called before a batch is applied that begins above the watermark, which is thereby proved complete. */
  onSettled: () => void = () => {};

  constructor(schema: ObjectSchema, listing: Listing, options: WatchCacheOptions) {
    const { windowBytesMax, tombstoneBytesMax, stateDiff, horizon = listing.rv, tombstones = [] } = options;
    this.schema = schema;
    this.#stateDiff = stateDiff;
    this.#window = new EventWindow(windowBytesMax, listing.rv);
    this.#exactFrom = { first: this.#window.end, rv: listing.rv };
    this.#tombstones = new Tombstones(tombstoneBytesMax, horizon, stateDiff ? tombstones : []);
    this.#repaired = new RepairedIntervals(horizon > listing.rv ? horizon : 0);
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
    return this.#store.bytes + this.#window.bytes + this.#tombstones.bytes;
  }

  /** Who holds this version, or one above it, can be told of everything that went since. */
  get horizon(): ResourceVersion {
    return this.#tombstones.horizon;
  }

  /** Bytes of the deletes that are remembered. */
  get tombstoneBytes(): number {
    return this.#tombstones.bytes;
  }

  get(key: string): KubeObject | undefined {
    return this.#store.get(key);
  }

  /** The objects as they are now, at `watermark`. Shared by all who ask between two changes. */
  snapshot(): StoreSnapshot {
    return (this.#snapshot ??= this.#store.snapshot());
  }

  /** The objects of `interest` as they are now, in key order; later changes do not disturb it. */
  select(interest: Interest): Selection {
    return new Selection(interest, { schema: this.schema, store: this.#store, snapshot: this.snapshot() });
  }

  /**
   * The objects of `interest` as they were at `rv`, or undefined if that is not held: neither change by change nor as
   * a state that was kept. Costs the changes since then, once while it is among the last few asked for.
   */
  at(rv: ResourceVersion, interest: Interest): PastState | undefined {
    const kept = this.#pastStates.get(rv, interest);
    if (kept !== undefined) return kept;
    const whole = this.#isWhole(this.#position) ? this.#watermark : this.#settled;
    if (rv < this.#exact.rv || rv > whole) return undefined;
    const before = changedSince(this.#window, rv);
    return this.#pastStates.keep(new PastState(rv, this.schema, { snapshot: this.snapshot(), before }));
  }

  /**
   * The objects of `interest` as they are now, which are proved to be those of `rv`: for `at`, as long as the window
   * goes back so far.
   */
  keep(rv: ResourceVersion, interest: Interest): PastState {
    const kept = this.#pastStates.get(rv, interest);
    if (kept !== undefined) return kept;
    return this.#pastStates.keep(new PastState(rv, this.schema, { snapshot: this.snapshot() }), interest);
  }

  /** Applies what is new of `batch`; throws ChainGap, and changes nothing, if it does not continue what is held. */
  apply(batch: Batch): void {
    if (isGap(this.#position, batch.previous, this.#stateDiff)) throw new ChainGap(this.#position, batch.previous);
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
      this.#put(change, place.index);
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
    if (isGap(this.#position, previous, this.#stateDiff)) throw new ChainGap(this.#position, previous);
    if (rv < this.#watermark) return;
    this.#reach(rv);
    this.onSettled();
  }

  /**
   * Makes the cache equal to `listing`. Returns false, and changes nothing, if only a new cache can follow it: the
   * listing is older than what is held, or has a change at or below the watermark, which should have been held.
   * A kube-apiserver of another version writes an object it did not change with other bytes: these are taken, without
   * an event, as by its own watch cache.
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
    const deletes = this.#window.end > first;
    this.#takeOtherBytes(listed.values());
    for (const object of changed.toSorted((a, b) => a.rv - b.rv)) {
      const previous = this.#store.set(object, object.rv);
      this.#push({ type: previous === undefined ? 'ADDED' : 'MODIFIED', object, previous });
    }
    this.#repaired.add({ from, to: listing.rv }, deletes);
    this.#reach(listing.rv);
    if (listing.rv > from || this.#window.end > first) this.#exactFrom = { first: this.#window.end, rv: listing.rv };
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
        return new WindowEntry(this.schema.encoding, { type, object, previous, frame, backfilled: true });
      });
    this.#window.prepend(entries, start);
  }

  /**
   * Where a client of `interest` that holds everything up to `rv` goes on, or expired if that is not held (any more).
   * What left an interest before the lane's first listing is not known, so one that can be left goes no further back.
   */
  since(rv: ResourceVersion, interest: Interest): SinceResult {
    const { start } = this.#window;
    const known = interest.cannotBeLeft(this.schema) ? start : Math.max(start, this.#listedAt);
    const oldest = Math.max(known, this.#repaired.after(rv));
    if (rv >= oldest) return { kind: 'from', sequence: this.#window.after(rv) };
    // A client inside a repaired interval may hold an object that came and went in it, of which there is no tombstone.
    if (this.hasDiff(rv, interest) && !this.severed(rv)) return { kind: 'diff' };
    return { kind: 'expired', oldest };
  }

  /**
   * True if who was sent everything up to `rv` by this cache can go on with a `diff`. Who comes with `rv` from elsewhere
   * can if it is not `severed` either.
   */
  hasDiff(rv: ResourceVersion, interest: Interest): boolean {
    return this.#stateDiff && rv >= this.#tombstones.horizon && interest.cannotBeLeft(this.schema);
  }

  /**
   * The newest state of every object of `interest` that changed since `rv`, and every departure, ascending, as of now:
   * walked at leisure, later changes do not disturb it. To be asked where `since` says so.
   */
  diff(rv: ResourceVersion, interest: Interest): Iterator<StateEvent, void> {
    const departed: Tombstone[] = [];
    for (const tombstone of this.#tombstones.after(rv)) {
      if (tombstone.born <= rv && interest.matches(new Attributes(this.schema, tombstone.object))) {
        departed.push(tombstone);
      }
    }
    return stateDiff(rv, this.select(interest), departed);
  }

  /** True if `rv` lies inside a repaired interval, of which only the outcome is known: nothing can continue it. */
  severed(rv: ResourceVersion): boolean {
    return this.#repaired.has(rv);
  }

  /**
   * All there is, from the lowest version on from which it is held change by change. Of repaired intervals only the
   * last one's end is told, as the horizon. When objects were created is known of those in the changes alone.
   */
  history(): History {
    return this.#historyFrom(this.#exact);
  }

  /** The same without the changes: the objects as they are now. */
  present(): History {
    return this.#historyFrom({ first: this.#window.end, rv: this.#watermark });
  }

  /**
   * Of the objects of these keys, and those of these values of the indexed field, what `history` tells of all, but of
   * the last changes only: who comes from another server is a few behind.
   */
  part(keys: readonly string[], indexed: readonly string[]): History {
    const from = this.#recent;
    const named = new Set(keys);
    const values = new Set(indexed.filter((value) => value !== ''));
    const concerns = (object: KubeObject): boolean => named.has(object.key) || values.has(object.indexed);
    const { before, changes } = changesFrom(this.#window, from, concerns);
    const untouched = new Set(keys);
    for (const value of values) for (const key of this.#store.keysOf(value)) untouched.add(key);
    for (const key of before.keys()) untouched.delete(key);
    const objects = [...untouched].flatMap((key) => this.#store.get(key) ?? []);
    for (const was of before.values()) if (was !== undefined && concerns(was)) objects.push(was);
    const { rv, horizon } = this.#known(from.rv);
    const tombstones = this.#gone(horizon, from.rv).filter(({ object }) => concerns(object));
    return { listing: { rv, objects }, tombstones, horizon, changes };
  }

  /** The changes behind `position`; undefined if not all of them are held. None where it is not reached yet. */
  changesSince(position: Position): readonly Change[] | undefined {
    const { first, rv } = this.#exact;
    if (position.rv < rv) return undefined;
    if (position.rv === rv && !this.#isWhole(position)) {
      const next = first < this.#window.end ? this.#window.at(first) : undefined;
      if (next?.rv !== rv || position.index < next.index - 1) return undefined;
    }
    return changesBehind(this.#window, first, position);
  }

  get #exact(): { readonly first: number; readonly rv: ResourceVersion } {
    const { first, start } = this.#window;
    return first > this.#exactFrom.first ? { first, rv: Math.min(start, this.#watermark) } : this.#exactFrom;
  }

  get #recent(): { readonly first: number; readonly rv: ResourceVersion } {
    const first = this.#window.end - RECENT_CHANGES;
    return first > this.#exact.first ? { first, rv: this.#window.at(first - 1).rv } : this.#exact;
  }

  /** True if no more events of its version can come behind `position`. */
  #isWhole({ index }: Position): boolean {
    return this.#stateDiff || index >= WHOLE_VERSION;
  }

  #historyFrom(from: { readonly first: number; readonly rv: ResourceVersion }): History {
    const { objects, changes } = rewind(this.#window, this.snapshot(), from);
    const { rv, horizon } = this.#known(from.rv);
    return { listing: { rv, objects }, tombstones: this.#gone(horizon, from.rv), horizon, changes };
  }

  /** The version the objects at `from` can be told to be listed at, and the horizon of those who are. */
  #known(from: ResourceVersion): { rv: ResourceVersion; horizon: ResourceVersion } {
    // A part of a version is no listing: whoever follows it must find a gap at that version, and resume from none below.
    const whole = this.#position.rv > from || this.#isWhole(this.#position);
    const rv = whole ? from : from - 1;
    const horizon = this.#stateDiff ? this.#tombstones.horizon : rv;
    return { rv, horizon: Math.max(horizon, this.#repaired.end, whole ? 0 : from) };
  }

  /** The deletes above `horizon` up to `rv`. */
  #gone(horizon: ResourceVersion, rv: ResourceVersion): Tombstone[] {
    return [...this.#tombstones.after(horizon)]
      .filter(({ object }) => object.rv <= rv)
      .map(({ object, born }) => ({ object, born }));
  }

  /** Everything up to `rv` is held whole. */
  #reach(rv: ResourceVersion): void {
    this.#watermark = this.#settled = rv;
    this.#position = { rv, index: WHOLE_VERSION };
  }

  /** Of the objects held at the very version listed, those that upstream writes otherwise than it did. */
  #takeOtherBytes(listed: Iterable<KubeObject>): void {
    for (const object of listed) {
      const held = this.#store.get(object.key);
      if (held?.uid !== object.uid || held.rv !== object.rv || held.bytes.equals(object.bytes)) continue;
      this.#store.set(object);
      this.#snapshot = undefined;
    }
  }

  #repairDelete(held: KubeObject, rv: ResourceVersion): void {
    const object = { ...held, rv, bytes: withResourceVersion(this.schema.encoding, held.bytes, rv) };
    const { born } = this.#store.delete(held.key)!;
    this.#remember({ object, born }, true);
    this.#push({ type: 'DELETED', object, previous: held, repair: true });
  }

  #put({ type, object, frame }: Change, index: number): void {
    if (type !== 'DELETED') {
      const previous = this.#store.set(object, type === 'ADDED' ? object.rv : undefined);
      this.#push({ type, object, previous, frame, index });
      return;
    }
    const held = this.#store.delete(object.key);
    if (held !== undefined) this.#remember({ object, born: held.born }, false);
    this.#push({ type, object, previous: held?.object, frame, index });
  }

  #push(change: WindowChange): void {
    this.#window.push(new WindowEntry(this.schema.encoding, change));
  }

  #remember(tombstone: Tombstone, repair: boolean): void {
    if (this.#stateDiff) this.#tombstones.add(tombstone, repair);
  }

  #announce(from: number): void {
    if (this.#window.end === from) return;
    this.#snapshot = undefined;
    if (this.#pastStates.size > 0) this.#pastStates.trim(this.#exact.rv);
    this.onEntries();
  }
}
