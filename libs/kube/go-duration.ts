const SECONDS_PER_UNIT: Readonly<Record<string, number>> = {
  ns: 1e-9,
  us: 1e-6,
  µs: 1e-6, // U+00B5
  μs: 1e-6, // U+03BC
  ms: 1e-3,
  s: 1,
  m: 60,
  h: 3600,
};

const MAX_INTEGER = 2 ** 63;
const MAX_SECONDS = MAX_INTEGER * 1e-9;

/** A duration as Go's time.ParseDuration reads it, in seconds (rounded to doubles), or what it says is wrong. */
export function parseGoDuration(text: string): { readonly seconds: number } | { readonly problem: string } {
  const invalid = { problem: `time: invalid duration ${quote(text)}` };
  const unsigned = /^[+-]/.test(text) ? text.slice(1) : text;
  if (unsigned === '0') return { seconds: 0 };
  if (unsigned === '') return invalid;
  let seconds = 0;
  let rest = unsigned;
  while (rest !== '') {
    const number = /^(\d*)(\.\d*)?/.exec(rest)?.[0] ?? '';
    if (!/\d/.test(number) || Number.parseInt(number, 10) > MAX_INTEGER) return invalid;
    const unit = /^[^.\d]*/.exec(rest.slice(number.length))?.[0] ?? '';
    if (unit === '') return { problem: `time: missing unit in duration ${quote(text)}` };
    const secondsPerUnit = Object.hasOwn(SECONDS_PER_UNIT, unit) ? SECONDS_PER_UNIT[unit] : undefined;
    if (secondsPerUnit === undefined) {
      return { problem: `time: unknown unit ${quote(unit)} in duration ${quote(text)}` };
    }
    seconds += Number(number) * secondsPerUnit;
    if (seconds >= MAX_SECONDS) return invalid;
    rest = rest.slice(number.length + unit.length);
  }
  return { seconds: text.startsWith('-') ? -seconds : seconds };
}

/** Package time quotes in its own way: bytes that are not printable ASCII as \xNN. */
function quote(text: string): string {
  let quoted = '"';
  for (const character of text) {
    if (character === '"' || character === '\\') quoted += `\\${character}`;
    else if (character >= ' ' && character < '\u0080') quoted += character;
    else for (const byte of Buffer.from(character)) quoted += `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return `${quoted}"`;
}
