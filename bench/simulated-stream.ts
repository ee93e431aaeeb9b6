import type { ResourceCounts } from './simulated-counters.ts';
import { errorFrame, type StatusError } from './simulated-status.ts';
import type { SimulatedValve } from './simulated-valve.ts';
import type { Wire } from './simulated-view.ts';
import type { SimulatedWatch } from './simulated-watch.ts';

/** The outgoing half of a watch: an HTTP/1.1 or HTTP/2 response. */
export interface StreamSink {
  write(bytes: Buffer): boolean;
  end(): void;
  once(event: 'drain', callback: () => void): unknown;
}

/** Bytes asked of a watch at once. */
const CHUNK_BYTES = 256 * 1024;
/** Frames below are joined, so that the socket is not given many small writes. */
const SMALL_BYTES = 16 * 1024;
/** A client that is so far behind is cut off, as upstream does with slow ones; a reference watch on a busy machine is not. */
const LAG_BYTES_MAX = 512 * 1024 * 1024;
/** Where kube-apiserver's wheel puts a watcher's next bookmark (protocol W13). */
const BOOKMARK_EVERY_MS = 60_000;
const BEFORE_DEADLINE_MS = 2_000;
/** `--min-request-timeout`: without timeoutSeconds a watch lives this long, or up to twice as long (W12). */
const DEFAULT_TIMEOUT_MS = 1_800_000;

export interface StreamOptions {
  readonly watch: SimulatedWatch;
  readonly wire: Wire;
  readonly sink: StreamSink;
  readonly bookmarks: boolean;
  readonly timeoutSeconds: number;
  readonly counts: ResourceCounts;
  readonly valve: SimulatedValve;
  /** Called once, when the stream has ended by itself. */
  readonly onEnd: () => void;
}

/** Moves a watch's bytes to its client, woken by events; holds at most what the sink has taken. */
export class SimulatedStream {
  readonly #options: StreamOptions;
  readonly #timers: NodeJS.Timeout[] = [];
  #scheduled = false;
  #blocked = false;
  #closed = false;
  /** A slow stream has had a part of a frame. */
  #inFrame = false;
  /** Bytes and events sent, for the size of an event. */
  #bytes = 0;
  #events = 0;

  constructor(options: StreamOptions) {
    this.#options = options;
    const { timeoutSeconds, bookmarks } = options;
    const timeout = timeoutSeconds > 0 ? timeoutSeconds * 1000 : DEFAULT_TIMEOUT_MS * (1 + Math.random());
    this.#timers.push(setTimeout(() => this.finish(), Math.min(timeout, 0x7fffffff)));
    if (bookmarks) {
      this.#timers.push(setInterval(() => this.#bookmark(), BOOKMARK_EVERY_MS));
      // As measured: with two seconds or less upstream gives none.
      if (timeout > BEFORE_DEADLINE_MS)
        this.#timers.push(setTimeout(() => this.#bookmark(), timeout - BEFORE_DEADLINE_MS));
    }
    this.#flush();
  }

  /** Something happened in the collection. Many events in one turn of the loop are one write. */
  wake(): void {
    if (this.#closed) return;
    if (this.#blocked) {
      if (this.#lagBytes() > LAG_BYTES_MAX) this.#endSlow();
      return;
    }
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  /** The client is gone, or the server is closing. */
  close(): void {
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
  }

  /** Ends the stream cleanly, as a server that closes does. */
  finish(): void {
    if (this.#closed) return;
    this.close();
    this.#options.sink.end();
    this.#options.onEnd();
  }

  /** Ends it with an ERROR event, if it does not stand in the middle of a frame. */
  fail(error: StatusError): void {
    if (this.#closed) return;
    if (!this.#inFrame) this.#options.sink.write(errorFrame(error, this.#options.wire.encoding));
    this.finish();
  }

  /** Ends it as if all were well, in the middle of a frame. */
  truncate(): void {
    if (this.#closed) return;
    if (!this.#inFrame) this.#options.sink.write(this.#options.watch.halfFrame());
    this.finish();
  }

  #flush(): void {
    const { watch, counts } = this.#options;
    while (!this.#closed && !this.#blocked && !watch.idle) {
      if (this.#waitsForHang()) return;
      const taken = watch.take(Math.min(CHUNK_BYTES, this.#options.valve.bytesAtOnce));
      if (taken === undefined) {
        this.#endSlow();
        return;
      }
      const bytes = taken.frames.reduce((sum, { length }) => sum + length, 0);
      this.#bytes += bytes;
      this.#events += taken.events + taken.initial;
      counts.watchBytes += bytes;
      counts.events += taken.events;
      counts.initialEvents += taken.initial;
      if (this.#options.valve.isSlow) void this.#drip(Buffer.concat(taken.frames));
      else for (const part of joinedSmall(taken.frames)) this.#write(part);
    }
  }

  #write(bytes: Buffer): void {
    const { sink } = this.#options;
    if (sink.write(bytes) || this.#blocked) return;
    this.#blocked = true;
    sink.once('drain', () => this.#unblock());
  }

  /** What a frame has more than a slow stream may have goes out later, cut wherever it is. */
  async #drip(bytes: Buffer): Promise<void> {
    const { sink, valve } = this.#options;
    this.#blocked = this.#inFrame = true;
    for (let at = 0; at < bytes.length && !this.#closed;) {
      const end = Math.min(bytes.length, at + valve.bytesAtOnce);
      sink.write(bytes.subarray(at, end));
      at = end;
      await valve.drip();
    }
    this.#inFrame = false;
    this.#unblock();
  }

  #waitsForHang(): boolean {
    const { opened } = this.#options.valve;
    if (opened === undefined) return false;
    this.#blocked = true;
    void opened.then(() => this.#unblock());
    return true;
  }

  #unblock(): void {
    this.#blocked = false;
    this.#flush();
  }

  /** What it has not taken, by the size of the events it was sent. */
  #lagBytes(): number {
    return this.#options.watch.lag * (this.#bytes / Math.max(1, this.#events));
  }

  #endSlow(): void {
    this.#options.counts.slowWatches += 1;
    this.finish();
  }

  #bookmark(): void {
    if (this.#closed || this.#blocked) return;
    this.#flush();
    const frame = this.#blocked ? undefined : this.#options.watch.bookmark();
    if (frame !== undefined) this.#write(frame);
  }
}

/** Frames one after the other, small ones in one buffer. */
function joinedSmall(frames: readonly Buffer[]): Buffer[] {
  const parts: Buffer[] = [];
  let small: Buffer[] = [];
  const join = () => {
    if (small.length > 0) parts.push(small.length === 1 ? (small[0] ?? Buffer.alloc(0)) : Buffer.concat(small));
    small = [];
  };
  for (const frame of frames) {
    if (frame.length < SMALL_BYTES) small.push(frame);
    else {
      join();
      parts.push(frame);
    }
  }
  join();
  return parts;
}
