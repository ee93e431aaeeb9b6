import type { LoadReader, LoadSink } from './load-reader.ts';
import { readResourceVersion, readStamp } from './written-stamp.ts';

const NEWLINE = 0x0a;
const END_ANNOTATION = Buffer.from('"k8s.io/initial-events-end":"true"');
/** Where the first letter of the type stands in `{"type":"ADDED"`. */
const TYPE_AT = 9;
const ADDED = 'A'.charCodeAt(0);
const MODIFIED = 'M'.charCodeAt(0);
const DELETED = 'D'.charCodeAt(0);
const BOOKMARK = 'B'.charCodeAt(0);

/** Finds lines, types, versions and stamps by bytes, without parsing. */
export class LoadJsonReader implements LoadReader {
  readonly #sink: LoadSink;
  #carry: Buffer[] = [];

  constructor(sink: LoadSink) {
    this.#sink = sink;
  }

  restart(): void {
    this.#carry = [];
  }

  read(chunk: Buffer, now: number): void {
    let bytes = chunk;
    let start = 0;
    let end = bytes.indexOf(NEWLINE);
    if (end >= 0 && this.#carry.length > 0) {
      const carried = this.#carry.reduce((sum, { length }) => sum + length, 0);
      bytes = Buffer.concat([...this.#carry, chunk]);
      this.#carry = [];
      end += carried;
    }
    while (end >= 0) {
      this.#line(bytes, { start, end }, now);
      start = end + 1;
      end = bytes.indexOf(NEWLINE, start);
    }
    if (start < bytes.length) this.#carry.push(bytes.subarray(start));
  }

  #line(bytes: Buffer, { start, end }: { start: number; end: number }, now: number): void {
    const version = readResourceVersion(bytes, start);
    switch (bytes[start + TYPE_AT]) {
      case ADDED:
      case MODIFIED:
      case DELETED: {
        if (!this.#sink.change(version)) return;
        const stamp = readStamp(bytes, start, end);
        if (stamp !== undefined) this.#sink.written(stamp, now);
        return;
      }
      case BOOKMARK: {
        const marked = bytes.indexOf(END_ANNOTATION, start);
        return this.#sink.bookmark(version, marked >= 0 && marked < end);
      }
      default: {
        const { object } = JSON.parse(bytes.toString('utf8', start, end)) as { object: { code?: number } };
        this.#sink.error(object.code);
      }
    }
  }
}
