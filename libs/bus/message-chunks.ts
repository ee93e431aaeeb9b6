import type { Clock } from '@dogwatch/process/clock.ts';
import {
  EnvelopeCorrupt,
  EnvelopeTooLarge,
  MESSAGE_KINDS,
  SEAL_BYTES,
  type SealedMessage,
  seal,
  sealedChecksum,
  unseal,
} from './sealed-message.ts';

/** Behind the seal of a chunk: checksum of the whole message, its bytes, which chunk this is, and of how many. */
const [ID_AT, TOTAL_AT, PLACE_AT, COUNT_AT] = [SEAL_BYTES, SEAL_BYTES + 4, SEAL_BYTES + 8, SEAL_BYTES + 12];
const CHUNK_HEADER_BYTES = SEAL_BYTES + 16;
const MAX_PAYLOAD_BYTES_MIN = 1024;

/** Messages of which chunks are missing; of more the one that has waited longest for its next is given up. */
const PENDING_MESSAGES_MAX = 64;
/** Milliseconds without a further chunk after which a message is given up. */
const PENDING_MS_MAX = 30_000;

interface Chunk {
  readonly id: number;
  readonly totalBytes: number;
  readonly place: number;
  readonly count: number;
  /** Where the chunk begins in the whole. */
  readonly start: number;
  /** A view. */
  readonly bytes: Buffer;
}

/** `message` as it is if it fits, or in chunks of equal length (the last may be shorter), each a message of its own. */
export function splitMessage(message: Buffer, maxPayloadBytes: number): Buffer[] {
  if (maxPayloadBytes < MAX_PAYLOAD_BYTES_MIN) {
    throw new RangeError(`a max_payload of ${maxPayloadBytes} bytes is below ${MAX_PAYLOAD_BYTES_MIN}`);
  }
  if (message.length <= maxPayloadBytes) return [message];
  const count = Math.ceil(message.length / (maxPayloadBytes - CHUNK_HEADER_BYTES));
  const stride = Math.ceil(message.length / count);
  return Array.from({ length: count }, (_, place) => {
    const part = message.subarray(place * stride, (place + 1) * stride);
    const chunk = Buffer.allocUnsafe(CHUNK_HEADER_BYTES + part.length);
    chunk.writeUInt32BE(sealedChecksum(message), ID_AT);
    chunk.writeUInt32BE(message.length, TOTAL_AT);
    chunk.writeUInt32BE(place, PLACE_AT);
    chunk.writeUInt32BE(count, COUNT_AT);
    part.copy(chunk, CHUNK_HEADER_BYTES);
    return seal(chunk, MESSAGE_KINDS.chunk, 0);
  });
}

function readChunk({ bytes: message, flags }: SealedMessage): Chunk {
  if (flags !== 0 || message.length <= CHUNK_HEADER_BYTES) throw new EnvelopeCorrupt('a chunk');
  const totalBytes = message.readUInt32BE(TOTAL_AT);
  const place = message.readUInt32BE(PLACE_AT);
  const count = message.readUInt32BE(COUNT_AT);
  const bytes = message.subarray(CHUNK_HEADER_BYTES);
  const stride = Math.ceil(totalBytes / count);
  const start = place * stride;
  if (place >= count || start >= totalBytes || bytes.length !== Math.min(stride, totalBytes - start)) {
    throw new EnvelopeCorrupt('a chunk of the length its place asks for');
  }
  return { id: message.readUInt32BE(ID_AT), totalBytes, place, count, start, bytes };
}

/** One message of which chunks are coming in, in any order, some perhaps twice. */
class Assembly {
  readonly bytes: Buffer;
  readonly #count: number;
  readonly #places = new Set<number>();
  /** Monotonic ms at which the last new chunk came. */
  since = 0;

  constructor({ totalBytes, count }: Chunk) {
    this.bytes = Buffer.allocUnsafeSlow(totalBytes);
    this.#count = count;
  }

