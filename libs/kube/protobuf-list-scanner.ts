import { CarryBuffer } from './carry-buffer.ts';
import { FrameTooLarge } from './frame-scanner.ts';
import type { ListEnd, ListScanner } from './list-scanner.ts';
import { MalformedFrame } from './malformed-frame.ts';
import { FieldReader } from './proto-wire.ts';
import { MAGIC } from './runtime-unknown.ts';

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;
const MAX_TAG = 2 ** 32;
/** A length above it cannot be exact, nor real. */
const MAX_LENGTH = Number.MAX_SAFE_INTEGER;

/** Fields of runtime.Unknown. */
const TYPE_META = 1;
const RAW = 2;
/** Fields of every list. */
const LIST_META = 1;
const ITEMS = 2;

type State = 'magic' | 'tag' | 'varint' | 'length' | 'skip' | 'payload';

/**
 * Reads `k8s\0`, runtime.Unknown and in it the list, field by field over any number of chunks: the length of the list
 * comes first, but only one item at a time is held.
 */
export class ProtobufListScanner implements ListScanner {
  readonly #maxItemBytes: number;
  readonly #carry = new CarryBuffer();
  #state: State = 'magic';
  /** Bytes consumed so far, of all chunks. */
  #offset = 0;
  #field = 0;
  #varint = 0;
  #scale = 1;
  /** Where the payload ends that is taken or skipped. */
  #payloadEnd = 0;
  /** Where the list in the envelope ends; undefined outside of it. */
  #listEnd: number | undefined;
  #listSeen = false;
  readonly #type = { kind: '', apiVersion: '' };
  readonly #meta = { resourceVersion: '', continue: '' };

  constructor(maxItemBytes: number) {
    this.#maxItemBytes = maxItemBytes;
  }

  push(chunk: Buffer, onItem: (item: Buffer) => void): void {
    let at = 0;
    while (at < chunk.length) {
      const start = at;
      if (this.#state === 'payload') {
        at = Math.min(chunk.length, start + this.#payloadEnd - this.#offset);
        this.#offset += at - start;
        this.#take(chunk.subarray(start, at), onItem);
      } else if (this.#state === 'skip') {
        at = Math.min(chunk.length, start + this.#payloadEnd - this.#offset);
        this.#offset += at - start;
        if (this.#offset === this.#payloadEnd) this.#fieldDone();
      } else {
        at++;
        this.#offset++;
        this.#headerByte(chunk[start] as number, onItem);
      }
    }
  }

  end(): ListEnd {
    const complete = this.#state === 'tag' && this.#scale === 1 && this.#listEnd === undefined && this.#listSeen;
    if (!complete) throw this.#malformed('the end of a list');
    return { ...this.#meta, ...this.#type };
  }

  #headerByte(byte: number, onItem: (item: Buffer) => void): void {
    if (this.#state === 'magic') {
      if (byte !== MAGIC[this.#offset - 1]) throw this.#malformed('the magic of a protobuf list');
      if (this.#offset === MAGIC.length) this.#state = 'tag';
      return;
    }
    this.#varint += (byte & 0x7f) * this.#scale;
    this.#scale *= 128;
    if (this.#scale > 2 ** 70) throw this.#malformed('the end of a protobuf varint');
    if (byte >= 0x80) return;
    const value = this.#varint;
    this.#varint = 0;
    this.#scale = 1;
    if (this.#state === 'tag') this.#onTag(value);
    else if (this.#state === 'varint') this.#fieldDone();
    else this.#onLength(value, onItem);
  }

  #onTag(tag: number): void {
    this.#field = tag >>> 3;
    if (tag >= MAX_TAG || this.#field === 0) throw this.#malformed('a protobuf field number');
    // All fields known here, of the envelope and of the list, are messages.
    if (this.#field <= ITEMS && (tag & 7) !== LENGTH_DELIMITED) throw this.#malformed('a length-delimited field');
    switch (tag & 7) {
      case LENGTH_DELIMITED:
        this.#state = 'length';
        break;
      case VARINT:
        this.#state = 'varint';
        break;
      case FIXED64:
        this.#goOnTo('skip', 8);
        break;
      case FIXED32:
        this.#goOnTo('skip', 4);
        break;
      default:
        throw this.#malformed('a protobuf wire type');
    }
  }

  #onLength(length: number, onItem: (item: Buffer) => void): void {
    if (this.#offset + length > (this.#listEnd ?? MAX_LENGTH)) {
      throw this.#malformed('a protobuf field that fits its list');
    }
    if (this.#listEnd === undefined && this.#field === RAW) {
      if (this.#listSeen) throw this.#malformed('one list in its envelope');
      this.#listSeen = true;
      this.#listEnd = this.#offset + length;
      this.#fieldDone();
      return;
    }
    const wanted =
      this.#listEnd === undefined ? this.#field === TYPE_META : this.#field === LIST_META || this.#field === ITEMS;
    if (wanted && length > this.#maxItemBytes) throw new FrameTooLarge(this.#maxItemBytes);
    this.#goOnTo(wanted ? 'payload' : 'skip', length);
    if (length > 0) return;
    if (wanted) this.#take(Buffer.alloc(0), onItem);
    else this.#fieldDone();
  }

  /** The next `length` bytes are a payload, to be taken or skipped. */
  #goOnTo(state: 'payload' | 'skip', length: number): void {
    this.#payloadEnd = this.#offset + length;
    this.#state = state;
  }

  /** Goes on with the payload being taken by `part` of it. */
  #take(part: Buffer, onItem: (item: Buffer) => void): void {
    let payload = part;
    if (this.#offset < this.#payloadEnd || this.#carry.length > 0) {
      this.#carry.append(part);
      if (this.#offset < this.#payloadEnd) return;
      payload = this.#carry.take();
    }
    const inList = this.#listEnd !== undefined;
    const field = this.#field;
    this.#fieldDone();
    if (inList && field === ITEMS) onItem(payload);
    else if (inList) readTexts(payload, this.#meta, { 2: 'resourceVersion', 3: 'continue' });
    else readTexts(payload, this.#type, { 1: 'apiVersion', 2: 'kind' });
  }

  #fieldDone(): void {
    this.#state = 'tag';
    if (this.#listEnd === undefined) return;
    if (this.#offset > this.#listEnd) throw this.#malformed('a protobuf field that fits its list');
    if (this.#offset === this.#listEnd) this.#listEnd = undefined;
  }

  #malformed(expected: string): MalformedFrame {
    return new MalformedFrame(expected, this.#offset);
  }
}

function readTexts<K extends string>(
  message: Buffer,
  into: Record<K, string>,
  keys: Readonly<Record<number, K>>,
): void {
  const fields = new FieldReader(message, 0, message.length);
  while (fields.next()) {
    const key = keys[fields.field];
    if (key !== undefined) into[key] = fields.text();
  }
}
