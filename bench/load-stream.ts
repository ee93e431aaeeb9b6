import type { Encoding } from '@dogwatch/kube/lane.ts';
import type { LagHistogram } from './lag-histogram.ts';
import { LoadJsonReader } from './load-json-reader.ts';
import { LoadProtobufReader } from './load-protobuf-reader.ts';
import type { LoadReader, LoadSink } from './load-reader.ts';

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

/** Counts what one watch brings, over all the bodies it is read from. */
export class LoadStream implements LoadSink {
  /** Live events and the sum of their versions since the last reset: equal to the writer's, nothing is missing. */
  count = 0;
  versionSum = 0;
  readonly #totals: LoadTotals;
  readonly #reader: LoadReader;
  #last = 0;
  #initial = true;

  constructor(totals: LoadTotals, encoding: Encoding = 'json') {
    this.#totals = totals;
    this.#reader = encoding === 'json' ? new LoadJsonReader(this) : new LoadProtobufReader(this);
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
    this.#reader.restart();
    if (resuming) return;
    this.#initial = true;
    this.#last = 0;
  }

  /** Takes a chunk that arrived at `now` (microseconds of the monotonic clock). */
  read(chunk: Buffer, now: number): void {
    this.#totals.counts.bytes += chunk.length;
    this.#reader.read(chunk, now);
  }

  change(version: number): boolean {
    const { counts } = this.#totals;
    if (this.#initial) {
      counts.initial += 1;
      return false;
    }
    counts.deliveries += 1;
    if (version < this.#last) counts.disordered += 1;
    else if (version === this.#last) counts.repeated += 1;
    this.#last = version;
    this.count += 1;
    this.versionSum += version;
    return true;
  }

  written(stamp: number, now: number): void {
    if (stamp > 0) this.#totals.lag.record(now - stamp);
  }

  bookmark(version: number, endsInitialEvents: boolean): void {
    const { counts } = this.#totals;
    counts.bookmarks += 1;
    if (version < this.#last) counts.disordered += 1;
    this.#last = version;
    if (!this.#initial || !endsInitialEvents) return;
    this.#initial = false;
    counts.ready += 1;
  }

  error(code: number | undefined): void {
    countError(this.#totals.counts, String(code ?? 'unknown'));
    if (code === 410) this.#forget();
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
