import {
  QUOTE,
  COMMA,
  COLON,
  OPEN_BRACKET,
  BACKSLASH,
  CLOSE_BRACKET,
  OPEN_BRACE,
  CLOSE_BRACE,
  SPACE,
} from './json-bytes.ts';

const NEWLINE = 0x0a;
const BLANK = 0x20;

/** Most bytes one byte of input becomes, but for its indentation: `:` and a space, or a comma and a line break. */
const GROWTH = 2;
/** Room asked for at once beyond what is needed. */
const SPARE_BYTES = 1024;
/** Handed on from here on: of a deep value each byte can become a line of its depth, ten thousand times what came in. */
const PIECE_BYTES = 64 * 1024;

/**
 * Indents JSON as kube-apiserver does for `?pretty=true` (Go's json.MarshalIndent with two spaces; protocol row N4),
 * chunk by chunk: what is held between two chunks is a few numbers, and of what is written one piece at a time. Nothing
 * of strings and numbers is changed, white space between tokens is dropped, also that at the end: upstream's indented
 * answers end without a line break. The input is taken to be JSON, unchecked.
 */
export class PrettyPrinter {
  #depth = 0;
  #inString = false;
  /** The byte before, in a string, was a backslash that escapes the next. */
  #escaped = false;
  /** A bracket was opened, and what follows decides whether it closes on the same line. */
  #opened = false;
  #out = Buffer.alloc(0);
  #length = 0;

  /**
   * What is written for `chunk`, which may end anywhere, in pieces made as they are asked for: of at most 128 KiB and one
   * line's indentation. They are the caller's own. To be read to its end before the next chunk is pushed.
   */
  *push(chunk: Buffer): Generator<Buffer, void> {
    let at = 0;
    while (at < chunk.length) {
      if (this.#length === 0) this.#reserve(Math.min(chunk.length - at, PIECE_BYTES));
      if (this.#inString) at = this.#string(chunk, at);
      else this.#token(chunk[at++]!);
      if (this.#length >= PIECE_BYTES) yield this.#take();
    }
    if (this.#length > 0) yield this.#take();
  }

  #take(): Buffer {
    const out = this.#out.subarray(0, this.#length);
    this.#out = Buffer.alloc(0);
    this.#length = 0;
    return out;
  }

  /** Copies a piece of a string at most; returns where it, the string or the chunk ends. */
  #string(chunk: Buffer, start: number): number {
    const stop = Math.min(chunk.length, start + PIECE_BYTES);
    // Enough for all of it, so that each byte is written without another look.
    this.#reserve(stop - start);
    const out = this.#out;
    let length = this.#length;
    let escaped = this.#escaped;
    let at = start;
    while (at < stop) {
      const byte = chunk[at++]!;
      out[length++] = byte;
      if (escaped) escaped = false;
      else if (byte === BACKSLASH) escaped = true;
      else if (byte === QUOTE) {
        this.#inString = false;
        break;
      }
    }
    this.#escaped = escaped;
    this.#length = length;
    return at;
  }

  #token(byte: number): void {
    if (SPACE[byte] === 1) return;
    const closes = byte === CLOSE_BRACE || byte === CLOSE_BRACKET;
    if (this.#opened && !closes) {
      this.#depth++;
      this.#newLine();
      this.#opened = false;
    } else if (closes) {
      if (!this.#opened) {
        this.#depth--;
        this.#newLine();
      }
      this.#opened = false;
    }
    this.#put(byte);
    if (byte === COMMA) this.#newLine();
    else if (byte === COLON) this.#put(BLANK);
    else if (byte === QUOTE) this.#inString = true;
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) this.#opened = true;
  }

  #newLine(): void {
    const spaces = this.#depth * 2;
    this.#reserve(1 + spaces);
    const out = this.#out;
    let length = this.#length;
    out[length++] = NEWLINE;
    for (const end = length + spaces; length < end; length++) out[length] = BLANK;
    this.#length = length;
  }

  #put(byte: number): void {
    if (this.#length === this.#out.length) this.#reserve(1);
    this.#out[this.#length++] = byte;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#out.length) return;
    const grown = Buffer.allocUnsafeSlow(needed * GROWTH + SPARE_BYTES);
    this.#out.copy(grown, 0, 0, this.#length);
    this.#out = grown;
  }
}

/** `parts` of one JSON text, indented: see PrettyPrinter. */
export function* prettyJson(parts: Iterable<Buffer>): Generator<Buffer, void> {
  const printer = new PrettyPrinter();
  for (const part of parts) yield* printer.push(part);
}
