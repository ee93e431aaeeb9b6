import { frameEvent } from '@dogwatch/kube/event-framer.ts';
import { apiVersionOf } from '@dogwatch/kube/group-resource.ts';
import type { Encoding, View } from '@dogwatch/kube/lane.ts';
import {
  bytesField,
  FieldReader,
  fieldHeader,
  stringField,
  varintField,
  varintLength,
} from '@dogwatch/kube/proto-wire.ts';
import { openUnknown, unknownAround, wrapUnknown } from '@dogwatch/kube/runtime-unknown.ts';
import { type EventType, type StoredObject, toProtobuf } from './simulated-object.ts';
import { type SimulatedResource, typePrefix } from './simulated-resources.ts';

/** What a client reads: whole objects or upstream's PartialObjectMetadata of them, in JSON or protobuf. */
export interface Wire {
  readonly encoding: Encoding;
  readonly view: View;
}

export interface ListMetadata {
  readonly resourceVersion: string;
  readonly continue?: string;
  readonly remainingItemCount?: number;
}

const PARTIAL = { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1' } as const;
const PARTIAL_PREFIX = `{"kind":"${PARTIAL.kind}","apiVersion":"${PARTIAL.apiVersion}","metadata":`;
const OBJECT_META = 1;
/** Fields of every protobuf list. */
const LIST_META = 1;
const ITEMS = 2;

/** An object as a watch event or a GET shows it. */
export function viewed(object: StoredObject, wire: Wire): Buffer {
  return cut(object.bytes(wire.encoding), wire);
}

/** Metadata is cut out of JSON by parsing: exact, and too slow for a fast lane. */
function cut(bytes: Buffer, { encoding, view }: Wire): Buffer {
  if (view === 'object') return bytes;
  if (encoding === 'protobuf') return wrapUnknown(PARTIAL, objectMeta(bytes));
  const { metadata } = JSON.parse(bytes.toString('utf8')) as { metadata: object };
  return Buffer.from(`${PARTIAL_PREFIX}${JSON.stringify(metadata)}}`);
}

function objectMeta(object: Buffer): Buffer {
  const { rawStart, rawEnd } = openUnknown(object);
  const fields = new FieldReader(object, rawStart, rawEnd);
  while (fields.next()) {
    if (fields.field === OBJECT_META) return object.subarray(fields.fieldStart, fields.end);
  }
  throw new TypeError('an object without metadata');
}

/** A watch event of an object as it is stored, or of `bytes` that stand for it. */
export function eventFrame(type: EventType, bytes: Buffer, wire: Wire): Buffer {
  return frameEvent(wire.encoding, type, cut(bytes, wire));
}

/** The body of a LIST in parts, made as they are asked for: its objects are encoded one at a time. */
export function listParts(
  resource: SimulatedResource,
  wire: Wire,
  metadata: ListMetadata,
  objects: readonly StoredObject[],
): Generator<Buffer> {
  const list = { resource, wire, metadata, objects };
  return wire.encoding === 'json' ? jsonList(list) : protobufList(list);
}

interface ListToSend {
  readonly resource: SimulatedResource;
  readonly wire: Wire;
  readonly metadata: ListMetadata;
  readonly objects: readonly StoredObject[];
}

function listType(resource: SimulatedResource, { view }: Wire): { kind: string; apiVersion: string } {
  if (view === 'metadata') return { ...PARTIAL, kind: `${PARTIAL.kind}List` };
  return { kind: `${resource.kind}List`, apiVersion: apiVersionOf(resource) };
}

/** Protocol L20. Typed lists leave out their items' `kind` and `apiVersion` (L19), metadata lists do not. */
function* jsonList({ resource, wire, metadata, objects }: ListToSend): Generator<Buffer> {
  const head = JSON.stringify({ ...listType(resource, wire), metadata });
  yield Buffer.from(`${head.slice(0, -1)},"items":[`);
  const skipped = wire.view === 'object' ? typePrefix(resource).length : 0;
  for (const [index, object] of objects.entries()) {
    const bytes = viewed(object, wire);
    yield Buffer.from(index > 0 ? ',{' : '{');
    yield bytes.subarray(skipped + 1);
  }
  yield Buffer.from(']}\n');
}

function* protobufList({ resource, wire, metadata, objects }: ListToSend): Generator<Buffer> {
  const meta = bytesField(
    LIST_META,
    stringField(1, ''),
    stringField(2, metadata.resourceVersion),
    stringField(3, metadata.continue ?? ''),
    ...(metadata.remainingItemCount === undefined ? [] : [varintField(4, metadata.remainingItemCount)]),
  );
  let length = meta.length;
  for (const object of objects) {
    const itemLength = wire.view === 'object' ? object.rawLength() : objectMeta(object.bytes('protobuf')).length;
    length += 1 + varintLength(itemLength) + itemLength;
  }
  const { head, tail } = unknownAround(listType(resource, wire), length);
  yield head;
  yield meta;
  for (const object of objects) {
    const bytes = viewed(object, wire);
    const { rawStart, rawEnd } = openUnknown(bytes);
    yield fieldHeader(ITEMS, rawEnd - rawStart);
    yield bytes.subarray(rawStart, rawEnd);
  }
  yield tail;
}

/** A bookmark (protocol W14); `end` marks the end of the initial events. */
export function bookmarkFrame(options: {
  resource: SimulatedResource;
  wire: Wire;
  version: number;
  end: boolean;
}): Buffer {
  const { resource, wire, version, end } = options;
  const metadata = `{"resourceVersion":"${version}"${end ? ',"annotations":{"k8s.io/initial-events-end":"true"}' : ''}}`;
  const whole = Buffer.from(`{${typePrefix(resource)}"metadata":${metadata}${resource.emptyTail}}`);
  const object = wire.encoding === 'json' ? whole : toProtobuf(resource, whole);
  return frameEvent(wire.encoding, 'BOOKMARK', cut(object, wire));
}
