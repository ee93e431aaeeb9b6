import type { LagHistogram } from './lag-histogram.ts';
import { readResourceVersion, readStamp } from './written-stamp.ts';

/** What a set of streams has seen since the last reset. */
export interface LoadCounts {
  /** Streams open now. */
  open: number;
  /** Streams that have had all their initial events. */
  ready: number;
  /** Initial events, which are no deliveries. */
  initial: number;
  /** Live events: ADDED, MODIFIED and DELETED. */
  deliveries: number;
  bookmarks: number;
  bytes: number;
  /** Versions that went backwards on a stream. */
  disordered: number;
  /** Versions seen twice on a stream. */
  repeated: number;
  /** Streams that ended by themselves, cleanly or not; they are opened again from their last version. */
  ended: number;
  /** ERROR events and answers other than 200, by code. */
  errors: Record<string, number>;
}

export function emptyCounts(): LoadCounts {
  return {
    open: 0,
    ready: 0,
    initial: 0,
    deliveries: 0,
    bookmarks: 0,
    bytes: 0,
    disordered: 0,
    repeated: 0,
    ended: 0,
    errors: {},
  };
}

/** What all streams of a worker share. */
export interface LoadTotals {
  readonly counts: LoadCounts;
  readonly lag: LagHistogram;
}

const NEWLINE = 0x0a;
const END_ANNOTATION = Buffer.from('"k8s.io/initial-events-end":"true"');
/** Where the first letter of the type stands in `{"type":"ADDED"`. */
const TYPE_AT = 9;
const ADDED = 'A'.charCodeAt(0);
const MODIFIED = 'M'.charCodeAt(0);
const DELETED = 'D'.charCodeAt(0);
const BOOKMARK = 'B'.charCodeAt(0);

/** Reads one watch: finds lines, types, versions and stamps by bytes, without parsing. */
export class LoadStream {
  /** Live events and the sum of their versions since the last reset: equal to the writer's, nothing is missing. */
  count = 0;
  versionSum = 0;
  readonly #totals: LoadTotals;
  #last = 0;
  #initial = true;
  #carry: Buffer[] = [];

  constructor(totals: LoadTotals) {
    this.#totals = totals;
  }

  /** The version to go on from after an end; 0: from the beginning. */
  get resumeVersion(): number {
    return this.#initial ? 0 : this.#last;
  }

  /** Forgets what was counted, keeps where the stream is. */
  reset(): void {
    this.count = 0;
    this.versionSum = 0;
  }

  /** A new stream of the same watch: after a 410 (`resuming` false) with initial events, else from `resumeVersion`. */
  reopened(resuming: boolean): void {
    this.#carry = [];
    if (resuming) return;
    this.#initial = true;
    this.#last = 0;
  }

  /** Takes a chunk that arrived at `now` (microseconds of the monotonic clock). */
  read(chunk: Buffer, now: number): void {
    this.#totals.counts.bytes += chunk.length;
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
      this.#line(bytes, start, end, now);
      start = end + 1;
      end = bytes.indexOf(NEWLINE, start);
    }
    if (start < bytes.length) this.#carry.push(bytes.subarray(start));
  }

  #line(bytes: Buffer, start: number, end: number, now: number): void {
    const { counts, lag } = this.#totals;
    const version = readResourceVersion(bytes, start);
    switch (bytes[start + TYPE_AT]) {
      case ADDED:
      case MODIFIED:
      case DELETED: {
        if (this.#initial) {
          counts.initial += 1;
          return;
        }
        counts.deliveries += 1;
        if (version < this.#last) counts.disordered += 1;
        else if (version === this.#last) counts.repeated += 1;
        this.#last = version;
        this.count += 1;
        this.versionSum += version;
        const stamp = readStamp(bytes, start, end);
        if (stamp !== undefined && stamp > 0) lag.record(now - stamp);
        return;
      }
      case BOOKMARK: {
        counts.bookmarks += 1;
        if (version < this.#last) counts.disordered += 1;
        this.#last = version;
        if (!this.#initial) return;
        const marked = bytes.indexOf(END_ANNOTATION, start);
        if (marked >= 0 && marked < end) {
          this.#initial = false;
          counts.ready += 1;
        }
        return;
      }
      default: {
        const { object } = JSON.parse(bytes.toString('utf8', start, end)) as { object: { code?: number } };
        countError(counts, String(object.code ?? 'unknown'));
        if (object.code === 410) this.#forget();
      }
    }
  }

  #forget(): void {
    if (!this.#initial) this.#totals.counts.ready -= 1;
    this.#initial = true;
  }
}

/** Counts an error by its code. */
export function countError(counts: LoadCounts, code: string): void {
  counts.errors[code] = (counts.errors[code] ?? 0) + 1;
}
