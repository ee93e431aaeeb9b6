import { CarryBuffer } from './carry-buffer.ts';
import { FrameTooLarge } from './frame-scanner.ts';
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
} from './json-bytes.ts';
import { JsonReader } from './json-reader.ts';
import type { ListEnd, ListScanner } from './list-scanner.ts';
import { MalformedFrame } from './malformed-frame.ts';

/** Keys of the list whose values are kept until its end. */
const KEPT = new Set(['kind', 'apiVersion', 'metadata']);
const SPACES = new Set(Buffer.from(' \t\r\n'));
const SCALAR_START = new Set(Buffer.from('-0123456789tfn'));
const SCALAR_END = new Set(Buffer.from(' \t\r\n,]}'));

/** What is expected next, outside of a captured text. */
type State =
  | 'list'
  | 'first key'
  | 'key'
  | 'colon'
  | 'value'
  | 'after value'
  | 'first item'
  | 'item'
  | 'after item'
  | 'end';
/** What is being captured: a key of the list, the value of one, or an item. */
type Target = 'key' | 'value' | 'item';
type Shape = 'string' | 'nested' | 'scalar';

/** Takes items before, after or without metadata: typed lists begin with it, those of custom resources end with it. */
export class JsonListScanner implements ListScanner {
  readonly #maxItemBytes: number;
  readonly #carry = new CarryBuffer();
  #state: State = 'list';
  /** Set while a text is captured. */
  #target: Target | undefined;
  #shape: Shape = 'nested';
  #depth = 0;
  #inString = false;
  #escaped = false;
  #key = '';
  readonly #values = new Map<string, Buffer>();
  #itemsSeen = false;
  /** Bytes of all earlier chunks. */
  #offset = 0;

  constructor(maxItemBytes: number) {
    this.#maxItemBytes = maxItemBytes;
  }

