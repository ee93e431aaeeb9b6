import type { SimulatedResource } from './simulated-resources.ts';

/** One version of an object. `bytes` is the whole JSON object, `kind` and `apiVersion` first, as watch events carry it. */
export interface StoredObject {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Selectable fields by path. */
  readonly fields: Readonly<Record<string, string>>;
  readonly bytes: Buffer;
}

export type EventType = 'ADDED' | 'MODIFIED' | 'DELETED';

/** One entry of a collection's window. `frame` is the watch event's line, newline included; `object.bytes` is a view of it. */
export interface StoreEvent {
  readonly type: EventType;
  readonly resourceVersion: number;
  readonly object: StoredObject;
  readonly previous: StoredObject | undefined;
  readonly frame: Buffer;
}

/** Builds an object's JSON for a resourceVersion; called once, with the version the store has just assigned. */
export type Render = (resourceVersion: number) => string;

/** A version the window no longer holds; upstream's 410. */
export class VersionTooOld extends Error {
  readonly code = 'VersionTooOld';
}

/** How a MODIFIED event's line begins. */
export const MODIFIED_HEAD = Buffer.from('{"type":"MODIFIED","object":');

const RESOURCE_VERSION = Buffer.from('"resourceVersion":"');

/** The storage key inside a collection: its order is upstream's LIST order (protocol L15). */
export function storageKey({ namespace, name }: { namespace: string; name: string }): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}

/** Names are ASCII, so code units sort as bytes do. */
export function byKey(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A watch event's line. */
export function eventFrame(type: EventType, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`{"type":"${type}","object":`), bytes, Buffer.from('}\n')]);
}

/** The same object at another version (a departure carries the previous object at the event's version, W15 and W16). */
export function withResourceVersion(bytes: Buffer, resourceVersion: number): Buffer {
  const start = bytes.indexOf(RESOURCE_VERSION) + RESOURCE_VERSION.length;
  const end = bytes.indexOf(0x22, start);
  return Buffer.concat([bytes.subarray(0, start), Buffer.from(String(resourceVersion)), bytes.subarray(end)]);
}

/** All objects of one resource and a bounded window of its latest events. */
export class Collection {
  readonly resource: SimulatedResource;
  readonly #capacity: number;
  readonly #objects = new Map<string, StoredObject>();
  readonly #window: (StoreEvent | undefined)[];
  #sorted: string[] | undefined;
  #next = 0;
  #windowStart = 0;
  #freshness = 0;
  readonly #listeners = new Set<() => void>();

  constructor(resource: SimulatedResource, capacity: number) {
    this.resource = resource;
    this.#capacity = capacity;
    this.#window = Array.from<StoreEvent | undefined>({ length: capacity });
  }

