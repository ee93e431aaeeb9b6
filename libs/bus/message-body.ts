import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { EnvelopeCorrupt, EnvelopeTooLarge, type SealedMessage } from './sealed-message.ts';

/** Bytes one message may have before compression: it is held twice while it is read. */
const BODY_BYTES_MAX = 2 ** 30;

/**
 * Bodies from here on are compressed. A call of zstd costs about 15 µs each way however short the body is, so below
 * four or five leases it costs more time than the bytes it saves.
 */
export const COMPRESS_FROM_BYTES = 4096;

/** The only flag of a message: its body is compressed. */
const COMPRESSED = 1;
const FASTEST = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };
/** Bytes zstd is given room for at once: all of an ordinary body, and no more than that on a header's word. */
const [ROOM_MIN, ROOM_MAX] = [64, 2 ** 20];

/** An index and the bytes it tells of, as one body. */
export interface MessageBody {
  readonly index: Buffer;
  /** Stand one behind the other. */
  readonly pieces: readonly Buffer[];
  readonly payloadBytes: number;
}

/**
 * A message of `headBytes` yet to be written and `body`. The index is compressed with the payload: most of it is in the
 * objects again, so apart the two are twice as long. Throws EnvelopeTooLarge.
 */
export function composeMessage(
  headBytes: number,
  body: MessageBody,
  compressFromBytes: number,
): { readonly message: Buffer; readonly flags: number } {
  const bodyBytes = body.index.length + body.payloadBytes;
  if (bodyBytes > BODY_BYTES_MAX) throw new EnvelopeTooLarge(bodyBytes, BODY_BYTES_MAX);
  if (bodyBytes >= compressFromBytes) {
    const plain = Buffer.allocUnsafe(bodyBytes);
    copyBody(body, plain, 0);
    const packed = zstdCompressSync(plain, FASTEST);
    if (packed.length < bodyBytes) {
      const message = Buffer.allocUnsafe(headBytes + packed.length);
      packed.copy(message, headBytes);
      return { message, flags: COMPRESSED };
    }
  }
  const message = Buffer.allocUnsafe(headBytes + bodyBytes);
  copyBody(body, message, headBytes);
  return { message, flags: 0 };
}

/**
 * The body of a message, which begins at `start` and was `bodyBytes` long before compression; else a view.
 * Throws EnvelopeCorrupt, EnvelopeTooLarge.
 */
export function readBody({ bytes, flags }: SealedMessage, start: number, bodyBytes: number): Buffer {
  if ((flags & ~COMPRESSED) !== 0) throw new EnvelopeCorrupt('flags of its version');
  if (bodyBytes > BODY_BYTES_MAX) throw new EnvelopeTooLarge(bodyBytes, BODY_BYTES_MAX);
  const stored = bytes.subarray(start);
  const body = (flags & COMPRESSED) === 0 ? stored : decompress(stored, bodyBytes);
  if (body.length !== bodyBytes) throw new EnvelopeCorrupt(`a body of ${bodyBytes} bytes`);
  return body;
}

function decompress(stored: Buffer, bodyBytes: number): Buffer {
  try {
    return zstdDecompressSync(stored, {
      chunkSize: Math.min(ROOM_MAX, Math.max(ROOM_MIN, bodyBytes)),
      maxOutputLength: Math.max(1, bodyBytes),
    });
  } catch (error) {
    throw new EnvelopeCorrupt('a body compressed by zstd', { cause: error });
  }
}

function copyBody(body: MessageBody, target: Buffer, start: number): void {
  let at = start + body.index.copy(target, start);
  for (const piece of body.pieces) at += piece.copy(target, at);
}
