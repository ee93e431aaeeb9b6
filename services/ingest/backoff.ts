const FIRST_MS = 100;
const MAX_MS = 5_000;

/** Waiting times between attempts: doubling from 0.1 to 5 s, each between half and all of that. */
export class Backoff {
  readonly #random: () => number;
  #next = FIRST_MS;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** Milliseconds to wait before the next attempt. */
  next(): number {
    const base = this.#next;
    this.#next = Math.min(base * 2, MAX_MS);
    return base * (0.5 + this.#random() / 2);
  }

  reset(): void {
    this.#next = FIRST_MS;
  }
}
