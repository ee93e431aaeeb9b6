/** Slots of the memo; a text takes the slot its hash names, from whatever held it. */
const SLOTS = 1024;
const LONGEST = 64;
const memo: string[] = Array.from({ length: SLOTS }, () => '');

/**
 * Bytes [start, end) as a string, for texts that a few of are met over and over (kinds, API versions, namespaces, label
 * keys): the string met before where there is one, so that objects share it, without the cost of decoding.
 */
export function internedText(bytes: Buffer, start: number, end: number): string {
  if (end - start > LONGEST) return bytes.toString('utf8', start, end);
  let hash = 0;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] as number), 0x01000193);
  const slot = (hash ^ (hash >>> 16)) & (SLOTS - 1);
  const held = memo[slot] as string;
  if (equalsAscii(held, bytes, start, end)) return held;
  const text = bytes.toString('utf8', start, end);
  memo[slot] = text;
  return text;
}

/** False for any text that is not ASCII, which is decoded anew each time. */
function equalsAscii(text: string, bytes: Buffer, start: number, end: number): boolean {
  if (text.length !== end - start) return false;
  for (let i = 0; i < text.length; i++) {
    const byte = bytes[start + i] as number;
    if (byte >= 0x80 || text.charCodeAt(i) !== byte) return false;
  }
  return true;
}
