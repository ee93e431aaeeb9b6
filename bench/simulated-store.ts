import { frameEvent, withResourceVersion } from '@dogwatch/kube/event-framer.ts';
import { Collection } from './simulated-collection.ts';
import type { SimulatedFleet } from './simulated-fleet.ts';
import {
  EncodedObject,
  ObjectEvent,
  type ObjectFacts,
  type StoredObject,
  type StoreEvent,
  storageKey,
} from './simulated-object.ts';
import type { SimulatedResource } from './simulated-resources.ts';

/** Builds an object's JSON for a resourceVersion; called once, with the version the store has just assigned. */
export type Render = (resourceVersion: number) => string;

/** How a MODIFIED event's line begins, and what follows its object. */
export const MODIFIED_HEAD = frameEvent('json', 'MODIFIED', Buffer.alloc(0)).subarray(0, -2);
const TAIL_BYTES = 2;

export interface WriteOptions {
  readonly collection: Collection;
  readonly object: ObjectFacts;
  readonly render: Render;
}

/** Every collection, under one counter of versions, as etcd's revision. Pure: no clock, no I/O. */
export class SimulatedStore {
  readonly collections: readonly Collection[];
  #resourceVersion: number;

  /** `window` is the number of events each resource keeps; fleets need a first version of ten digits. */
  constructor(resources: readonly SimulatedResource[], window: number, firstVersion = 1) {
    this.collections = resources.map((resource) => new Collection(resource, window));
    this.#resourceVersion = firstVersion;
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
  put({ collection, object: facts, render }: WriteOptions): StoreEvent {
    const previous = collection.get(storageKey(facts));
    const type = previous === undefined ? 'ADDED' : 'MODIFIED';
    this.#resourceVersion += 1;
    const json = Buffer.from(render(this.#resourceVersion));
    const object = new EncodedObject(collection.resource, facts, this.#resourceVersion, json);
    const event = new ObjectEvent({ type, object, previous });
    collection.append(event);
    return event;
  }

  /** A new version of a held object whose facts stay: `frameOf` gives the event's whole line in JSON, MODIFIED. */
  replaceBytes(collection: Collection, held: StoredObject, frameOf: (resourceVersion: number) => Buffer): StoreEvent {
    this.#resourceVersion += 1;
    const json = frameOf(this.#resourceVersion);
    const bytes = json.subarray(MODIFIED_HEAD.length, -TAIL_BYTES);
    const object = new EncodedObject(collection.resource, held, this.#resourceVersion, bytes);
    const event = new ObjectEvent({ type: 'MODIFIED', object, previous: held, json });
    collection.append(event);
    return event;
  }

  /** New versions of a fleet's objects, one each, all in one batch. At least one. */
  writeFleet(collection: Collection, fleet: SimulatedFleet, indexes: Uint32Array, stamps: Float64Array): void {
    const batch = fleet.write(indexes, this.#resourceVersion + 1, stamps);
    this.#resourceVersion += indexes.length;
    collection.appendBatch(batch);
  }

  /** Deletes an object; undefined if there is none. The event carries its last state at the deletion's version. */
  delete(collection: Collection, key: string): StoreEvent | undefined {
    const previous = collection.get(key);
    if (previous === undefined) return undefined;
    this.#resourceVersion += 1;
    const json = withResourceVersion('json', previous.bytes('json'), this.#resourceVersion);
    const object = new EncodedObject(collection.resource, previous, this.#resourceVersion, json);
    const event = new ObjectEvent({ type: 'DELETED', object, previous });
    collection.append(event);
    return event;
  }

  /** Adds an object that was there before the server started: a version is used, no event is made. */
  load({ collection, object, render }: WriteOptions): void {
    this.#resourceVersion += 1;
    const json = Buffer.from(render(this.#resourceVersion));
    collection.load(new EncodedObject(collection.resource, object, this.#resourceVersion, json));
  }

  /** Adds a fleet that was there before the server started: a version for each object, no events. */
  loadFleet(fleet: SimulatedFleet): void {
    for (let index = 0; index < fleet.size; index += 1) fleet.set(index, this.#resourceVersion + index + 1, 0);
    this.#resourceVersion += fleet.size;
    this.collection(fleet.resource.group, fleet.resource.resource).adopt(fleet);
  }

  /** Empties every window but for its last `keep` events, as a kube-apiserver that has just started. */
  forget(keep = 0): void {
    for (const collection of this.collections) collection.forget(this.#resourceVersion, keep);
  }

  /** Goes back by so many versions, as etcd restored from a backup. Throws VersionTooOld, and then changes nothing. */
  rewind(versions: number): void {
    const version = this.#resourceVersion - versions;
    for (const collection of this.collections) collection.listAt(version);
    for (const collection of this.collections) collection.rewind(version);
    this.#resourceVersion = version;
  }
}
