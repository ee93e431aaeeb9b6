/** A duration or quantity that cannot be read; the message says what is wrong with it, without naming the option. */
export class SyntaxProblem extends Error {}

/** Milliseconds in each unit of Go's time.ParseDuration. */
const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Milliseconds in a duration as Kubernetes writes it: `30s`, `1m30s`, `1.5h`, `0`. Never negative. */
export function parseDuration(text: string): number {
  if (text === '0') return 0;
  if (/^\d+$/.test(text)) throw new SyntaxProblem(`${text} has no unit; write ${text}s for seconds, or use ms, m or h`);
  if (!/^(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+$/.test(text)) {
    throw new SyntaxProblem(`${JSON.stringify(text)} is not a duration such as 30s, 1m30s or 500ms`);
  }
  let sum = 0;
  for (const [, amount, unit] of text.matchAll(/([\d.]+)([a-zµ]+)/g)) sum += Number(amount) * UNITS[unit!]!;
  return sum;
}

/** Factors of the suffixes of a Kubernetes quantity (apimachinery, resource/suffix.go) that make sense for bytes. */
const SUFFIXES: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
};

/** Bytes in a quantity as Kubernetes writes it: `512Mi`, `1.5Gi`, `2G`, `1e6`, `4096`. Fractions round up, as there. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d*)?|\.\d+)(?:([eE][+-]?\d{1,2})|(k|[MGTP]|[KMGTP]i))?$/.exec(text);
  if (match === null) {
    throw new SyntaxProblem(`${JSON.stringify(text)} is not a quantity of bytes such as 512Mi, 2G or 4096`);
  }
  const [, amount, exponent = '', suffix = ''] = match;
  const bytes = Math.ceil(Number(`${amount}${exponent}`) * SUFFIXES[suffix]!);
  if (!Number.isSafeInteger(bytes)) throw new SyntaxProblem(`${text} is more bytes than can be counted`);
  return bytes;
}
