import { internedText } from './interned-text.ts';
import { JsonReader } from './json-reader.ts';
import type { Encoding } from './lane.ts';
import { MalformedFrame } from './malformed-frame.ts';
import { FieldReader } from './proto-wire.ts';
import { startsWithMagic } from './runtime-unknown.ts';

/** What a watch tells of an object, as on the wire. */
export type EventType = 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';

/** Every EventType. */
export const EVENT_TYPES: readonly EventType[] = ['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR'];

export interface WatchEvent {
  readonly type: EventType;
  /** The exact bytes of the object inside the frame, a view; in protobuf with its `k8s\0` envelope. */
  readonly object: Buffer;
}

const TYPE_NAMES = EVENT_TYPES.map((type) => Buffer.from(type));
const EVENT_KEYS = ['type', 'object'].map((key) => Buffer.from(key));

/** Field numbers of metav1.WatchEvent and, in its object, runtime.RawExtension. */
const TYPE = 1;
const OBJECT = 2;
const RAW = 1;
const LENGTH_PREFIX = 4;

/** The event in one frame of a FrameScanner. Throws MalformedFrame if the frame is not exactly one event with an object. */
export function parseWatchFrame(encoding: Encoding, frame: Buffer): WatchEvent {
  return encoding === 'json' ? parseJson(frame) : parseProtobuf(frame);
}

function parseJson(frame: Buffer): WatchEvent {
  const reader = new JsonReader(frame);
  let type: EventType | undefined;
  let object: Buffer | undefined;
  if (!reader.enterObject()) throw new MalformedFrame('a watch event', 0);
  while (reader.nextKey()) {
    switch (reader.keyIndex(EVENT_KEYS)) {
      case 0:
        if (reader.enterString()) type = EVENT_TYPES[reader.keyIndex(TYPE_NAMES)];
        break;
      case 1: {
        if (!reader.atObject()) throw new MalformedFrame('the object of a watch event', reader.at);
        const start = reader.at;
        reader.skipValue();
        object = frame.subarray(start, reader.at);
        break;
      }
      default:
        reader.skipValue();
    }
  }
  if (!reader.atEnd()) throw new MalformedFrame('the end of a watch event', reader.at);
  return complete(type, object, frame);
}

function parseProtobuf(frame: Buffer): WatchEvent {
  if (frame.length < LENGTH_PREFIX || frame.readUInt32BE(0) !== frame.length - LENGTH_PREFIX) {
    throw new MalformedFrame('a length prefix that fits its frame', 0);
  }
  const fields = new FieldReader(frame, LENGTH_PREFIX, frame.length);
  let type: EventType | undefined;
  let object: Buffer | undefined;
  while (fields.next()) {
    if (fields.field === TYPE) {
      type = typeAt(fields);
    } else if (fields.field === OBJECT) {
      const extension = fields.message();
      while (extension.next()) {
        if (extension.field !== RAW) continue;
        extension.expectBytes();
        object = frame.subarray(extension.start, extension.end);
      }
    }
  }
  if (object !== undefined && !startsWithMagic(object, 0)) {
    throw new MalformedFrame('the magic of a protobuf object', object.byteOffset - frame.byteOffset);
  }
  return complete(type, object, frame);
}

function typeAt(field: FieldReader): EventType | undefined {
  field.expectBytes();
  const { bytes, start, end } = field;
  const text = internedText(bytes, start, end);
  return EVENT_TYPES.find((type) => type === text);
}

function complete(type: EventType | undefined, object: Buffer | undefined, frame: Buffer): WatchEvent {
  if (type === undefined) throw new MalformedFrame('a known event type', 0);
  if (object === undefined) throw new MalformedFrame('the object of a watch event', frame.length);
  return { type, object };
}
