import assert from 'node:assert';

/** A stream that waits for its connection's budget. */
export interface BudgetWaiter {
  /** The budget has room again. */
  onRoom(): void;
}

/**
 * How many bytes one connection's streams have handed over and its socket has not taken. At the bound, streams stop
 * writing; once half of it is free, they go on in the order in which they stopped. The bound may be passed by one
 * write of each stream, so that a stream with an empty queue never waits for others that are stuck.
 */
export class FlushBudget {
  readonly #limit: number;
  readonly #waiting = new Set<BudgetWaiter>();
  #unflushed = 0;
  #releasing = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get unflushed(): number {
    return this.#unflushed;
  }

  get exhausted(): boolean {
    return this.#unflushed >= this.#limit;
  }

  /** A stream's unflushed bytes changed by `delta`. */
  account(delta: number): void {
    this.#unflushed += delta;
    assert(this.#unflushed >= 0, 'more bytes flushed than were written');
    if (delta < 0) this.#release();
  }

  wait(waiter: BudgetWaiter): void {
    this.#waiting.add(waiter);
  }

  forget(waiter: BudgetWaiter): void {
    this.#waiting.delete(waiter);
  }

  #release(): void {
    // A waiter writes in its onRoom, which comes back here.
    if (this.#releasing || this.#waiting.size === 0 || this.#unflushed > this.#limit / 2) return;
    this.#releasing = true;
    // Those who stop again during this round go behind it, not into it.
    const round = [...this.#waiting];
    for (const waiter of round) {
      if (this.exhausted) break;
      if (this.#waiting.delete(waiter)) waiter.onRoom();
    }
    this.#releasing = false;
  }
}