  get size(): number {
    return this.#objects.size;
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

  get(key: string): StoredObject | undefined {
    return this.#objects.get(key);
  }

  /** All objects in storage key order. */
  list(): StoredObject[] {
    this.#sorted ??= [...this.#objects.keys()].toSorted(byKey);
    const objects: StoredObject[] = [];
    for (const key of this.#sorted) {
      const object = this.#objects.get(key);
      if (object !== undefined) objects.push(object);
    }
    return objects;
  }

  /** The objects as they were at `version`. Throws VersionTooOld if the window does not reach back to it. */
  listAt(version: number): StoredObject[] {
    if (version < this.#windowStart) throw new VersionTooOld(`version ${version} is below ${this.#windowStart}`);
    if ((this.at(this.#next - 1)?.resourceVersion ?? 0) <= version) return this.list();
    const objects = new Map(this.#objects);
    for (let position = this.#next - 1; position >= this.oldest; position -= 1) {
      const event = this.at(position);
      if (event === undefined || event.resourceVersion <= version) break;
      if (event.previous === undefined) objects.delete(storageKey(event.object));
      else objects.set(storageKey(event.object), event.previous);
    }
    return [...objects].toSorted(([a], [b]) => byKey(a, b)).map(([, object]) => object);
  }

  /** Position of the oldest event held. */
  get oldest(): number {
    return Math.max(0, this.#next - this.#capacity);
  }

  /** The event at a position, undefined if it has left the window or has not happened. */
  at(position: number): StoreEvent | undefined {
    if (position < this.oldest || position >= this.#next) return undefined;
    return this.#window[position % this.#capacity];
  }

  /** Position of the first event after `version`. Throws VersionTooOld (W8). */
  positionAfter(version: number): number {
    if (version < this.#windowStart)
      throw new VersionTooOld(`too old resource version: ${version} (${this.#windowStart})`);
    let low = this.oldest;
    let high = this.#next;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.at(middle)?.resourceVersion ?? 0) <= version) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Notes that the collection is complete up to `version` (a consistent read asked). */
  refresh(version: number): void {
    this.#freshness = Math.max(this.#freshness, version);
  }

  append(event: StoreEvent): void {
    const evicted = this.at(this.#next - this.#capacity);
    if (evicted !== undefined) this.#windowStart = evicted.resourceVersion;
    this.#window[this.#next % this.#capacity] = event;
    this.#next += 1;
    this.#freshness = event.resourceVersion;
    const key = storageKey(event.object);
    if (event.type === 'DELETED') this.#objects.delete(key);
    else this.#objects.set(key, event.object);
    if (event.type !== 'MODIFIED') this.#sorted = undefined;
    for (const listener of this.#listeners) listener();
  }

  /** Loads an object without an event, as a restarted kube-apiserver finds it in etcd. */
  load(object: StoredObject): void {
    this.#objects.set(storageKey(object), object);
    this.#sorted = undefined;
  }

  /** Drops the whole window: from now on anything below `version` is too old (a restart, W20). */
  forget(version: number): void {
    this.#windowStart = version;
    this.#freshness = Math.max(this.#freshness, version);
    this.#window.fill(undefined);
  }

  /** Calls back after each event; returns how to stop. */
  onEvent(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

export interface WriteOptions {
  readonly collection: Collection;
  readonly object: Omit<StoredObject, 'bytes' | 'resourceVersion'>;
  readonly render: Render;
}

/** Every collection, under one counter of versions, as etcd's revision. Pure: no clock, no I/O. */
export class SimulatedStore {
  readonly collections: readonly Collection[];
  #resourceVersion = 1;

  /** `window` is the number of events each resource keeps. */
  constructor(resources: readonly SimulatedResource[], window: number) {
    this.collections = resources.map((resource) => new Collection(resource, window));
  }

  get resourceVersion(): number {
    return this.#resourceVersion;
  }

  collection(group: string, resource: string): Collection {
    const found = this.collections.find(({ resource: it }) => it.group === group && it.resource === resource);
    if (found === undefined) throw new TypeError(`the simulated upstream has no ${resource} in group "${group}"`);
    return found;
  }

  /** Creates or replaces an object. `render` gives the whole object's JSON. */
  put({ collection, object, render }: WriteOptions): StoreEvent {
    const previous = collection.get(storageKey(object));
    const type = previous === undefined ? 'ADDED' : 'MODIFIED';
    this.#resourceVersion += 1;
    const head = `{"type":"${type}","object":`;
    const frame = Buffer.from(`${head}${render(this.#resourceVersion)}}\n`);
    const bytes = frame.subarray(head.length, -2);
    const { namespace, name, uid, labels, fields } = object;
    const stored: StoredObject = {
      namespace,
      name,
      uid,
      labels,
      fields,
      resourceVersion: this.#resourceVersion,
      bytes,
    };
    const event = { type, resourceVersion: this.#resourceVersion, object: stored, previous, frame } as const;
    collection.append(event);
    return event;
  }

  /** A new version of a held object whose attributes stay: `frameOf` gives the event's whole line, MODIFIED. */
  replaceBytes(collection: Collection, held: StoredObject, frameOf: (resourceVersion: number) => Buffer): StoreEvent {
    this.#resourceVersion += 1;
    const resourceVersion = this.#resourceVersion;
    const frame = frameOf(resourceVersion);
    const { namespace, name, uid, labels, fields } = held;
    const bytes = frame.subarray(MODIFIED_HEAD.length, -2);
    const object: StoredObject = { namespace, name, uid, labels, fields, resourceVersion, bytes };
    const event: StoreEvent = { type: 'MODIFIED', resourceVersion, object, previous: held, frame };
    collection.append(event);
    return event;
  }

  /** Deletes an object; undefined if there is none. The event carries its last state at the deletion's version. */
  delete(collection: Collection, key: string): StoreEvent | undefined {
    const previous = collection.get(key);
    if (previous === undefined) return undefined;
    this.#resourceVersion += 1;
    const bytes = withResourceVersion(previous.bytes, this.#resourceVersion);
    const object = { ...previous, resourceVersion: this.#resourceVersion, bytes };
    const frame = eventFrame('DELETED', bytes);
    const event = { type: 'DELETED', resourceVersion: this.#resourceVersion, object, previous, frame } as const;
    collection.append(event);
    return event;
  }

  /** Adds an object that was there before the server started: a version is used, no event is made. */
  load({ collection, object, render }: WriteOptions): void {
    this.#resourceVersion += 1;
    collection.load({
      ...object,
      resourceVersion: this.#resourceVersion,
      bytes: Buffer.from(render(this.#resourceVersion)),
    });
  }

  /** Starts every window here, as a fresh kube-apiserver does. */
  forget(): void {
    for (const collection of this.collections) collection.forget(this.#resourceVersion);
  }
}
