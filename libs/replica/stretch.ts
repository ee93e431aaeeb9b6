import { setImmediate } from 'node:timers/promises';
import type { Clock } from '@dogwatch/process/clock.ts';

/** What many do at once is done for about so long at a stretch, in ms, or one by one if each takes longer. */
const STRETCH_MS = 20;

/** Lets many who are to do something at once do it over several turns of the event loop: others are served in between. */
export class Stretch {
  readonly #clock: Clock;
  readonly #waiting: (() => void)[] = [];
  #passing = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves when it is the caller's turn, in the order of calls. What it has to do is to be done at once. */
  enter(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (!this.#passing) void this.#pass();
    });
  }

  async #pass(): Promise<void> {
    this.#passing = true;
    for (let count = 1; this.#waiting.length > 0;) {
      const start = this.#clock.now();
      for (const resolve of this.#waiting.splice(0, count)) resolve();
      await setImmediate();
      count = this.#clock.now() - start < STRETCH_MS / 2 ? count * 2 : 1;
    }
    this.#passing = false;
  }
}
