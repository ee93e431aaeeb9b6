/** What a reader of a watch tells about what it finds. */
export interface LoadSink {
  /** An ADDED, MODIFIED or DELETED. True if it is a live one, of which `written` is wanted. */
  change(version: number): boolean;
  /** When the change told of last was due, in microseconds of the monotonic clock, and when it came. */
  written(stamp: number, now: number): void;
  bookmark(version: number, endsInitialEvents: boolean): void;
  /** An ERROR event with this code. */
  error(code: number | undefined): void;
}

/** Reads the body of one watch in one encoding. */
export interface LoadReader {
  /** Takes a chunk that arrived at `now` (microseconds of the monotonic clock). */
  read(chunk: Buffer, now: number): void;
  /** What comes next begins a new body. */
  restart(): void;
}
