import type { Clock, Timer } from '@dogwatch/process/clock.ts';

interface Waiter {
  readonly holds: () => boolean;
  readonly settle: (held: boolean) => void;
}

/** Requests waiting for a lane to get somewhere; looked at after each envelope, so that none is woken in vain. */
export class VersionWaiters {
  readonly #clock: Clock;
  readonly #waiters = new Set<Waiter>();
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Resolves true once `holds` does, false after `timeoutMs`, or when the lane closes. */
  wait(holds: () => boolean, timeoutMs: number): Promise<boolean> {
    if (timeoutMs <= 0 || this.#closed) return Promise.resolve(false);
    return new Promise((resolve) => {
      let timer: Timer | undefined = undefined;
      const waiter: Waiter = {
        holds,
        settle: (held) => {
          this.#waiters.delete(waiter);
          timer?.cancel();
          resolve(held);
        },
      };
      timer = this.#clock.setTimeout(() => waiter.settle(false), timeoutMs);
      this.#waiters.add(waiter);
    });
  }

  check(): void {
    for (const waiter of this.#waiters) if (waiter.holds()) waiter.settle(true);
  }

  /** Nothing will hold any more: who waits, or comes to wait, is told so. */
  close(): void {
    this.#closed = true;
    for (const waiter of this.#waiters) waiter.settle(false);
  }
}
