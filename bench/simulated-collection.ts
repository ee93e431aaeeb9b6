import { type FleetBatch, FleetObject, type SimulatedFleet } from './simulated-fleet.ts';
import { type StoredObject, type StoreEvent, storageKey } from './simulated-object.ts';
import type { SimulatedResource } from './simulated-resources.ts';

/** A version the window no longer holds; upstream's 410. */
export class VersionTooOld extends Error {
  readonly code = 'VersionTooOld';
}

/** Names are ASCII, so code units sort as bytes do. */
export function byKey(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** What a slot of the window holds: an event, or its place in a fleet's batch. */
export type WindowEntry = { readonly event: StoreEvent } | { readonly batch: FleetBatch; readonly first: number };

/** All objects of one resource and a bounded window of its latest events. */
export class Collection {
  readonly resource: SimulatedResource;
  readonly #capacity: number;
  readonly #objects = new Map<string, StoredObject>();
  #fleet: SimulatedFleet | undefined;
  #window: (WindowEntry | undefined)[] | undefined;
  #sorted: string[] | undefined;
  #oldest = 0;
  #next = 0;
  #windowStart = 0;
  #freshness = 0;
  readonly #listeners = new Set<() => void>();

  constructor(resource: SimulatedResource, capacity: number) {
    this.resource = resource;
    this.#capacity = capacity;
  }

  /** Events older than or at this version are gone. */
  get windowStart(): number {
    return this.#windowStart;
  }

  /** The version this collection's cache is known to be complete to: its last event, or the last consistent read (W13). */
  get freshness(): number {
    return this.#freshness;
  }

  /** Position after the newest event; positions only grow. */
  get head(): number {
    return this.#next;
  }

  /** Position of the oldest event held. */
  get oldest(): number {
    return this.#oldest;
  }

  get(key: string): StoredObject | undefined {
    return this.#objects.get(key) ?? this.#fleet?.find(key);
  }

  /** All objects in storage key order. */
  list(): StoredObject[] {
    this.#sorted ??= [...this.#objects.keys(), ...(this.#fleet?.keys() ?? [])].toSorted(byKey);
    const objects: StoredObject[] = [];
    for (const key of this.#sorted) {
      const object = this.get(key);
      if (object !== undefined) objects.push(object);
    }
    return objects;
  }

  /** The objects as they were at `version`. Throws VersionTooOld if the window does not reach back to it. */
  listAt(version: number): StoredObject[] {
    if (version < this.#windowStart) throw new VersionTooOld(`version ${version} is below ${this.#windowStart}`);
    if (this.versionAt(this.#next - 1) <= version) return this.list();
    const objects = new Map(this.list().map((object) => [storageKey(object), object]));
    for (let position = this.#next - 1; position >= this.oldest; position -= 1) {
      const event = this.at(position);
      if (event === undefined || event.resourceVersion <= version) break;
      if (event.previous === undefined) objects.delete(storageKey(event.object));
      else objects.set(storageKey(event.object), event.previous);
    }
    return [...objects].toSorted(([a], [b]) => byKey(a, b)).map(([, object]) => object);
  }

  /** What the window holds at a position, undefined if it has left the window or has not happened. */
  entryAt(position: number): WindowEntry | undefined {
    if (position < this.#oldest || position >= this.#next) return undefined;
    return this.#window?.[position % this.#capacity];
  }

  /** The event at a position. */
  at(position: number): StoreEvent | undefined {
    const entry = this.entryAt(position);
    if (entry === undefined || 'event' in entry) return entry?.event;
    return entry.batch.eventAt(position - entry.first);
  }

  /** The version of the event at a position, 0 if there is none. */
  versionAt(position: number): number {
    const entry = this.entryAt(position);
    return entry === undefined ? 0 : versionIn(entry, position);
  }

  /** Position of the first event after `version`. Throws VersionTooOld (W8). */
  positionAfter(version: number): number {
    if (version < this.#windowStart)
      throw new VersionTooOld(`too old resource version: ${version} (${this.#windowStart})`);
    let low = this.oldest;
    let high = this.#next;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.versionAt(middle) <= version) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Notes that the collection is complete up to `version` (a consistent read asked). */
  refresh(version: number): void {
    this.#freshness = Math.max(this.#freshness, version);
  }

  append(event: StoreEvent): void {
    this.#push({ event }, 1, event.resourceVersion);
    const key = storageKey(event.object);
    this.#fleet?.release(key);
    if (event.type === 'DELETED') this.#objects.delete(key);
    else this.#objects.set(key, event.object);
    if (event.type !== 'MODIFIED') this.#sorted = undefined;
    this.#notify();
  }

  /** Takes a batch that the collection's fleet has just written. */
  appendBatch(batch: FleetBatch): void {
    this.#push({ batch, first: this.#next }, batch.count, batch.versionAt(batch.count - 1));
    this.#notify();
  }

  /** Loads an object without an event, as a restarted kube-apiserver finds it in etcd. */
  load(object: StoredObject): void {
    this.#objects.set(storageKey(object), object);
    this.#sorted = undefined;
  }

  /** Loads a fleet without events. Throws TypeError if there is one already. */
  adopt(fleet: SimulatedFleet): void {
    if (this.#fleet !== undefined) throw new TypeError(`${this.resource.resource} has a fleet already`);
    this.#fleet = fleet;
    this.#sorted = undefined;
  }

  /**
   * Drops all but the last `keep` events of the window: from now on anything below is too old (a restart, W20).
   * `version` is the store's.
   */
  forget(version: number, keep = 0): void {
    const oldest = Math.max(this.#oldest, this.#next - keep);
    if (keep === 0) {
      this.#windowStart = version;
      this.#freshness = Math.max(this.#freshness, version);
    } else if (oldest > this.#oldest) this.#windowStart = this.versionAt(oldest - 1);
    for (let position = this.#oldest; position < oldest; position += 1) this.#clear(position);
    this.#oldest = oldest;
  }

  /** Goes back to what was at `version`, with an empty window (an etcd restore). Throws VersionTooOld. */
  rewind(version: number): void {
    const objects = this.listAt(version);
    this.#objects.clear();
    this.#fleet?.releaseAll();
    for (const object of objects) {
      if (object instanceof FleetObject) object.fleet.set(object.index, object.resourceVersion, object.stamp);
      else this.#objects.set(storageKey(object), object);
    }
    this.#sorted = undefined;
    this.forget(version);
    this.#freshness = version;
  }

  /** Calls back after each event or batch; returns how to stop. */
  onEvent(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #push(entry: WindowEntry, count: number, lastVersion: number): void {
    this.#window ??= Array.from<WindowEntry | undefined>({ length: this.#capacity });
    const first = this.#next;
    const last = first + count;
    const oldest = Math.max(this.#oldest, last - this.#capacity);
    if (oldest > this.#oldest)
      this.#windowStart = oldest > first ? versionIn(entry, oldest - 1) : this.versionAt(oldest - 1);
    for (let position = Math.max(first, oldest); position < last; position += 1)
      this.#window[position % this.#capacity] = entry;
    this.#oldest = oldest;
    this.#next = last;
    this.#freshness = lastVersion;
  }

  #clear(position: number): void {
    if (this.#window !== undefined) this.#window[position % this.#capacity] = undefined;
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}

function versionIn(entry: WindowEntry, position: number): number {
  return 'event' in entry ? entry.event.resourceVersion : entry.batch.versionAt(position - entry.first);
}
