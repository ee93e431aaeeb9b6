import { MalformedFrame } from './malformed-frame.ts';
import { bytesField, FieldReader, fieldHeader, stringField } from './proto-wire.ts';

/** What every protobuf object of Kubernetes begins with, before its runtime.Unknown message. */
export const MAGIC = Buffer.from('k8s\0');
const TYPE_META = 1;
const RAW = 2;
const API_VERSION = 1;
const KIND = 2;
/** contentEncoding and contentType, which kube-apiserver writes though they are empty. */
const EMPTY_CONTENT_FIELDS = Buffer.concat([stringField(3, ''), stringField(4, '')]);

/** The envelope of a protobuf object: its type, and where the bytes of the object itself lie. */
export interface RuntimeUnknown {
  readonly kind: string;
  readonly apiVersion: string;
  readonly rawStart: number;
  readonly rawEnd: number;
}

/** A reader of the runtime.Unknown message in `object`. Throws MalformedFrame if the magic is not there. */
export function unknownFields(object: Buffer): FieldReader {
  if (!startsWithMagic(object, 0)) throw new MalformedFrame('the magic of a protobuf object', 0);
  return new FieldReader(object, MAGIC.length, object.length);
}

/** Throws MalformedFrame if `object` is not an envelope with an object in it. */
export function openUnknown(object: Buffer): RuntimeUnknown {
  const fields = unknownFields(object);
  let kind = '';
  let apiVersion = '';
  let rawStart = -1;
  let rawEnd = -1;
  while (fields.next()) {
    if (fields.field === TYPE_META) {
      const typeMeta = fields.message();
      while (typeMeta.next()) {
        if (typeMeta.field === API_VERSION) apiVersion = typeMeta.internedText();
        else if (typeMeta.field === KIND) kind = typeMeta.internedText();
      }
    } else if (fields.field === RAW) {
      fields.expectBytes();
      rawStart = fields.start;
      rawEnd = fields.end;
    }
  }
  if (rawStart === -1) throw new MalformedFrame('the object in a protobuf envelope', object.length);
  return { kind, apiVersion, rawStart, rawEnd };
}

/** What of an envelope stands before and after its `rawLength` bytes of object, as kube-apiserver writes it. */
export function unknownAround(
  type: { kind: string; apiVersion: string },
  rawLength: number,
): { head: Buffer; tail: Buffer } {
  const typeMeta = bytesField(TYPE_META, stringField(API_VERSION, type.apiVersion), stringField(KIND, type.kind));
  return { head: Buffer.concat([MAGIC, typeMeta, fieldHeader(RAW, rawLength)]), tail: EMPTY_CONTENT_FIELDS };
}

/** The envelope with the object `raw` in it, byte for byte as kube-apiserver writes it. */
export function wrapUnknown(type: { kind: string; apiVersion: string }, raw: Buffer): Buffer {
  const { head, tail } = unknownAround(type, raw.length);
  return Buffer.concat([head, raw, tail]);
}

export function startsWithMagic(bytes: Buffer, offset: number): boolean {
  return (
    bytes.length >= offset + MAGIC.length &&
    bytes[offset] === MAGIC[0] &&
    bytes[offset + 1] === MAGIC[1] &&
    bytes[offset + 2] === MAGIC[2] &&
    bytes[offset + 3] === MAGIC[3]
  );
}
