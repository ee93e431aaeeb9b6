import type { Encoding } from '@dogwatch/kube/lane.ts';
import { type ObjectFacts, type StoredObject, type StoreEvent, storageKey } from './simulated-object.ts';
import type { SimulatedResource } from './simulated-resources.ts';
import { objectFacts, type ObjectIdentity, objectJson } from './simulated-kube-object.ts';
import { type Place, placeText, SimulatedTemplate, VERSION_MARK, type Written } from './simulated-template.ts';

/** The object and its identity have marks where one differs from the other: see simulated-template.ts. */
export interface FleetPlan extends ObjectIdentity {
  readonly resource: SimulatedResource;
  readonly size: number;
  readonly places: readonly Place[];
}

/**
 * Very many objects of one shape, of which only versions and stamps are held: what 150,000 writes a second and a
 * hundred thousand leases need. A write changes no label and no selectable field.
 */
export class SimulatedFleet {
  readonly resource: SimulatedResource;
  readonly size: number;
  readonly template: SimulatedTemplate;
  /** The namespace of all its objects; undefined if they are in several. */
  readonly namespace: string | undefined;
  readonly #factsOf: (index: number) => ObjectFacts;
  readonly #indexes = new Map<string, number>();
  readonly #versions: Float64Array;
  readonly #stamps: Float64Array;
  readonly #gone: Uint8Array;

  constructor(plan: FleetPlan) {
    const { resource, size, places } = plan;
    this.resource = resource;
    this.size = size;
    this.namespace = places.some(({ mark }) => plan.namespace.includes(mark)) ? undefined : plan.namespace;
    this.#factsOf = compileFacts(objectFacts(resource, plan), places);
    this.template = new SimulatedTemplate(resource, objectJson(resource, plan, VERSION_MARK), places);
    this.#versions = new Float64Array(size);
    this.#stamps = new Float64Array(size);
    this.#gone = new Uint8Array(size);
    for (let index = 0; index < size; index += 1) this.#indexes.set(storageKey(this.at(index)), index);
  }