  push(chunk: Buffer, onItem: (item: Buffer) => void): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#target !== undefined) at = this.#capture(chunk, at, onItem);
      else if (SPACES.has(chunk[at] as number)) at++;
      else at = this.#step(chunk, at);
    }
    this.#offset += chunk.length;
  }

  end(): ListEnd {
    if (this.#state !== 'end' || !this.#itemsSeen) throw new MalformedFrame('the end of a list', this.#offset);
    const listMeta = this.#values.get('metadata');
    const found = { resourceVersion: '', continue: '' };
    const reader = listMeta === undefined ? undefined : new JsonReader(listMeta);
    if (reader?.enterObject()) {
      while (reader.nextKey()) {
        const key = reader.text();
        if (key === 'resourceVersion' || key === 'continue') found[key] = reader.readString();
        else reader.skipValue();
      }
    }
    return { ...found, kind: this.#text('kind'), apiVersion: this.#text('apiVersion') };
  }

  #text(key: string): string {
    const value = this.#values.get(key);
    return value === undefined ? '' : new JsonReader(value).readString();
  }

  /** Takes the token at `at`, or begins to capture the text that starts there; returns where to go on. */
  #step(chunk: Buffer, at: number): number {
    const byte = chunk[at] as number;
    switch (this.#state) {
      case 'list':
        return this.#expect(byte === OPEN_BRACE, 'first key', at);
      case 'first key':
        if (byte === CLOSE_BRACE) return this.#expect(true, 'end', at);
        return this.#begin('key', byte === QUOTE, byte, at);
      case 'key':
        return this.#begin('key', byte === QUOTE, byte, at);
      case 'colon':
        return this.#expect(byte === COLON, 'value', at);
      case 'value':
        if (this.#key !== 'items') return this.#begin('value', true, byte, at);
        if (this.#itemsSeen) throw new MalformedFrame('items once in a list', this.#offset + at);
        this.#itemsSeen = true;
        if (byte === OPEN_BRACKET) return this.#expect(true, 'first item', at);
        // Else a null: upstream's empty list of PartialObjectMetadata.
        return this.#begin('value', SCALAR_START.has(byte), byte, at);
      case 'after value':
        return this.#expect(byte === COMMA || byte === CLOSE_BRACE, byte === COMMA ? 'key' : 'end', at);
      case 'first item':
        if (byte === CLOSE_BRACKET) return this.#expect(true, 'after value', at);
        return this.#begin('item', byte === OPEN_BRACE, byte, at);
      case 'item':
        return this.#begin('item', byte === OPEN_BRACE, byte, at);
      case 'after item':
        return this.#expect(byte === COMMA || byte === CLOSE_BRACKET, byte === COMMA ? 'item' : 'after value', at);
      case 'end':
        throw new MalformedFrame('nothing after a list', this.#offset + at);
    }
  }

  #expect(met: boolean, next: State, at: number): number {
    if (!met) throw new MalformedFrame(`the ${this.#state} of a list`, this.#offset + at);
    this.#state = next;
    return at + 1;
  }

  #begin(target: Target, met: boolean, byte: number, at: number): number {
    this.#shape = byte === QUOTE ? 'string' : SCALAR_START.has(byte) ? 'scalar' : 'nested';
    const opens = (byte & BRACE_OR_BRACKET) === OPEN_BRACKET;
    if (!met || (this.#shape === 'nested' && !opens)) {
      throw new MalformedFrame(`the ${this.#state} of a list`, this.#offset + at);
    }
    this.#target = target;
    this.#depth = 0;
    this.#inString = false;
    this.#escaped = false;
    return at;
  }

  /** Goes on with the text being captured; returns where it ends, or the chunk does. */
  #capture(chunk: Buffer, start: number, onItem: (item: Buffer) => void): number {
    const end = this.#shape === 'scalar' ? scalarEnd(chunk, start) : this.#nestedEnd(chunk, start);
    const stop = end === -1 ? chunk.length : end;
    if (this.#carry.length + stop - start > this.#maxItemBytes) throw new FrameTooLarge(this.#maxItemBytes);
    let text = chunk.subarray(start, stop);
    if (end === -1 || this.#carry.length > 0) {
      this.#carry.append(text);
      if (end === -1) return stop;
      text = this.#carry.take();
    }
    this.#captured(text, onItem);
    return stop;
  }

  #captured(text: Buffer, onItem: (item: Buffer) => void): void {
    const target = this.#target;
    this.#target = undefined;
    switch (target) {
      case 'key':
        this.#key = new JsonReader(text).readString();
        this.#state = 'colon';
        break;
      case 'value':
        this.#onValue(text);
        this.#state = 'after value';
        break;
      case 'item':
        this.#state = 'after item';
        onItem(text);
        break;
      case undefined:
        break;
    }
  }

  #onValue(text: Buffer): void {
    if (this.#key === 'items') {
      if (text.toString() !== 'null') throw new MalformedFrame('items in a list', this.#offset);
    } else if (KEPT.has(this.#key)) {
      this.#values.set(this.#key, Buffer.from(text));
    }
  }

  /** Where the string, object or array being captured ends, or -1 if that is not in this chunk. */
  #nestedEnd(chunk: Buffer, start: number): number {
    let depth = this.#depth;
    let inString = this.#inString;
    let at = start;
    if (this.#escaped) at++;
    while (at < chunk.length) {
      const byte = chunk[at++] as number;
      if (inString) {
        if (byte === BACKSLASH) at++;
        else if (byte === QUOTE) {
          inString = false;
          if (depth === 0) return at;
        }
      } else if (byte === QUOTE) inString = true;
      else if ((byte & BRACE_OR_BRACKET) === OPEN_BRACKET) depth++;
      else if ((byte & BRACE_OR_BRACKET) === CLOSE_BRACKET && --depth === 0) return at;
    }
    this.#depth = depth;
    this.#inString = inString;
    this.#escaped = at > chunk.length;
    return -1;
  }
}

/** Where the number, true, false or null ends, or -1 if that is not in this chunk. */
function scalarEnd(chunk: Buffer, start: number): number {
  let at = start;
  while (at < chunk.length) {
    if (SCALAR_END.has(chunk[at] as number)) return at;
    at++;
  }
  return -1;
}
