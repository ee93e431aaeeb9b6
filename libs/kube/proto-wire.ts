import { internedText } from './interned-text.ts';
import { MalformedFrame } from './malformed-frame.ts';

/** Protobuf wire types that Kubernetes uses; groups (3 and 4) are refused. */
const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;
const MAX_VARINT_BYTES = 10;
const MAX_TAG = 2 ** 32;

/** Steps through the fields of one protobuf message without copying. Every error is a MalformedFrame. */
export class FieldReader {
  readonly bytes: Buffer;
  /** Number of the field read last. */
  field = 0;
  /** Where it begins, with its tag. */
  fieldStart = 0;
  /** Where what follows the tag begins: the length of a string, bytes or message. */
  lengthStart = 0;
  /** Where its payload lies: after the length of a string, bytes or message, the varint itself of a bool or int. */
  start = 0;
  end = 0;
  #wireType = VARINT;
  #at: number;
  readonly #messageEnd: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes;
    this.#at = start;
    this.#messageEnd = end;
  }

  /** Reads the next field's header and steps over its payload; false at the end of the message. */
  next(): boolean {
    if (this.#at === this.#messageEnd) return false;
    this.fieldStart = this.#at;
    const tag = this.#varint();
    this.field = tag >>> 3;
    this.#wireType = tag & 7;
    if (tag >= MAX_TAG || this.field === 0) throw new MalformedFrame('a protobuf field number', this.#at);
    this.start = this.lengthStart = this.#at;
    switch (this.#wireType) {
      case LENGTH_DELIMITED: {
        const length = this.#varint();
        this.start = this.#at;
        return this.#skip(length);
      }
      case VARINT:
        this.#varint();
        this.end = this.#at;
        return true;
      case FIXED64:
        return this.#skip(8);
      case FIXED32:
        return this.#skip(4);
      default:
        throw new MalformedFrame('a protobuf wire type', this.#at);
    }
  }

  /** A reader of the message that is this field. */
  message(): FieldReader {
    this.expectBytes();
    return new FieldReader(this.bytes, this.start, this.end);
  }

  text(): string {
    this.expectBytes();
    return this.bytes.toString('utf8', this.start, this.end);
  }

  /** As text, for what a few values of are met over and over. */
  internedText(): string {
    this.expectBytes();
    return internedText(this.bytes, this.start, this.end);
  }

  expectBytes(): void {
    if (this.#wireType !== LENGTH_DELIMITED) throw new MalformedFrame('a length-delimited protobuf field', this.start);
  }

  /** The field as a 64-bit two's complement integer, as protobuf writes int32 and int64. */
  int(): bigint {
    if (this.#wireType !== VARINT) throw new MalformedFrame('a protobuf varint', this.start);
    let value = 0n;
    let shift = 0n;
    for (let at = this.start; at < this.end; at++) {
      value |= BigInt((this.bytes[at] as number) & 0x7f) << shift;
      shift += 7n;
    }
    return BigInt.asIntN(64, value);
  }

  #skip(length: number): boolean {
    if (length > this.#messageEnd - this.#at)
      throw new MalformedFrame('a protobuf field that fits its message', this.#at);
    this.#at += length;
    this.end = this.#at;
    return true;
  }

  /** Value of the varint at the cursor; exact below 2^53, which is more than any length or field number may be. */
  #varint(): number {
    const { bytes } = this;
    const first = this.#at;
    const limit = Math.min(this.#messageEnd, first + MAX_VARINT_BYTES);
    let value = 0;
    let scale = 1;
    for (let at = first; at < limit; at++) {
      const byte = bytes[at] as number;
      if (byte < 0x80) {
        this.#at = at + 1;
        return value + byte * scale;
      }
      value += (byte & 0x7f) * scale;
      scale *= 128;
    }
    throw new MalformedFrame('the end of a protobuf varint', first);
  }
}

/** How many bytes `value`, a safe integer of at least 0, takes as a varint. */
export function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 128)) length++;
  return length;
}

/** Writes `value`, a safe integer of at least 0, as a varint; returns where it ends. */
export function writeVarint(target: Buffer, offset: number, value: number): number {
  let at = offset;
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) target[at++] = (rest % 128) | 0x80;
  target[at++] = rest;
  return at;
}

/** Header of a length-delimited field (a string, bytes or message) whose payload has `length` bytes. */
export function fieldHeader(field: number, length: number): Buffer {
  const tag = field * 8 + LENGTH_DELIMITED;
  const header = Buffer.allocUnsafe(varintLength(tag) + varintLength(length));
  writeVarint(header, writeVarint(header, 0, tag), length);
  return header;
}

/** A length-delimited field made of `parts`. */
export function bytesField(field: number, ...parts: readonly Buffer[]): Buffer {
  let length = 0;
  for (const part of parts) length += part.length;
  return Buffer.concat([fieldHeader(field, length), ...parts]);
}

export function stringField(field: number, text: string): Buffer {
  return bytesField(field, Buffer.from(text));
}

/** A field whose value, a safe integer of at least 0, is a varint. */
export function varintField(field: number, value: number): Buffer {
  const tag = field * 8 + VARINT;
  const bytes = Buffer.allocUnsafe(varintLength(tag) + varintLength(value));
  writeVarint(bytes, writeVarint(bytes, 0, tag), value);
  return bytes;
}
