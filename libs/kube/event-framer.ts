import { type BookmarkObject, EMPTY_OBJECT, jsonBookmark, protobufBookmark } from './bookmark-object.ts';
import type { Encoding } from './lane.ts';
import { MalformedFrame } from './malformed-frame.ts';
import { scanObject } from './object-scanner.ts';
import { type FieldReader, stringField, varintLength, writeVarint } from './proto-wire.ts';
import type { ResourceVersion } from './resource-version.ts';
import { unknownFields, wrapUnknown } from './runtime-unknown.ts';
import { statusObjectJson, statusProtobuf } from './status-encoding.ts';
import type { StatusBody } from './status.ts';
import { EVENT_TYPES, type EventType } from './watch-event.ts';

/** Fields of metav1.WatchEvent and, in its object, runtime.RawExtension: a number, or the tag of a length-delimited one. */
const TYPE = 1;
const OBJECT_TAG = 0x12;
const RAW_TAG = 0x0a;
const LENGTH_PREFIX = 4;

const JSON_TAIL = Buffer.from('}\n');
const JSON_HEADS = ofEachType((type) => Buffer.from(`{"type":"${type}","object":`));
const PROTOBUF_TYPES = ofEachType((type) => stringField(TYPE, type));

function ofEachType(bytesOf: (type: EventType) => Buffer): Readonly<Record<EventType, Buffer>> {
  return Object.fromEntries(EVENT_TYPES.map((type) => [type, bytesOf(type)])) as Record<EventType, Buffer>;
}

/** The event as kube-apiserver would frame it, byte for byte (protocol rows F1 and F2). `object` is as parseWatchFrame gives it. */
export function frameEvent(encoding: Encoding, type: EventType, object: Buffer): Buffer {
  if (encoding === 'json') return Buffer.concat([JSON_HEADS[type], object, JSON_TAIL]);
  return frameProtobuf(PROTOBUF_TYPES[type], object);
}

function frameProtobuf(typeField: Buffer, object: Buffer): Buffer {
  const extensionLength = 1 + varintLength(object.length) + object.length;
  const messageLength = typeField.length + 1 + varintLength(extensionLength) + extensionLength;
  const frame = Buffer.allocUnsafe(LENGTH_PREFIX + messageLength);
  let at = frame.writeUInt32BE(messageLength);
  at += typeField.copy(frame, at);
  frame[at++] = OBJECT_TAG;
  at = writeVarint(frame, at, extensionLength);
  frame[at++] = RAW_TAG;
  at = writeVarint(frame, at, object.length);
  object.copy(frame, at);
  return frame;
}

/** The ERROR event with which upstream ends a watch it cannot go on with (protocol row W8). */
export function frameStatusEvent(encoding: Encoding, status: StatusBody): Buffer {
  const object = encoding === 'json' ? Buffer.from(statusObjectJson(status)) : statusProtobuf(status);
  return frameEvent(encoding, 'ERROR', object);
}

/**
 * A copy of `object` that differs in nothing but its resourceVersion (protocol row W15).
 * Throws MalformedFrame if it has none.
 */
export function withResourceVersion(encoding: Encoding, object: Buffer, rv: ResourceVersion): Buffer {
  const { rvStart, rvEnd } = scanObject(encoding, object);
  if (rvStart === -1) throw new MalformedFrame('an object with a resourceVersion', 0);
  const digits = Buffer.from(String(rv));
  if (digits.length === rvEnd - rvStart) {
    const copy = Buffer.from(object);
    digits.copy(copy, rvStart);
    return copy;
  }
  if (encoding === 'json') return Buffer.concat([object.subarray(0, rvStart), digits, object.subarray(rvEnd)]);
  return spliceProtobuf(object, rvStart, rvEnd, digits);
}

/** Puts `digits` in the place of [start, end), and the new length in front of every message around it. */
function spliceProtobuf(object: Buffer, start: number, end: number, digits: Buffer): Buffer {
  const parts: Buffer[] = [digits];
  let length = digits.length;
  let [from, to] = [start, end];
  for (const around of messagesAround(object, start, end)) {
    const before = object.subarray(around.start, from);
    const after = object.subarray(to, around.end);
    length += before.length + after.length;
    const header = Buffer.allocUnsafe(varintLength(length));
    writeVarint(header, 0, length);
    parts.unshift(header, before);
    parts.push(after);
    length += header.length;
    [from, to] = [around.lengthStart, around.end];
  }
  return Buffer.concat([object.subarray(0, from), ...parts, object.subarray(to)]);
}

/** The field that is [start, end), and the messages it is in, from the innermost to that in the envelope. */
function messagesAround(object: Buffer, start: number, end: number): FieldReader[] {
  const around: FieldReader[] = [];
  let fields = unknownFields(object);
  while (fields.next()) {
    if (fields.start > start || fields.end < end) continue;
    around.unshift(fields);
    if (fields.start === start) return around;
    fields = fields.message();
  }
  throw new MalformedFrame('the resourceVersion of an object', start);
}

/** A bookmark without its version (protocol row W14), of which each lane makes one. */
export interface BookmarkTemplate {
  readonly encoding: Encoding;
  /** Bytes of the bookmark object. */
  readonly object: BookmarkObject;
}

/**
 * A template in the layout of a bookmark object that upstream sent, be it annotated as the end of initial events or
 * not. Throws MalformedFrame if it is no object with a resourceVersion.
 */
export function bookmarkTemplate(encoding: Encoding, bookmarkObject: Buffer): BookmarkTemplate {
  const object = encoding === 'json' ? jsonBookmark(bookmarkObject) : protobufBookmark(bookmarkObject);
  return { encoding, object };
}

/** For when upstream gave no bookmark: decodes alike, but lacks the empty spec and status some types print. */
export function minimalBookmark(encoding: Encoding, kind: string, apiVersion: string): BookmarkTemplate {
  if (encoding === 'json') {
    const text = JSON.stringify({ kind, apiVersion, metadata: { resourceVersion: '0' } });
    return bookmarkTemplate(encoding, Buffer.from(text));
  }
  return bookmarkTemplate(encoding, wrapUnknown({ kind, apiVersion }, EMPTY_OBJECT));
}

/** The BOOKMARK event at `rv`; with `initialEventsEnd` the one that ends the initial events (protocol row W4). */
export function frameBookmark(template: BookmarkTemplate, rv: ResourceVersion, initialEventsEnd: boolean): Buffer {
  return frameEvent(template.encoding, 'BOOKMARK', template.object(rv, initialEventsEnd));
}
