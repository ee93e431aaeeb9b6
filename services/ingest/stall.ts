import type { Clock, Timer } from '@dogwatch/process/clock.ts';

/** Aborts its signal once nothing was heard for `ms`: a stream that stands still must not hold up others for ever. */
export class Stall {
  readonly #clock: Clock;
  readonly #ms: number;
  readonly #abort = new AbortController();
  #timer: Timer;
  #heardAt: number;

  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#ms = ms;
    this.#heardAt = clock.now();
    this.#timer = clock.setTimeout(() => this.#check(), ms);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Something was heard. Cheap: the timer is looked at when it fires, not moved each time. */
  heard(): void {
    this.#heardAt = this.#clock.now();
  }

  /** From now on it may be quiet. */
  stop(): void {
    this.#timer.cancel();
  }

  #check(): void {
    const left = this.#heardAt + this.#ms - this.#clock.now();
    if (left > 0) this.#timer = this.#clock.setTimeout(() => this.#check(), left);
    else this.#abort.abort(new Error(`kube-apiserver sent nothing for ${this.#ms} ms in the middle of a list`));
  }
}
