import { frameEvent } from '@dogwatch/kube/event-framer.ts';
import type { Encoding } from '@dogwatch/kube/lane.ts';
import { openUnknown } from '@dogwatch/kube/runtime-unknown.ts';
import { encodeProtobuf } from './simulated-protobuf.ts';
import type { SimulatedResource } from './simulated-resources.ts';

/** What selectors and keys look at; a version of an object never changes. */
export interface ObjectFacts {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Selectable fields by path. */
  readonly fields: Readonly<Record<string, string>>;
}

/** One version of an object. */
export interface StoredObject extends ObjectFacts {
  readonly resourceVersion: number;
  /** The whole object as watch events carry it: in JSON `kind` and `apiVersion` first, in protobuf in its envelope. */
  bytes(encoding: Encoding): Buffer;
  /** Length of its protobuf inside the envelope, which is what it takes in a LIST. */
  rawLength(): number;
}

export type EventType = 'ADDED' | 'MODIFIED' | 'DELETED';

/** One change of a collection. */
export interface StoreEvent {
  readonly type: EventType;
  readonly resourceVersion: number;
  readonly object: StoredObject;
  readonly previous: StoredObject | undefined;
  /** The watch event as upstream frames it (protocol F1, F2). */
  frame(encoding: Encoding): Buffer;
}

/** The storage key inside a collection: its order is upstream's LIST order (protocol L15). */
export function storageKey({ namespace, name }: { namespace: string; name: string }): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}

/** An object held as its JSON; the protobuf is made when somebody asks. */
export class EncodedObject implements StoredObject {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly fields: Readonly<Record<string, string>>;
  readonly resourceVersion: number;
  readonly #resource: SimulatedResource;
  readonly #json: Buffer;
  #protobuf: Buffer | undefined;

  constructor(resource: SimulatedResource, facts: ObjectFacts, resourceVersion: number, json: Buffer) {
    this.#resource = resource;
    this.#json = json;
    this.namespace = facts.namespace;
    this.name = facts.name;
    this.uid = facts.uid;
    this.labels = facts.labels;
    this.fields = facts.fields;
    this.resourceVersion = resourceVersion;
  }

  bytes(encoding: Encoding): Buffer {
    return encoding === 'json' ? this.#json : (this.#protobuf ??= toProtobuf(this.#resource, this.#json));
  }

  rawLength(): number {
    const { rawStart, rawEnd } = openUnknown(this.bytes('protobuf'));
    return rawEnd - rawStart;
  }
}

/** A change of one object. */
export class ObjectEvent implements StoreEvent {
  readonly type: EventType;
  readonly object: StoredObject;
  readonly previous: StoredObject | undefined;
  #json: Buffer | undefined;
  #protobuf: Buffer | undefined;

  /** `json` is the event's line, if it is there already. */
  constructor(of: { type: EventType; object: StoredObject; previous: StoredObject | undefined; json?: Buffer }) {
    this.type = of.type;
    this.object = of.object;
    this.previous = of.previous;
    this.#json = of.json;
  }

  get resourceVersion(): number {
    return this.object.resourceVersion;
  }

  frame(encoding: Encoding): Buffer {
    if (encoding === 'json') return (this.#json ??= frameEvent('json', this.type, this.object.bytes('json')));
    return (this.#protobuf ??= frameEvent('protobuf', this.type, this.object.bytes('protobuf')));
  }
}

/** JSON of one of the resource's objects as protobuf. Throws TypeError where the resource has no schema. */
export function toProtobuf(resource: SimulatedResource, json: Buffer): Buffer {
  if (resource.protobuf === undefined)
    throw new TypeError(`the simulated upstream has no protobuf of ${resource.resource}`);
  return encodeProtobuf(resource.protobuf, JSON.parse(json.toString('utf8')) as Record<string, unknown>);
}
