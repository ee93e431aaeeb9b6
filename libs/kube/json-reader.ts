import { goPrint } from './go-print.ts';
import { internedText } from './interned-text.ts';
import {
  QUOTE,
  COMMA,
  COLON,
  OPEN_BRACKET,
  BACKSLASH,
  CLOSE_BRACKET,
  OPEN_BRACE,
  CLOSE_BRACE,
  BRACE_OR_BRACKET,
  SPACE,
} from './json-bytes.ts';
import { MalformedFrame } from './malformed-frame.ts';

/** Longer strings are searched for their end by indexOf, which is faster only there. */
const SHORT_STRING = 64;

/** Bytes that end a number, true, false or null. */
const SCALAR_END = new Uint8Array(256);
for (const byte of Buffer.from(' \t\r\n,:{}[]"')) SCALAR_END[byte] = 1;
/** Bytes a number, true, false or null may begin with. */
const SCALAR_START = new Uint8Array(256);
for (const byte of Buffer.from('-0123456789tfn')) SCALAR_START[byte] = 1;

/** Of a number: that it is -0, has a fraction or an exponent, or more digits than surely fit into 64 bits. */
const NOT_WHOLE = /^-0|^-?\d.*[.eE]|\d{19}/;

/**
 * A forward reader over the bytes of one JSON text: it finds keys and values and builds nothing but the strings it is
 * asked for. Nesting costs no stack. Every error is a MalformedFrame. What is skipped is checked for its structure
 * (strings and nesting), not for the spelling of every literal in it.
 */
export class JsonReader {
  readonly bytes: Buffer;
  /** Where the next token is looked for. */
  at: number;
  /** The key or string read last, without its quotes. */
  start = 0;
  end = 0;
  #first = false;
  /** The key or string read last was seen to have no escapes. */
  #plain = false;

  constructor(bytes: Buffer, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  /** Steps into the object at the cursor; false, stepping over it, if a null stands there. */
  enterObject(): boolean {
    if (this.peek() === OPEN_BRACE) {
      this.at++;
      this.#first = true;
      return true;
    }
    if (!this.#skipNull()) throw new MalformedFrame('a JSON object', this.at);
    return false;
  }

  /** Whether an object stands at the cursor. */
  atObject(): boolean {
    return this.peek() === OPEN_BRACE;
  }

  /** Goes on to the next key of the object the cursor is in, and stands before its value; false past the object's end. */
  nextKey(): boolean {
    let byte = this.peek();
    if (byte === CLOSE_BRACE) {
      this.at++;
      this.#first = false;
      return false;
    }
    if (!this.#first) {
      if (byte !== COMMA) throw new MalformedFrame('a comma', this.at);
      this.at++;
      byte = this.peek();
    }
    this.#first = false;
    if (byte !== QUOTE) throw new MalformedFrame('a JSON key', this.at);
    this.#skipString();
    if (this.peek() !== COLON) throw new MalformedFrame('a colon', this.at);
    this.at++;
    return true;
  }

  /** Index in `keys` of the key or string read last, or -1. */
  keyIndex(keys: readonly Buffer[]): number {
    const { bytes, start, end } = this;
    for (let index = 0; index < keys.length; index++) {
      const key = keys[index] as Buffer;
      if (key.length === end - start && equalAt(bytes, start, key)) return index;
    }
    return this.#escaped() ? keys.findIndex((key) => key.toString() === this.text()) : -1;
  }

  /** The key or string read last, its escapes undone; a surrogate that is alone is U+FFFD, as Go reads it. */
  text(): string {
    const { bytes, start, end } = this;
    if (!this.#escaped()) return bytes.toString('utf8', start, end);
    try {
      return (JSON.parse(bytes.toString('utf8', start - 1, end + 1)) as string).toWellFormed();
    } catch {
      // The parser's own error quotes the text, which may be a Secret's, so it is not kept as the cause.
      throw new MalformedFrame('a JSON string', start);
    }
  }

  /** Steps over the string at the cursor, which is then at [start, end); false, stepping over it, if a null stands there. */
  enterString(): boolean {
    if (this.peek() === QUOTE) {
      this.#skipString();
      return true;
    }
    if (!this.#skipNull()) throw new MalformedFrame('a JSON string', this.at);
    return false;
  }

  /** Reads the string at the cursor; a null is "", as in Go. */
  readString(): string {
    return this.enterString() ? this.text() : '';
  }

  /** As readString, for what a few values of are met over and over. */
  readInterned(): string {
    return this.enterString() ? this.internedText() : '';
  }

  /** As text, for what a few values of are met over and over. */
  internedText(): string {
    return this.#escaped() ? this.text() : internedText(this.bytes, this.start, this.end);
  }

  /** Reads the value at the cursor as Go prints what kube-apiserver decodes it to; "" for null. */
  readScalar(): string {
    const byte = this.peek();
    if (byte === QUOTE) return this.readString();
    const start = this.at;
    this.skipValue();
    const text = this.bytes.toString('utf8', start, this.at);
    if (text === 'null') return '';
    // All but numbers that are certainly whole, true and false.
    return byte === OPEN_BRACE || byte === OPEN_BRACKET || NOT_WHOLE.test(text) ? printed(text, start) : text;
  }

  /** Steps over the value at the cursor, however deep. */
  skipValue(): void {
    const byte = this.peek();
    if (byte === QUOTE) this.#skipString();
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) this.#skipNested();
    else this.#skipScalar();
  }

  /** The next byte that is not white space, with the cursor on it. */
  peek(): number {
    const { bytes } = this;
    let { at } = this;
    while (at < bytes.length) {
      const byte = bytes[at] as number;
      if (SPACE[byte] === 0) {
        this.at = at;
        return byte;
      }
      at++;
    }
    throw new MalformedFrame('more JSON', at);
  }

  /** True if nothing but white space is left. */
  atEnd(): boolean {
    const { bytes } = this;
    while (this.at < bytes.length && SPACE[bytes[this.at] as number] === 1) this.at++;
    return this.at === bytes.length;
  }

  /** Whether the key or string read last has escapes in it. */
  #escaped(): boolean {
    return !this.#plain && this.bytes.subarray(this.start, this.end).includes(BACKSLASH);
  }

  #skipString(): void {
    const { bytes } = this;
    const start = this.at + 1;
    const near = Math.min(start + SHORT_STRING, bytes.length);
    let end = start;
    while (end < near && bytes[end] !== QUOTE && bytes[end] !== BACKSLASH) end++;
    this.#plain = end < near && bytes[end] === QUOTE;
    this.start = start;
    this.at = this.#plain ? end + 1 : afterString(bytes, end);
    this.end = this.at - 1;
  }

  #skipNull(): boolean {
    const { at, bytes } = this;
    if (bytes.length - at < 4 || bytes.toString('latin1', at, at + 4) !== 'null') return false;
    this.at += 4;
    return true;
  }

