/**
 * The query of a URL as Go's url.ParseQuery reads it, with upstream's rule that the first value of a name counts.
 * Go drops what it cannot read and goes on; other parsers between client and server may read it differently, so
 * `defect` names the first such thing.
 */
export class QueryParameters {
  readonly defect: string | undefined;
  readonly #values: ReadonlyMap<string, readonly string[]>;

  private constructor(values: ReadonlyMap<string, readonly string[]>, defect: string | undefined) {
    this.#values = values;
    this.defect = defect;
  }

  /** Reads what stands after the `?`. Never throws. */
  static parse(text: string): QueryParameters {
    const values = new Map<string, string[]>();
    let defect: string | undefined;
    for (const pair of text.split('&')) {
      if (pair === '') continue;
      const parsed = parsePair(pair);
      if (typeof parsed === 'string') {
        defect ??= parsed;
        continue;
      }
      const known = values.get(parsed.name);
      if (known === undefined) values.set(parsed.name, [parsed.value]);
      else known.push(parsed.value);
    }
    return new QueryParameters(values, defect);
  }

  /** The first value of `name`, or undefined if it is not there. */
  get(name: string): string | undefined {
    return this.#values.get(name)?.[0];
  }

  /** True if `name` is there more than once. */
  isRepeated(name: string): boolean {
    return (this.#values.get(name)?.length ?? 0) > 1;
  }
}

function parsePair(pair: string): { name: string; value: string } | string {
  if (pair.includes(';')) return 'a semicolon in the query';
  if (!/^[\x21-\x7e]*$/.test(pair)) return 'a character in the query that is not printable ASCII';
  const equals = pair.indexOf('=');
  try {
    return {
      name: unescape(equals === -1 ? pair : pair.slice(0, equals)),
      value: equals === -1 ? '' : unescape(pair.slice(equals + 1)),
    };
  } catch (error) {
    if (error instanceof URIError) return 'a percent sign in the query that does not begin an encoded UTF-8 character';
    throw error;
  }
}

function unescape(text: string): string {
  if (!text.includes('%') && !text.includes('+')) return text;
  return decodeURIComponent(text.replaceAll('+', ' '));
}
