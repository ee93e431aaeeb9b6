/**
 * The parts of Go's strconv whose texts clients see in kube-apiserver's answers.
 * Numbers themselves are read with Number or BigInt; here is only what Go says about them.
 */

const MAX_INT64 = 2n ** 63n - 1n;
const MAX_UINT64 = 2n ** 64n - 1n;

const NAMED_ESCAPES: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\u0007': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
};

/** strconv.Quote, and so fmt's %q: double quotes, Go's escapes, printable characters as they are. */
export function goQuote(text: string): string {
  let quoted = '"';
  for (const character of text) quoted += NAMED_ESCAPES[character] ?? escapeUnprintable(character);
  return `${quoted}"`;
}

function escapeUnprintable(character: string): string {
  if (/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u.test(character)) return character;
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x20 || code === 0x7f) return `\\x${code.toString(16).padStart(2, '0')}`;
  if (code >= 0xd800 && code <= 0xdfff) return '\\ufffd';
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\U${code.toString(16).padStart(8, '0')}`;
}

/** What strconv.ParseInt(text, 10, 64) says is wrong with `text`, or undefined if it takes it. */
export function int64Problem(text: string): string | undefined {
  const signed = /^[+-]/.test(text);
  const limit = text.startsWith('-') ? MAX_INT64 + 1n : MAX_INT64;
  const problem = digitsProblem(signed ? text.slice(1) : text, limit);
  return problem === undefined ? undefined : `strconv.ParseInt: parsing ${goQuote(text)}: ${problem}`;
}

/** What strconv.ParseUint(text, 10, 64) says is wrong with `text`, or undefined if it takes it. */
export function uint64Problem(text: string): string | undefined {
  const problem = digitsProblem(text, MAX_UINT64);
  return problem === undefined ? undefined : `strconv.ParseUint: parsing ${goQuote(text)}: ${problem}`;
}

/** Go reads from the left: too many digits are out of range even if something unreadable follows them. */
function digitsProblem(text: string, limit: bigint): string | undefined {
  const digits = /^\d*/.exec(text)?.[0] ?? '';
  const value = BigInt(digits === '' ? '0' : digits);
  if (value > MAX_UINT64) return 'value out of range';
  if (digits === '' || digits.length < text.length) return 'invalid syntax';
  return value > limit ? 'value out of range' : undefined;
}

/** strconv.ParseBool, with false for what it cannot read (upstream ignores its error for `pretty`). */
export function goBool(text: string): boolean {
  return ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text);
}

/** The value strconv.ParseFloat(text, 32) leaves behind, 0 where it fails: the q of an Accept clause. */
export function goFloat32(text: string): number {
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return Math.fround(Number(text));
  const word = /^([+-]?)(inf|infinity)$/i.exec(text);
  if (word !== null) return word[1] === '-' ? -Infinity : Infinity;
  return /^nan$/i.test(text) ? NaN : 0;
}