  #skipScalar(): void {
    const { bytes } = this;
    let { at } = this;
    if (SCALAR_START[bytes[at] as number] === 0) throw new MalformedFrame('a JSON value', at);
    while (at < bytes.length && SCALAR_END[bytes[at] as number] === 0) at++;
    this.at = at;
  }

  #skipNested(): void {
    const { bytes } = this;
    let { at } = this;
    let depth = 0;
    while (at < bytes.length) {
      const byte = bytes[at] as number;
      if (byte === QUOTE) {
        at = afterString(bytes, at + 1);
        continue;
      }
      at++;
      if ((byte & BRACE_OR_BRACKET) === OPEN_BRACKET) depth++;
      else if ((byte & BRACE_OR_BRACKET) === CLOSE_BRACKET && --depth === 0) {
        this.at = at;
        return;
      }
    }
    throw new MalformedFrame('the end of a JSON object or array', at);
  }
}

function printed(json: string, start: number): string {
  try {
    return goPrint(json);
  } catch {
    // The parser's own error quotes the text, which may be a Secret's, so it is not kept as the cause.
    throw new MalformedFrame('a JSON value', start);
  }
}

/** Where the string ends whose first byte after the quote is at `start`: after its closing quote. */
function afterString(bytes: Buffer, start: number): number {
  let at = start;
  for (;;) {
    const near = Math.min(at + SHORT_STRING, bytes.length);
    while (at < near) {
      const byte = bytes[at] as number;
      if (byte === QUOTE) return at + 1;
      at += byte === BACKSLASH ? 2 : 1;
    }
    const quote = bytes.indexOf(QUOTE, at);
    if (quote === -1) throw new MalformedFrame('the end of a JSON string', bytes.length);
    let backslashes = 0;
    while (quote - backslashes > at && bytes[quote - backslashes - 1] === BACKSLASH) backslashes++;
    at = quote + 1;
    if (backslashes % 2 === 0) return at;
  }
}

function equalAt(bytes: Buffer, start: number, expected: Buffer): boolean {
  for (let i = 0; i < expected.length; i++) if (bytes[start + i] !== expected[i]) return false;
  return true;
}
