const INT64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n };

/** As Node 24 has it; the standard library's types do not know the text of a number yet. */
const parseJson = JSON.parse as (
  text: string,
  reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
) => unknown;

/** A number that is printed already. */
class Printed {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/**
 * What Go's fmt.Sprint prints of a JSON value once kube-apiserver has decoded it: whole numbers of 64 bits as they
 * stand, all others as float64, maps in the order of their keys. Custom resources are selected by that (KEP-4358).
 * Throws SyntaxError.
 */
export function goPrint(json: string): string {
  return print(
    parseJson(json, (_key, value, { source = '' }) =>
      typeof value === 'number' ? new Printed(goNumber(source)) : value,
    ),
  );
}

function print(value: unknown): string {
  if (value === null) return '<nil>';
  if (value instanceof Printed) return value.text;
  if (typeof value === 'string' || typeof value === 'boolean') return String(value);
  if (Array.isArray(value)) return `[${value.map(print).join(' ')}]`;
  const entries = Object.entries(value as Record<string, unknown>).toSorted(([a], [b]) =>
    Buffer.compare(Buffer.from(a), Buffer.from(b)),
  );
  return `map[${entries.map(([key, entry]) => `${key}:${print(entry)}`).join(' ')}]`;
}

/** Of a float64 strconv's 'g': the fewest digits that tell it from its neighbours, as 1e+06 from a million on. */
function goNumber(source: string): string {
  if (/^-?\d+$/.test(source)) {
    const whole = BigInt(source);
    if (whole >= INT64.min && whole <= INT64.max) return whole.toString();
  }
  const value = Number(source);
  if (Object.is(value, -0)) return '-0';
  const [mantissa = '', exponent = ''] = value.toExponential().split('e');
  const power = Number(exponent);
  if (power >= -4 && power < 6) return String(value);
  return `${mantissa}e${exponent.slice(0, 1)}${exponent.slice(1).padStart(2, '0')}`;
}
