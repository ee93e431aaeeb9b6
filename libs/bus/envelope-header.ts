import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Position } from '@dogwatch/watch/watch-cache.ts';
import { EnvelopeCorrupt, SEAL_BYTES } from './sealed-message.ts';

/** What of an envelope can be told without unpacking it. */
export interface EnvelopeHeader {
  readonly epoch: number;
  readonly term: number;
  readonly sequence: number;
  /** Place of the last change before the envelope; 0.0 where it continues nothing. */
  readonly previous: Position;
  /** Version of the first event or object, and the highest; 0 if there is none. */
  readonly firstRv: ResourceVersion;
  readonly lastRv: ResourceVersion;
  /** Version the track is known to be complete to once the envelope is applied; 0 if it does not say. */
  readonly watermark: ResourceVersion;
  /** Events or objects. */
  readonly count: number;
  /** Lengths of the index and of the object bytes behind it, as they are before compression. */
  readonly indexBytes: number;
  readonly payloadBytes: number;
  readonly track: string;
}

/** Offsets from the start of the message. Eight safe integers of eight bytes, three of four, one of two. */
const COUNT_AT = SEAL_BYTES + 8 * 8;
const INDEX_BYTES_AT = COUNT_AT + 4;
const PAYLOAD_BYTES_AT = COUNT_AT + 8;
const TRACK_BYTES_AT = COUNT_AT + 12;
const TRACK_AT = TRACK_BYTES_AT + 2;

/** Length of the seal and of a header with this track. */
export function headerBytes(track: string): number {
  const trackBytes = Buffer.byteLength(track);
  if (trackBytes > 0xffff) throw new RangeError(`a track's name has ${trackBytes} bytes, more than 65,535`);
  return TRACK_AT + trackBytes;
}

/** Writes `header` behind the seal of `message`. */
export function writeHeader(message: Buffer, header: EnvelopeHeader): void {
  const { previous } = header;
  let at = SEAL_BYTES;
  at = writeSafeInteger(message, at, header.epoch);
  at = writeSafeInteger(message, at, header.term);
  at = writeSafeInteger(message, at, header.sequence);
  at = writeSafeInteger(message, at, previous.rv);
  at = writeSafeInteger(message, at, previous.index);
  at = writeSafeInteger(message, at, header.firstRv);
  at = writeSafeInteger(message, at, header.lastRv);
  at = writeSafeInteger(message, at, header.watermark);
  at = message.writeUInt32BE(header.count, at);
  at = message.writeUInt32BE(header.indexBytes, at);
  at = message.writeUInt32BE(header.payloadBytes, at);
  at = message.writeUInt16BE(Buffer.byteLength(header.track), at);
  message.write(header.track, at);
}

/** The header of `message`, and where what follows it begins. Throws EnvelopeCorrupt. */
export function readHeader(message: Buffer): { readonly header: EnvelopeHeader; readonly end: number } {
  if (message.length < TRACK_AT) throw new EnvelopeCorrupt('a header');
  const end = TRACK_AT + message.readUInt16BE(TRACK_BYTES_AT);
  if (message.length < end) throw new EnvelopeCorrupt('the name of a track');
  const integer = (place: number): number => readSafeInteger(message, SEAL_BYTES + 8 * place);
  const header = {
    epoch: integer(0),
    term: integer(1),
    sequence: integer(2),
    previous: { rv: integer(3), index: integer(4) },
    firstRv: integer(5),
    lastRv: integer(6),
    watermark: integer(7),
    count: message.readUInt32BE(COUNT_AT),
    indexBytes: message.readUInt32BE(INDEX_BYTES_AT),
    payloadBytes: message.readUInt32BE(PAYLOAD_BYTES_AT),
    track: message.toString('utf8', TRACK_AT, end),
  };
  return { header, end };
}

function writeSafeInteger(bytes: Buffer, at: number, value: number): number {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no safe integer of 0 or more`);
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  return bytes.writeUInt32BE(value >>> 0, at + 4);
}

function readSafeInteger(bytes: Buffer, at: number): number {
  const value = bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
  if (!Number.isSafeInteger(value)) throw new EnvelopeCorrupt('a safe integer in the header');
  return value;
}
