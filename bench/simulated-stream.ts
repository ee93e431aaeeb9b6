import type { SimulatedWatch } from './simulated-watch.ts';

/** The outgoing half of a watch: an HTTP/1.1 or HTTP/2 response. */
export interface StreamSink {
  write(bytes: Buffer): boolean;
  end(): void;
  once(event: 'drain', callback: () => void): unknown;
}

/** Bytes asked of a watch at once. */
const CHUNK_BYTES = 64 * 1024;
/** Where kube-apiserver's wheel puts a watcher's next bookmark (protocol W13). */
const BOOKMARK_EVERY_MS = 60_000;
const BEFORE_DEADLINE_MS = 2_000;
/** `--min-request-timeout`: without timeoutSeconds a watch lives this long, or up to twice as long (W12). */
const DEFAULT_TIMEOUT_MS = 1_800_000;

export interface StreamOptions {
  readonly watch: SimulatedWatch;
  readonly sink: StreamSink;
  readonly bookmarks: boolean;
  readonly timeoutSeconds: number;
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

  constructor(options: StreamOptions) {
    this.#options = options;
    const { timeoutSeconds, bookmarks } = options;
    const timeout = timeoutSeconds > 0 ? timeoutSeconds * 1000 : DEFAULT_TIMEOUT_MS * (1 + Math.random());
    this.#timers.push(setTimeout(() => this.#finish(), Math.min(timeout, 0x7fffffff)));
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
    if (this.#scheduled || this.#blocked || this.#closed) return;
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
    this.#finish();
  }

  #flush(): void {
    const { watch, sink } = this.#options;
    while (!this.#closed && !this.#blocked && !watch.idle) {
      const frames = watch.take(CHUNK_BYTES);
      if (frames === undefined) {
        this.#finish();
        return;
      }
      if (frames.length > 0)
        this.#write(frames.length === 1 ? (frames[0] ?? Buffer.alloc(0)) : Buffer.concat(frames), sink);
    }
  }

  #write(bytes: Buffer, sink: StreamSink): void {
    if (sink.write(bytes)) return;
    this.#blocked = true;
    sink.once('drain', () => {
      this.#blocked = false;
      this.#flush();
    });
  }

  #bookmark(): void {
    if (this.#closed || this.#blocked) return;
    this.#flush();
    const frame = this.#blocked ? undefined : this.#options.watch.bookmark();
    if (frame !== undefined) this.#write(frame, this.#options.sink);
  }

  #finish(): void {
    if (this.#closed) return;
    this.close();
    this.#options.sink.end();
    this.#options.onEnd();
  }
}
