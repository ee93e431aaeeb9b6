import type { JsonLayout } from './json-layout.ts';
import { JsonReader } from './json-reader.ts';
import type { Encoding } from './lane.ts';
import { bytesField, fieldHeader, stringField, varintField, varintLength } from './proto-wire.ts';
import type { ResourceVersion } from './resource-version.ts';
import { openUnknown, unknownAround, wrapUnknown } from './runtime-unknown.ts';

/** Small parts of a list are joined to chunks of about this size, larger ones are handed on as they are. */
const CHUNK_BYTES = 64 * 1024;

/** Fields of every protobuf list. */
const LIST_META = 1;
const ITEMS = 2;

const TYPE_KEYS = ['kind', 'apiVersion'].map((key) => Buffer.from(key));
const KIND = 0;
const API_VERSION = 1;
const PARTIAL = [Buffer.from('PartialObjectMetadata')];
const OPEN_BRACE = Buffer.from('{');
const COMMA = Buffer.from(',');

/** What stands in a list beside its items. */
export interface ListHead {
  /** Of the list: PodList. */
  readonly kind: string;
  readonly apiVersion: string;
  /** Order of keys in JSON; of no meaning in protobuf. */
  readonly layout: JsonLayout;
  readonly resourceVersion: ResourceVersion;
  /** Token of the next page, if there is one. */
  readonly continue?: string;
  /** How many objects follow this page, where upstream would say (protocol row L14). */
  readonly remainingItemCount?: number;
  /**
   * Text of the shard selector that only a part was asked for by (KEP-5866). Upstream tells it in lists of built-in
   * types; those of custom resources and of PartialObjectMetadata have no place for it.
   */
  readonly shards?: string;
}

/**
 * A whole LIST, byte for byte as kube-apiserver writes it (protocol rows L19 to L21), made of objects as they stand in
 * watch events. Chunks are made as they are asked for. Throws MalformedFrame if an object is none.
 */
export function frameList(encoding: Encoding, head: ListHead, objects: readonly Buffer[]): Generator<Buffer> {
  return joined(encoding === 'json' ? jsonList(head, objects) : protobufList(head, objects));
}

function* jsonList(head: ListHead, objects: readonly Buffer[]): Generator<Buffer> {
  const { kind, apiVersion, layout } = head;
  const version = { resourceVersion: String(head.resourceVersion) };
  const remaining = head.remainingItemCount === undefined ? {} : { remainingItemCount: head.remainingItemCount };
  const shards = tellsShards(head) ? { shardInfo: { selector: head.shards } } : {};
  const typed = layout === 'typed';
  const metadata = typed
    ? { ...version, ...(head.continue === undefined ? {} : { continue: head.continue }), ...remaining, ...shards }
    : { continue: head.continue ?? '', ...remaining, ...version };
  const before = JSON.stringify(typed ? { kind, apiVersion, metadata } : { apiVersion });
  const after = JSON.stringify({ kind, metadata });
  if (objects.length === 0 && kind === 'PartialObjectMetadataList') {
    // Upstream makes this list of the items of another, and leaves it nil if there are none.
    yield Buffer.from(`${before.slice(0, -1)},"items":null}\n`);
    return;
  }
  yield Buffer.from(`${before.slice(0, -1)},"items":[`);
  for (const [index, object] of objects.entries()) {
    if (index > 0) yield COMMA;
    const fields = typedFields(object);
    if (fields !== undefined) yield OPEN_BRACE;
    yield fields ?? object;
  }
  yield Buffer.from(typed ? ']}\n' : `],${after.slice(1)}\n`);
}

function tellsShards(head: ListHead): head is ListHead & { readonly shards: string } {
  return head.shards !== undefined && head.layout === 'typed' && head.kind !== 'PartialObjectMetadataList';
}

/**
 * What follows `{"kind":…,"apiVersion":…,` in an object of a built-in type, which has neither key as the item of a list
 * (protocol row L19). Undefined for all others: custom resources, whose keys come the other way round, and
 * PartialObjectMetadata keep them.
 */
function typedFields(object: Buffer): Buffer | undefined {
  const reader = new JsonReader(object);
  if (!reader.enterObject() || !reader.nextKey() || reader.keyIndex(TYPE_KEYS) !== KIND) return undefined;
  if (!reader.enterString() || reader.keyIndex(PARTIAL) === 0) return undefined;
  if (!reader.nextKey() || reader.keyIndex(TYPE_KEYS) !== API_VERSION) return undefined;
  reader.skipValue();
  return object.subarray(reader.nextKey() ? reader.start - 1 : reader.at - 1);
}

function* protobufList(head: ListHead, objects: readonly Buffer[]): Generator<Buffer> {
  const remaining = head.remainingItemCount === undefined ? [] : [varintField(4, head.remainingItemCount)];
  const shards = tellsShards(head) ? [bytesField(5, stringField(1, head.shards))] : [];
  const version = stringField(2, String(head.resourceVersion));
  const token = stringField(3, head.continue ?? '');
  const meta = bytesField(LIST_META, stringField(1, ''), version, token, ...remaining, ...shards);
  let length = meta.length;
  for (const object of objects) {
    const { rawStart, rawEnd } = openUnknown(object);
    length += 1 + varintLength(rawEnd - rawStart) + rawEnd - rawStart;
  }
  const around = unknownAround(head, length);
  yield around.head;
  yield meta;
  for (const object of objects) {
    const { rawStart, rawEnd } = openUnknown(object);
    yield fieldHeader(ITEMS, rawEnd - rawStart);
    yield object.subarray(rawStart, rawEnd);
  }
  yield around.tail;
}

function* joined(parts: Iterable<Buffer>): Generator<Buffer> {
  let pending: Buffer[] = [];
  let length = 0;
  for (const part of parts) {
    if (length > 0 && length + part.length > CHUNK_BYTES) {
      yield Buffer.concat(pending, length);
      pending = [];
      length = 0;
    }
    if (part.length >= CHUNK_BYTES) yield part;
    else {
      pending.push(part);
      length += part.length;
    }
  }
  if (length > 0) yield Buffer.concat(pending, length);
}

/**
 * An object as it would stand in a watch event, from an item of a LIST: the reverse of what frameList does to it.
 * `kind` and `apiVersion` are the object's own. May be a view of `item`. Throws MalformedFrame if that is no object.
 */
export function objectFromListItem(encoding: Encoding, kind: string, apiVersion: string, item: Buffer): Buffer {
  if (encoding === 'protobuf') return wrapUnknown({ kind, apiVersion }, item);
  const reader = new JsonReader(item);
  const type = JSON.stringify({ kind, apiVersion });
  if (!reader.enterObject() || !reader.nextKey()) return Buffer.from(type);
  if (reader.keyIndex(TYPE_KEYS) !== -1) return item;
  return Buffer.concat([Buffer.from(`${type.slice(0, -1)},`), item.subarray(reader.start - 1)]);
}
