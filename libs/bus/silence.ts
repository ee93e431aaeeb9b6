import type { Clock } from '@dogwatch/process/clock.ts';

/**
 * How long somebody has said nothing, counted only while it would have been heard: without a break something came
 * through the table at least every `gapMs`. Else, when a table that was away comes back, or a process that stood still
 * goes on, all others would look dead.
 */
export class Silence {
  readonly #clock: Clock;
  readonly #gapMs: number;
  #provedAt = -Infinity;
  #unbrokenFrom = 0;

  constructor(clock: Clock, gapMs: number) {
    this.#clock = clock;
    this.#gapMs = gapMs;
  }

  /** Since something last came through the table. */
  get sinceProofMs(): number {
    return this.#clock.now() - this.#provedAt;
  }

  /** Something came through the table. */
  proved(): void {
    const now = this.#clock.now();
    if (now - this.#provedAt > this.#gapMs) this.#unbrokenFrom = now;
    this.#provedAt = now;
  }

  /** What was not heard until now may have been held up. */
  disturbed(): void {
    this.#provedAt = -Infinity;
  }

  /** Milliseconds of silence of somebody last heard at `heardAt` of the clock; 0 while it cannot be known. */
  of(heardAt: number): number {
    if (this.sinceProofMs > this.#gapMs) return 0;
    return this.#clock.now() - Math.max(heardAt, this.#unbrokenFrom);
  }
}
