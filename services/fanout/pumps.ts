import { GzipMembers } from './gzip-members.ts';
import type { WatchStream } from './watch-stream.ts';

/** Longest the event loop is kept at a stretch, ms: requests, PINGs and probes of others are answered in between. */
const SLICE_MS = 20;
/** Streams written between two looks at the clock. */
const STREAMS_PER_LOOK = 64;

/**
 * Streams with something to send, written all at once at the end of each turn of the event loop: what one turn brings
 * for the streams of one connection leaves in one write, which is what makes a delivery cheap.
 */
export class Pumps {
  /** What is written to the streams that are compressed. */
  readonly gzipMembers = new GzipMembers();
  #ready: WatchStream[] = [];
  #scheduled = false;
  /** Frames handed to sockets since the start. */
  delivered = 0;
  /** Times a watch went on with the newest states, because its client had not taken every change in time. */
  conflations = 0;
  /** Watches that began with the newest states, because not every change since their version is held. */
  stateDiffs = 0;

  add(stream: WatchStream): void {
    this.#ready.push(stream);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    const until = performance.now() + SLICE_MS;
    const ready = this.#ready;
    this.#ready = [];
    let done = 0;
    for (const stream of ready) {
      if (done > 0 && done % STREAMS_PER_LOOK === 0 && performance.now() >= until) break;
      stream.pump();
      done += 1;
    }
    if (done < ready.length) this.#ready = [...ready.slice(done), ...this.#ready];
    this.#scheduled = this.#ready.length > 0;
    if (this.#scheduled) setImmediate(() => this.#flush());
  }
}
