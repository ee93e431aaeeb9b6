/** An unsigned 64-bit number as two of 32 bits. `high` of 2^32 is one beyond them all. */
export interface Hash64 {
  readonly high: number;
  readonly low: number;
}

/** The prime is 2^40 + this. */
const PRIME_LOW = 0x1b3;
const OFFSET: Hash64 = { high: 0xcbf29ce4, low: 0x84222325 };
const TWO_32 = 2 ** 32;

/** FNV-1a of the UTF-8 bytes of `text`: what KEP-5866 cuts its shards by (Go's hash/fnv New64a). */
export function fnv1a64(text: string): Hash64 {
  const bytes = isAscii(text) ? undefined : Buffer.from(text);
  const length = bytes?.length ?? text.length;
  let { high, low } = OFFSET;
  for (let index = 0; index < length; index++) {
    low = (low ^ (bytes === undefined ? text.charCodeAt(index) : bytes[index]!)) >>> 0;
    const product = low * PRIME_LOW;
    high = (high * PRIME_LOW + Math.floor(product / TWO_32) + ((low << 8) >>> 0)) >>> 0;
    low = product >>> 0;
  }
  return { high, low };
}

function isAscii(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return false;
  return true;
}

export function isLess(a: Hash64, b: Hash64): boolean {
  return a.high < b.high || (a.high === b.high && a.low < b.low);
}
