import { withResourceVersion } from '@dogwatch/kube/event-framer.ts';
import type { Collection, WindowEntry } from './simulated-collection.ts';
import type { FleetBatch, SimulatedFleet } from './simulated-fleet.ts';
import type { StoredObject, StoreEvent } from './simulated-object.ts';
import { inScope, isWholeNamespace, type Scope } from './simulated-selector.ts';
import { bookmarkFrame, eventFrame, type Wire } from './simulated-view.ts';

export interface WatchStart {
  readonly collection: Collection;
  readonly scope: Scope;
  readonly wire: Wire;
  /** Objects to send as ADDED first, in key order. */
  readonly initial: readonly StoredObject[];
  /** Position of the first event to consider. */
  readonly position: number;
  /** Events at or below are not sent (W7: a version from the future hides what comes before it). */
  readonly after: number;
  /** The version of the bookmark that ends the initial events; undefined: none. */
  readonly endBookmark: number | undefined;
}

/** Frames given out together, and how many events they are. */
export interface Taken {
  readonly frames: readonly Buffer[];
  readonly initial: number;
  readonly events: number;
}

/**
 * One watch as a cursor over its collection's window. Pure: the shell asks for bytes when it can write them, so
 * nothing is queued per watch. A cursor the window has passed ends cleanly, without an error event (protocol W10).
 */
export class SimulatedWatch {
  readonly #start: WatchStart;
  #initial = 0;
  #position: number;
  #ended: boolean;
  #sentVersion: number;
  /** Which of a fleet's objects are in scope, found once each: 0 unknown, 1 in, 2 out. */
  #inScope: Uint8Array | undefined;

  constructor(start: WatchStart) {
    this.#start = start;
    this.#position = start.position;
    this.#ended = start.endBookmark === undefined;
    this.#sentVersion = start.after;
  }

  /** True once every event so far has been given out. */
  get idle(): boolean {
    return this.#initial >= this.#start.initial.length && this.#ended && this.lag === 0;
  }

  /** Events of the collection it has not looked at. */
  get lag(): number {
    return this.#start.collection.head - this.#position;
  }

  get collection(): Collection {
    return this.#start.collection;
  }

  /** Frames worth about `budget` bytes (at least one if there is any), or undefined if the window has overtaken the cursor. */
  take(budget: number): Taken | undefined {
    const frames: Buffer[] = [];
    let bytes = 0;
    let events = 0;
    const { initial, collection, wire, endBookmark } = this.#start;
    const add = (frame: Buffer, count: number) => {
      frames.push(frame);
      bytes += frame.length;
      events += count;
    };
    const firstInitial = this.#initial;
    while (bytes < budget && this.#initial < initial.length) {
      const object = initial[this.#initial];
      this.#initial += 1;
      if (object !== undefined) add(eventFrame('ADDED', object.bytes(wire.encoding), wire), 0);
    }
    if (bytes < budget && !this.#ended && endBookmark !== undefined) {
      add(bookmarkFrame({ resource: collection.resource, wire, version: endBookmark, end: true }), 0);
      this.#ended = true;
    }
    while (bytes < budget && this.#position < collection.head) {
      const entry = collection.entryAt(this.#position);
      if (entry === undefined) return undefined;
      this.#takeEntry(entry, budget - bytes, add);
    }
    return { frames, initial: this.#initial - firstInitial, events };
  }

  /** A bookmark at the collection's freshness, if everything up to it was given out and it is news (W13). */
  bookmark(): Buffer | undefined {
    const { collection, wire } = this.#start;
    const version = collection.freshness;
    if (!this.idle || version <= this.#sentVersion) return undefined;
    this.#sentVersion = version;
    return bookmarkFrame({ resource: collection.resource, wire, version, end: false });
  }

  /** The first half of what would come next, be it but a bookmark: a frame that a fault cuts in two. */
  halfFrame(): Buffer {
    const { collection, wire } = this.#start;
    const next =
      this.take(1)?.frames[0] ??
      bookmarkFrame({ resource: collection.resource, wire, version: collection.freshness, end: false });
    return next.subarray(0, next.length >> 1);
  }

  #takeEntry(entry: WindowEntry, budget: number, add: (frame: Buffer, count: number) => void): void {
    if ('event' in entry) {
      this.#position += 1;
      const frame = this.#frame(entry.event);
      if (frame !== undefined) add(frame, 1);
      return;
    }
    const { batch, first } = entry;
    const start = this.#position - first;
    if (!this.#takesAllOf(batch, start)) {
      this.#position += 1;
      if (!this.#matches(batch, start)) return;
      const frame = this.#frame(batch.eventAt(start));
      if (frame !== undefined) add(frame, 1);
      return;
    }
    const { encoding } = this.#start.wire;
    const affordable = Math.ceil(budget / batch.fleet.template.length(encoding, 'event'));
    const end = Math.min(batch.count, start + affordable);
    this.#position = first + end;
    this.#sentVersion = batch.versionAt(end - 1);
    add(batch.frames(encoding, start, end), end - start);
  }

  /** True if all that is left of the batch can be handed on as it is. */
  #takesAllOf(batch: FleetBatch, start: number): boolean {
    const { scope, wire, after } = this.#start;
    if (wire.view !== 'object' || batch.versionAt(start) <= after || !isWholeNamespace(scope)) return false;
    return scope.namespace === undefined || scope.namespace === batch.fleet.namespace;
  }

  #matches(batch: FleetBatch, offset: number): boolean {
    const index = batch.indexAt(offset);
    const known = (this.#inScope ??= new Uint8Array(batch.fleet.size));
    if (known[index] === 0) known[index] = this.#isInScope(batch.fleet, index) ? 1 : 2;
    return known[index] === 1;
  }

  #isInScope(fleet: SimulatedFleet, index: number): boolean {
    return inScope(fleet.factsOf(index), this.#start.scope);
  }

  /** The event as this watch sees it: entering and leaving the scope are ADDED and DELETED (W15). */
  #frame(event: StoreEvent): Buffer | undefined {
    const { scope, wire, after } = this.#start;
    if (event.resourceVersion <= after) return undefined;
    const was = event.previous !== undefined && inScope(event.previous, scope);
    const is = event.type !== 'DELETED' && inScope(event.object, scope);
    if (!was && !is) return undefined;
    this.#sentVersion = event.resourceVersion;
    const type = is ? (was ? 'MODIFIED' : 'ADDED') : 'DELETED';
    if (wire.view === 'object' && type === event.type) return event.frame(wire.encoding);
    if (is || event.previous === undefined) return eventFrame(type, event.object.bytes(wire.encoding), wire);
    const departed = withResourceVersion(wire.encoding, event.previous.bytes(wire.encoding), event.resourceVersion);
    return eventFrame(type, departed, wire);
  }
}
