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
