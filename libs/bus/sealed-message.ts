import { crc32 } from 'node:zlib';

/** "dgw" and a byte that no text begins with, so that a foreign message is known at once. */
const MAGIC = 0x64_67_77_f5;
const [VERSION_AT, KIND_AT, FLAGS_AT, CHECKSUM_AT] = [4, 5, 6, 8];

/** Length of what stands before the body of every message, in all versions of the format. */
export const SEAL_BYTES = 12;

/** Version of the format that is written. */
export const FORMAT_VERSION = 1;

/** Versions of the format that can be read: what is written, and the one before it, so that parts update one by one. */
export const READABLE_VERSIONS: readonly number[] = [1];

/** What a message is. Numbers are never given anew. */
export const MESSAGE_KINDS = {
  listing: 1,
  batch: 2,
  watermark: 3,
  end: 4,
  listed: 5,
  chunk: 16,
  request: 32,
  reply: 33,
  page: 48,
} as const;

/** The bytes are not a message as it was published: they are damaged, cut short, or somebody else's. */
export class EnvelopeCorrupt extends Error {
  readonly code = 'EnvelopeCorrupt';

  constructor(expected: string, options?: ErrorOptions) {
    super(`a message of the bus is corrupt or foreign: expected ${expected}; drop it and ask for a repair`, options);
    this.name = 'EnvelopeCorrupt';
  }
}

/** The message is whole, but of a format this program does not read. */
export class EnvelopeVersionUnsupported extends Error {
  readonly code = 'EnvelopeVersionUnsupported';
  readonly version: number;

  constructor(version: number) {
    const which = version > FORMAT_VERSION ? 'this program' : 'the program that published it';
    super(
      `a message of the bus has format version ${version}, but this program reads ${READABLE_VERSIONS.join(' and ')}; ` +
        `update ${which}: parts of dogwatch on one bus may be one format version apart`,
    );
    this.name = 'EnvelopeVersionUnsupported';
    this.version = version;
  }
}

/** Longer than may be held. */
export class EnvelopeTooLarge extends Error {
  readonly code = 'EnvelopeTooLarge';

  constructor(bytes: number, maxBytes: number) {
    super(
      `a message of the bus of ${bytes} bytes is longer than the ${maxBytes} that may be held; ` +
        'raise the bound, or divide the lane into more tracks',
    );
    this.name = 'EnvelopeTooLarge';
  }
}

export interface SealedMessage {
  readonly version: number;
  readonly kind: number;
  readonly flags: number;
  /** All bytes of the message; what the seal does not hold begins at SEAL_BYTES. */
  readonly bytes: Buffer;
}

/** Writes the seal into the first SEAL_BYTES of `message`, the rest of which must be final. */
export function seal(message: Buffer, kind: number, flags: number): Buffer {
  message.writeUInt32BE(MAGIC, 0);
  message[VERSION_AT] = FORMAT_VERSION;
  message[KIND_AT] = kind;
  message.writeUInt16BE(flags, FLAGS_AT);
  message.writeUInt32BE(checksum(message), CHECKSUM_AT);
  return message;
}

/**
 * The message in `bytes`, found whole and of a version that is read. Throws EnvelopeCorrupt or, since the seal is the
 * same in all versions, EnvelopeVersionUnsupported only for what was published so.
 */
export function unseal(bytes: Buffer): SealedMessage {
  if (bytes.length < SEAL_BYTES) throw new EnvelopeCorrupt('a seal');
  if (bytes.readUInt32BE(0) !== MAGIC) throw new EnvelopeCorrupt('the magic of dogwatch');
  if (bytes.readUInt32BE(CHECKSUM_AT) !== checksum(bytes)) throw new EnvelopeCorrupt('bytes that fit their checksum');
  const [version, kind] = [bytes.readUInt8(VERSION_AT), bytes.readUInt8(KIND_AT)];
  if (!READABLE_VERSIONS.includes(version)) throw new EnvelopeVersionUnsupported(version);
  return { version, kind, flags: bytes.readUInt16BE(FLAGS_AT), bytes };
}

/**
 * What `read` gives. Where it trips over a value of another shape than it was to have, the message is corrupt, or of a
 * program that writes another format under the same version.
 */
export function orCorrupt<T>(expected: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError)
      throw new EnvelopeCorrupt(expected, { cause: error });
    throw error;
  }
}

/** The checksum in a message's seal. */
export function sealedChecksum(message: Buffer): number {
  return message.readUInt32BE(CHECKSUM_AT);
}

function checksum(message: Buffer): number {
  return crc32(message.subarray(SEAL_BYTES), crc32(message.subarray(0, CHECKSUM_AT)));
}
