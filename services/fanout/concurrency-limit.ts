/** All places are taken and the queue is full, or the wait in it was too long. */
export class LimitReached extends Error {
  override readonly name = 'LimitReached';
  readonly code = 'limit_reached';
}

export interface ConcurrencyLimitOptions {
  readonly maxRunning: number;
  /** Tasks that may wait; further ones are refused at once. */
  readonly maxWaiting: number;
  /** A task that waited longer is refused when its turn comes. */
  readonly maxWaitMs: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

/** Runs so many tasks at a time, the others in the order in which they came. */
export class ConcurrencyLimit {
  readonly #options: ConcurrencyLimitOptions;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(options: ConcurrencyLimitOptions) {
    this.#options = options;
  }

  /** Rejects with LimitReached, or as the task does. */
  async run<Value>(task: () => Promise<Value>): Promise<Value> {
    const { maxRunning, maxWaiting, maxWaitMs, now } = this.#options;
    if (this.#running < maxRunning) {
      this.#running += 1;
    } else {
      if (this.#waiting.length >= maxWaiting) throw new LimitReached('too many tasks are waiting');
      const since = now();
      // Whoever ends hands its place on, so #running stays as it is.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      if (now() - since > maxWaitMs) {
        this.#leave();
        throw new LimitReached('waited too long for a turn');
      }
    }
    try {
      return await task();
    } finally {
      this.#leave();
    }
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}
