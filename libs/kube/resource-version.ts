/**
 * A resourceVersion as a number. Upstream's are 64-bit, comparable within one group-resource (KEP-5504);
 * a safe integer lasts 2,800 years at 100,000 writes a second.
 */
export type ResourceVersion = number;

/** The number in a decimal resourceVersion, or undefined if it is not one (signs, spaces and 2^53 and above included). */
export function parseResourceVersion(text: string): ResourceVersion | undefined {
  if (!/^\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** The same of the decimal digits in bytes [start, end), without making a string; 0 if there are none. */
export function readResourceVersion(bytes: Uint8Array, start: number, end: number): ResourceVersion | undefined {
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = (bytes[at] as number) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return Number.isSafeInteger(value) ? value : undefined;
}
