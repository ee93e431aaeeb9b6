import type { FieldPath } from './field-path.ts';
import { fnv1a64, type Hash64 } from './fnv1a64.ts';
import type { Encoding } from './lane.ts';
import { MalformedFrame } from './malformed-frame.ts';
import { scanField, scanLabels, scanObject } from './object-scanner.ts';
import type { ResourceVersion } from './resource-version.ts';

/** One version of one object: its attributes, and the bytes upstream sent for it in a watch event. Immutable. */
export interface KubeObject {
  /** `namespace/name`, or `name` for cluster-scoped resources: upstream's storage order (protocol row L15). */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly rv: ResourceVersion;
  readonly bytes: Buffer;
  /** Value of the resource's indexed field (spec.nodeName of pods), "" if it has none. */
  readonly indexed: string;
}

/** What of a resource its objects can be selected by, beside their metadata. */
export interface ObjectSchema {
  readonly encoding: Encoding;
  readonly fields: ReadonlyMap<string, FieldPath>;
  /** The field label under which watchers are indexed, if the resource has one. */
  readonly indexedField: string | undefined;
}

/**
 * Scans `bytes`, which the object then owns: they must not be a view into a buffer that is reused or much larger.
 * Throws MalformedFrame, also for labels that could not be read later, when there is nobody to tell.
 */
export function kubeObject(schema: ObjectSchema, bytes: Buffer): KubeObject {
  const { namespace, name, uid, resourceVersion } = scanObject(schema.encoding, bytes);
  if (name === '' || resourceVersion === 0) throw new MalformedFrame('an object with a name and a resourceVersion', 0);
  scanLabels(schema.encoding, bytes);
  const path = schema.indexedField === undefined ? undefined : schema.fields.get(schema.indexedField);
  return {
    key: namespace === '' ? name : `${namespace}/${name}`,
    namespace,
    name,
    uid,
    rv: resourceVersion,
    bytes,
    indexed: path === undefined ? '' : fieldValue(schema.encoding, bytes, path),
  };
}

/** "" also where the bytes on the way to the field are no field: an object that is there can be selected by less. */
function scanFieldOrNone(encoding: Encoding, bytes: Buffer, path: FieldPath): string {
  try {
    return scanField(encoding, bytes, path);
  } catch (error) {
    if (error instanceof MalformedFrame) return '';
    throw error;
  }
}

/** What upstream compares where a field of a built-in type is absent: its zero value. */
const ZERO_VALUES = { string: '', message: '', bool: 'false', int: '0' };

function fieldValue(encoding: Encoding, bytes: Buffer, path: FieldPath): string {
  const value = scanFieldOrNone(encoding, bytes, path);
  const leaf = path.protobuf.at(-1);
  return value === '' && leaf !== undefined ? ZERO_VALUES[leaf.type] : value;
}

const NO_LABELS: ReadonlyMap<string, string> = new Map();

/** The selectable attributes of one object, found when first asked for and kept only as long as this is. */
export class Attributes {
  readonly object: KubeObject;
  readonly #schema: ObjectSchema;
  #labels: ReadonlyMap<string, string> = NO_LABELS;
  #scanned = false;
  #uidHash: Hash64 | undefined;
  #namespaceHash: Hash64 | undefined;

  constructor(schema: ObjectSchema, object: KubeObject) {
    this.object = object;
    this.#schema = schema;
  }

  labels(): ReadonlyMap<string, string> {
    if (!this.#scanned) {
      this.#labels = scanLabels(this.#schema.encoding, this.object.bytes);
      this.#scanned = true;
    }
    return this.#labels;
  }

  /** What shards by uid are cut by. */
  get uidHash(): Hash64 {
    return (this.#uidHash ??= fnv1a64(this.object.uid));
  }

  /** What shards by namespace are cut by. */
  get namespaceHash(): Hash64 {
    return (this.#namespaceHash ??= fnv1a64(this.object.namespace));
  }

  /** Value of a field label of the schema; "" where the object does not set it, as upstream has it. */
  field(label: string): string {
    if (label === 'metadata.name') return this.object.name;
    if (label === 'metadata.namespace') return this.object.namespace;
    if (label === this.#schema.indexedField) return this.object.indexed;
    const path = this.#schema.fields.get(label);
    if (path === undefined) throw new Error(`field label ${label} was not checked against the schema`);
    return fieldValue(this.#schema.encoding, this.object.bytes, path);
  }
}
