import { goQuote } from './go-strconv.ts';

/** What of an object can be hashed. */
export type ShardField = 'object.metadata.uid' | 'object.metadata.namespace';

/** Bounds in hexadecimal, as they were checked: `0x` and 16 digits, or 2^64 with 17. */
interface WrittenRange {
  readonly field: ShardField;
  readonly start: string;
  readonly end: string;
}

/** A shard selector that cannot be read; upstream answers a 500 with its text if its gate is on, and all objects if it is off. */
export class ShardSelectorError extends Error {
  readonly code = 'ShardSelectorError';
}

type Token =
  | { readonly kind: 'word' | 'string' | 'number'; readonly text: string }
  | { readonly kind: '(' | ')' | ',' | '.' | '||' | 'end'; readonly text: string };

/** Longest selector that is read: upstream's parser takes 100,000 code points. */
const TEXT_MAX = 100_000;
/** Parentheses around parentheses. */
const DEPTH_MAX = 32;
/** Letters before a quote would make another kind of string of it. */
const TOKEN =
  /[ \t\r\n\f]*(?:([A-Za-z_]\w*)(?![\w"'])|(\d\w*)(?![\w"'])|'([^'\\\r\n]*)'|"([^"\\\r\n]*)"|(\|\||[(),.])|$)/y;
/** cel-go's ExprKind, which is in upstream's texts as a number. */
const IDENT_KIND = 3;
const LITERAL_KIND = 5;
const SELECT_KIND = 7;
const TWO_64 = '0x10000000000000000';

/** Reads `shardRange(FIELD, 'START', 'END') || …`: upstream's checks, texts and order (apiserver/pkg/sharding/parser.go). */
export function parseShardRanges(text: string): { field: ShardField; ranges: readonly WrittenRange[] } {
  if (text.trim() === '') {
    throw new ShardSelectorError('empty shard selector is not allowed; omit the parameter for unfiltered lists');
  }
  const ranges = new Parser(tokens(text)).parse().map(checkedCall);
  const { field } = ranges[0]!;
  for (const range of ranges) {
    if (range.field === field) continue;
    throw new ShardSelectorError(
      `all shard ranges must use the same field, got ${goQuote(range.field)} and ${goQuote(field)}`,
    );
  }
  return { field, ranges };
}

function tokens(text: string): readonly Token[] {
  if (text.length > TEXT_MAX) throw unreadable();
  const found: Token[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (match === null) throw unreadable();
    const [, word, number, single, double, symbol] = match;
    if (word !== undefined) found.push({ kind: 'word', text: word });
    else if (number !== undefined) found.push({ kind: 'number', text: number });
    else if (single !== undefined || double !== undefined) found.push({ kind: 'string', text: single ?? double ?? '' });
    else if (symbol !== undefined) found.push({ kind: symbol as '(', text: symbol });
    else break;
  }
  return found;
}

/** An argument of a call, or the call itself. */
type Expression =
  | { readonly kind: 'path'; readonly text: string }
  | { readonly kind: 'string'; readonly text: string }
  | { readonly kind: 'number' };

interface Call {
  readonly function: string;
  readonly arguments: readonly Expression[];
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(list: readonly Token[]) {
    this.#tokens = list;
  }

  /** The calls joined by `||`, in the order written. */
  parse(): readonly Call[] {
    const calls = this.#alternatives(0);
    if (this.#peek() !== 'end') throw unreadable();
    return calls;
  }

  #alternatives(depth: number): Call[] {
    if (depth > DEPTH_MAX) throw unreadable();
    const calls: Call[] = [];
    do {
      if (this.#takes('(')) {
        calls.push(...this.#alternatives(depth + 1));
        this.#expect(')');
      } else calls.push(this.#call());
    } while (this.#takes('||'));
    return calls;
  }

  #call(): Call {
    const name = this.#expect('word');
    this.#expect('(');
    const found: Expression[] = [];
    if (this.#takes(')')) return { function: name, arguments: found };
    do found.push(this.#argument());
    while (this.#takes(','));
    this.#expect(')');
    return { function: name, arguments: found };
  }

  #argument(): Expression {
    switch (this.#peek()) {
      case 'string':
        return { kind: 'string', text: this.#expect('string') };
      case 'number':
        if (!/^(?:\d+|0x[\da-f]+)$/i.test(this.#expect('number'))) throw unreadable();
        return { kind: 'number' };
      default: {
        let path = this.#expect('word');
        if (['true', 'false', 'null', 'in'].includes(path)) throw unreadable();
        while (this.#takes('.')) path += `.${this.#expect('word')}`;
        return { kind: 'path', text: path };
      }
    }
  }

  #peek(): Token['kind'] {
    return this.#tokens[this.#at]?.kind ?? 'end';
  }

  #takes(kind: Token['kind']): boolean {
    if (this.#peek() !== kind) return false;
    this.#at++;
    return true;
  }

  #expect(kind: Token['kind']): string {
    const token = this.#tokens[this.#at];
    if (token?.kind !== kind) throw unreadable();
    this.#at++;
    return token.text;
  }
}

function unreadable(): ShardSelectorError {
  return new ShardSelectorError("not of the form shardRange(object.metadata.uid, '0x…', '0x…') || …");
}

function checkedCall(call: Call): WrittenRange {
  if (call.function !== 'shardRange') {
    throw new ShardSelectorError(
      `unsupported function ${goQuote(call.function)}; only shardRange() and || are allowed`,
    );
  }
  const [path, start, end] = call.arguments;
  if (path === undefined || start === undefined || end === undefined || call.arguments.length > 3) {
    throw new ShardSelectorError(`shardRange() requires exactly 3 arguments, got ${call.arguments.length}`);
  }
  if (path.kind !== 'path') {
    throw new ShardSelectorError(
      `shardRange() first argument: expected field path (e.g. object.metadata.uid), got expression kind ${kindOf(path)}`,
    );
  }
  const field = path.text;
  if (field !== 'object.metadata.uid' && field !== 'object.metadata.namespace') {
    throw new ShardSelectorError(
      `unsupported field path ${goQuote(field)}; supported: object.metadata.uid, object.metadata.namespace`,
    );
  }
  const bounds = { start: checkedBound(start, 'hexStart'), end: checkedBound(end, 'hexEnd') };
  if (!isBelow(bounds.start, bounds.end)) {
    throw new ShardSelectorError(`shard range start ${bounds.start} must be less than end ${bounds.end}`);
  }
  return { field, ...bounds };
}

function checkedBound(bound: Expression, name: string): string {
  switch (bound.kind) {
    case 'path':
      throw new ShardSelectorError(
        `${name} must be a string literal (e.g. '0xff'), got expression kind ${kindOf(bound)}`,
      );
    case 'number':
      throw new ShardSelectorError(`${name} must be a string literal, got int64`);
    case 'string':
      break;
  }
  const { text } = bound;
  const problem = boundProblem(text);
  if (problem !== undefined) throw new ShardSelectorError(`${name}${problem}`);
  return text;
}

function boundProblem(text: string): string | undefined {
  if (!text.startsWith('0x')) return ` must have '0x' prefix, got ${goQuote(text)}`;
  const digits = text.slice(2);
  const bytes = Buffer.byteLength(digits);
  if (digits === '') return `: hex value is required after '0x'`;
  if (bytes > 17) return `: hex value too long (${bytes} chars, max 17): ${goQuote(digits)}`;
  const wrong = /[^0-9a-f]/u.exec(digits)?.[0];
  if (wrong !== undefined) return `: invalid hex character ${goQuote(wrong)} in ${goQuote(text)}`;
  if (bytes === 17) {
    if (text === TWO_64) return undefined;
    return `: 17-digit hex value must be '${TWO_64}' (2^64), got ${goQuote(text)}`;
  }
  if (bytes === 16) return undefined;
  const padded = `0x${digits.padStart(16, '0')}`;
  return ` must be a 0x-prefixed 16-digit hex value, got ${goQuote(text)} (did you mean ${goQuote(padded)}?)`;
}

function isBelow(start: string, end: string): boolean {
  return start.length === end.length ? start < end : start.length < end.length;
}

function kindOf(expression: Expression): number {
  if (expression.kind !== 'path') return LITERAL_KIND;
  return expression.text.includes('.') ? SELECT_KIND : IDENT_KIND;
}