  /** In index order; those that were written or deleted one by one are not among them. */
  *keys(): Generator<string> {
    for (const [key, index] of this.#indexes) if (this.#gone[index] === 0) yield key;
  }

  find(key: string): FleetObject | undefined {
    const index = this.#indexes.get(key);
    return index === undefined || this.#gone[index] !== 0 ? undefined : this.at(index);
  }

  /** The object as it is now. */
  at(index: number): FleetObject {
    return new FleetObject(this, index, this.#versions[index] ?? 0, this.#stamps[index] ?? 0);
  }

  /** Whether the object is still the fleet's. */
  holds(index: number): boolean {
    return this.#gone[index] === 0;
  }

  /** Sets what an object is; `release` takes it out of the fleet's hands until then. */
  set(index: number, version: number, stamp: number): void {
    this.#versions[index] = version;
    this.#stamps[index] = stamp;
    this.#gone[index] = 0;
  }

  release(key: string): void {
    const index = this.#indexes.get(key);
    if (index !== undefined) this.#gone[index] = 1;
  }

  releaseAll(): void {
    this.#gone.fill(1);
  }

  factsOf(index: number): ObjectFacts {
    return this.#factsOf(index);
  }

  /** Writes the objects of `indexes` at ascending versions: one batch, as the collection's window keeps it. */
  write(indexes: Uint32Array, firstVersion: number, stamps: Float64Array): FleetBatch {
    const count = indexes.length;
    const previousVersions = new Float64Array(count);
    const previousStamps = new Float64Array(count);
    const versions = new Float64Array(count);
    for (let at = 0; at < count; at += 1) {
      const index = indexes[at] ?? 0;
      previousVersions[at] = this.#versions[index] ?? 0;
      previousStamps[at] = this.#stamps[index] ?? 0;
      versions[at] = firstVersion + at;
      this.#versions[index] = firstVersion + at;
      this.#stamps[index] = stamps[at] ?? 0;
    }
    return new FleetBatch(
      this,
      { indexes, versions, stamps },
      { indexes, versions: previousVersions, stamps: previousStamps },
    );
  }
}

function compileFacts(facts: ObjectFacts, places: readonly Place[]): (index: number) => ObjectFacts {
  const [namespace, name, uid] = [facts.namespace, facts.name, facts.uid].map((text) => compileText(text, places));
  const labels = compileRecord(facts.labels, places);
  const fields = compileRecord(facts.fields, places);
  return (index) => ({
    namespace: namespace?.(index) ?? '',
    name: name?.(index) ?? '',
    uid: uid?.(index) ?? '',
    labels: labels(index),
    fields: fields(index),
  });
}

type Texts = Readonly<Record<string, string>>;

function compileRecord(record: Texts, places: readonly Place[]): (index: number) => Texts {
  const marked = Object.entries(record).filter(([, text]) => places.some(({ mark }) => text.includes(mark)));
  if (marked.length === 0) return () => record;
  const compiled = marked.map(([key, text]) => [key, compileText(text, places)] as const);
  return (index) => {
    const filled = { ...record };
    for (const [key, text] of compiled) filled[key] = text(index);
    return filled;
  };
}

function compileText(marked: string, places: readonly Place[]): (index: number) => string {
  const found = places.find(({ mark }) => marked.includes(mark));
  if (found === undefined) return () => marked;
  const parts = marked.split(found.mark).map((part) => compileText(part, places));
  return (index) => parts.map((part) => part(index)).join(placeText(found, index));
}

/** One version of a fleet's object; its bytes are made when somebody asks. */
export class FleetObject implements StoredObject {
  readonly fleet: SimulatedFleet;
  readonly index: number;
  readonly resourceVersion: number;
  readonly stamp: number;
  #facts: ObjectFacts | undefined;

  constructor(fleet: SimulatedFleet, index: number, resourceVersion: number, stamp: number) {
    this.fleet = fleet;
    this.index = index;
    this.resourceVersion = resourceVersion;
    this.stamp = stamp;
  }

  get namespace(): string {
    return this.#known().namespace;
  }

  get name(): string {
    return this.#known().name;
  }

  get uid(): string {
    return this.#known().uid;
  }

  get labels(): Readonly<Record<string, string>> {
    return this.#known().labels;
  }

  get fields(): Readonly<Record<string, string>> {
    return this.#known().fields;
  }

  bytes(encoding: Encoding): Buffer {
    return this.fleet.template.encode(encoding, 'object', {
      indexes: Uint32Array.of(this.index),
      versions: Float64Array.of(this.resourceVersion),
      stamps: Float64Array.of(this.stamp),
    });
  }

  rawLength(): number {
    return this.fleet.template.rawLength;
  }

  #known(): ObjectFacts {
    return (this.#facts ??= this.fleet.factsOf(this.index));
  }
}

/** Consecutive MODIFIED events of one fleet, as the window keeps them: their frames are made once for all watches. */
export class FleetBatch {
  readonly fleet: SimulatedFleet;
  readonly #written: Written;
  readonly #previous: Written;
  readonly #frames = new Map<Encoding, Buffer>();

  constructor(fleet: SimulatedFleet, written: Written, previous: Written) {
    this.fleet = fleet;
    this.#written = written;
    this.#previous = previous;
  }

  get count(): number {
    return this.#written.indexes.length;
  }

  indexAt(offset: number): number {
    return this.#written.indexes[offset] ?? 0;
  }

  versionAt(offset: number): number {
    return this.#written.versions[offset] ?? 0;
  }

  /** The frames of the events from `start` to before `end`: a view of what all watches share. */
  frames(encoding: Encoding, start: number, end: number): Buffer {
    let frames = this.#frames.get(encoding);
    if (frames === undefined) {
      frames = this.fleet.template.encode(encoding, 'event', this.#written);
      this.#frames.set(encoding, frames);
    }
    const length = this.fleet.template.length(encoding, 'event');
    return frames.subarray(start * length, end * length);
  }

  eventAt(offset: number): StoreEvent {
    return {
      type: 'MODIFIED',
      resourceVersion: this.versionAt(offset),
      object: this.#objectOf(this.#written, offset),
      previous: this.#objectOf(this.#previous, offset),
      frame: (encoding) => this.frames(encoding, offset, offset + 1),
    };
  }

  #objectOf({ indexes, versions, stamps }: Written, offset: number): FleetObject {
    return new FleetObject(this.fleet, indexes[offset] ?? 0, versions[offset] ?? 0, stamps[offset] ?? 0);
  }
}
