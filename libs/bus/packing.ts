import { Packr } from 'msgpackr';
import { EnvelopeCorrupt } from './sealed-message.ts';

/** Objects as plain MessagePack maps: a message must be readable without what earlier ones have told. */
const packr = new Packr({ useRecords: false });

/** What msgpackr may keep of its last work: of a long listing it would be hundreds of megabytes. */
const KEPT_BYTES_MAX = 2 ** 20;
const START_BYTES = 8192;
const NIL = Buffer.from([0xc0]);

/** Safe integers, strings, booleans, undefined, buffers, arrays and plain objects in MessagePack. */
export function pack(value: unknown): Buffer {
  const packed = packr.pack(value);
  if (packed.buffer.byteLength > KEPT_BYTES_MAX) packr.useBuffer(Buffer.allocUnsafeSlow(START_BYTES));
  return packed;
}

/**
 * What was packed. Buffers in it are views of `bytes`, and strings may share the memory of those beside them: what is
 * kept for long must be copied. Throws EnvelopeCorrupt.
 */
export function unpack(bytes: Buffer): unknown {
  try {
    return packr.unpack(bytes);
  } catch (error) {
    throw new EnvelopeCorrupt('MessagePack', { cause: error });
  } finally {
    if (bytes.buffer.byteLength > KEPT_BYTES_MAX) packr.unpack(NIL);
  }
}
