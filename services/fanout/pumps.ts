import type { WatchStream } from './watch-stream.ts';

/**
 * Streams with something to send, written all at once at the end of each turn of the event loop: what one turn brings
 * for the streams of one connection leaves in one write, which is what makes a delivery cheap.
 */
export class Pumps {
  #ready: WatchStream[] = [];
  #scheduled = false;
  /** Frames handed to sockets since the start. */
  delivered = 0;

  add(stream: WatchStream): void {
    this.#ready.push(stream);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    const ready = this.#ready;
    this.#ready = [];
    for (const stream of ready) stream.pump();
  }
}