  /** False if it was here already. */
  add({ place, start, bytes }: Chunk): boolean {
    if (this.#places.has(place)) return false;
    this.#places.add(place);
    bytes.copy(this.bytes, start);
    return true;
  }

  get whole(): boolean {
    return this.#places.size === this.#count;
  }
}

/**
 * Puts chunks together, of many messages at a time. What it holds is bounded in bytes, messages and time; what must
 * give way is dropped and counted. A chunk is known by the checksum and length of its whole, so the same message sent
 * again goes on where the first sending stopped, and two are never mixed: the whole has its checksum again.
 */
export class Reassembler {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #maxPendingBytes: number;
  /** That which has waited longest for its next chunk comes first. */
  readonly #pending = new Map<string, Assembly>();
  #pendingBytes = 0;
  #dropped = 0;

  constructor(options: { readonly clock: Pick<Clock, 'now'>; readonly maxPendingBytes: number }) {
    this.#clock = options.clock;
    this.#maxPendingBytes = options.maxPendingBytes;
  }

  /** Messages given up before they were whole. */
  get dropped(): number {
    return this.#dropped;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** The message that `sealed`, a chunk, completes. Throws EnvelopeCorrupt, and EnvelopeTooLarge if it can never be held. */
  add(sealed: SealedMessage): SealedMessage | undefined {
    const chunk = readChunk(sealed);
    if (chunk.totalBytes > this.#maxPendingBytes) throw new EnvelopeTooLarge(chunk.totalBytes, this.#maxPendingBytes);
    const id = `${chunk.id}/${chunk.totalBytes}/${chunk.count}`;
    const assembly = this.#pending.get(id) ?? this.#begin(chunk);
    if (assembly.add(chunk)) {
      assembly.since = this.#clock.now();
      this.#pending.delete(id);
      this.#pending.set(id, assembly);
    }
    if (!assembly.whole) return undefined;
    this.#forget(id, assembly);
    return unsealWhole(assembly);
  }

  /** Gives up what has waited too long. To be called whenever something comes, be it a chunk or not. */
  sweep(): void {
    if (this.#pending.size === 0) return;
    const oldest = this.#clock.now() - PENDING_MS_MAX;
    this.#dropWhile((assembly) => assembly.since < oldest);
  }

  #begin(chunk: Chunk): Assembly {
    const bytesMax = this.#maxPendingBytes - chunk.totalBytes;
    this.#dropWhile(() => this.#pendingBytes > bytesMax || this.#pending.size >= PENDING_MESSAGES_MAX);
    this.#pendingBytes += chunk.totalBytes;
    return new Assembly(chunk);
  }

  #dropWhile(mustGo: (assembly: Assembly) => boolean): void {
    for (const [id, assembly] of this.#pending) {
      if (!mustGo(assembly)) return;
      this.#forget(id, assembly);
      this.#dropped++;
    }
  }

  #forget(id: string, assembly: Assembly): void {
    this.#pending.delete(id);
    this.#pendingBytes -= assembly.bytes.length;
  }
}

/**
 * The message in `parts`, all that came of it so far; undefined while chunks are missing.
 * Throws EnvelopeCorrupt, EnvelopeVersionUnsupported, and EnvelopeTooLarge if it is longer than `maxBytes`.
 */
export function joinParts(parts: readonly Buffer[], maxBytes: number): SealedMessage | undefined {
  const [first] = parts;
  if (first === undefined) return undefined;
  const sealed = unseal(first);
  if (sealed.kind !== MESSAGE_KINDS.chunk) return sealed;
  const chunk = readChunk(sealed);
  if (chunk.totalBytes > maxBytes) throw new EnvelopeTooLarge(chunk.totalBytes, maxBytes);
  if (parts.length < chunk.count) return undefined;
  const assembly = new Assembly(chunk);
  for (const part of parts) {
    const next = readChunk(unsealChunk(part));
    if (next.id !== chunk.id || next.totalBytes !== chunk.totalBytes || next.count !== chunk.count) {
      throw new EnvelopeCorrupt('chunks of one message');
    }
    assembly.add(next);
  }
  return assembly.whole ? unsealWhole(assembly) : undefined;
}

function unsealChunk(part: Buffer): SealedMessage {
  const sealed = unseal(part);
  if (sealed.kind !== MESSAGE_KINDS.chunk) throw new EnvelopeCorrupt('a chunk');
  return sealed;
}

function unsealWhole({ bytes }: Assembly): SealedMessage {
  const sealed = unseal(bytes);
  if (sealed.kind === MESSAGE_KINDS.chunk) throw new EnvelopeCorrupt('a message that is no chunk in its chunks');
  return sealed;
}
