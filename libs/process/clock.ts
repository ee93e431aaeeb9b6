import assert from 'node:assert';

/** A running timer. `cancel` may be called at any time, any number of times. */
export interface Timer {
  cancel(): void;
}

/** Time as an input, so that tests can drive it. */
export interface Clock {
  /** Monotonic milliseconds with a fraction, from an arbitrary start; never goes back. */
  now(): number;
  /** Milliseconds since 1970 (UTC); may jump when the machine's clock is set. */
  wall(): number;
  /** Runs `callback` once after `ms` milliseconds (0 … MAX_DELAY). The timer keeps the process alive. */
  setTimeout(callback: () => void, ms: number): Timer;
  /** Runs `callback` every `ms` milliseconds (1 … MAX_DELAY) until cancelled. The timer keeps the process alive. */
  setInterval(callback: () => void, ms: number): Timer;
}

/** Longest delay in milliseconds, 24.8 days: Node fires at once what is set beyond it. */
export const MAX_DELAY = 2 ** 31 - 1;

/** The machine's own time. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  setTimeout: (callback, ms) => {
    assert(ms >= 0 && ms <= MAX_DELAY, `timeout of ${ms} ms is out of range`);
    const handle = setTimeout(callback, ms);
    return { cancel: () => clearTimeout(handle) };
  },
  setInterval: (callback, ms) => {
    assert(ms >= 1 && ms <= MAX_DELAY, `interval of ${ms} ms is out of range`);
    const handle = setInterval(callback, ms);
    return { cancel: () => clearInterval(handle) };
  },
};

/** A signal for what nothing cuts short. */
export const NEVER: AbortSignal = new AbortController().signal;

/** What `promise` resolves with; undefined if it does not within `ms` milliseconds. Rejects as it does in that time. */
export async function inTime<T>(promise: Promise<T>, clock: Clock, ms: number): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = clock.setTimeout(() => late.resolve(undefined), ms);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    timer.cancel();
  }
}

/**
 * Resolves after `ms` milliseconds, or at once when `signal` aborts. It never rejects: shutdown is no error, and
 * loops read `while (!signal.aborted)`. Code that goes on after a sleep checks `signal.aborted` first.
 */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = () => {
      timer.cancel();
      signal.removeEventListener('abort', finish);
      resolve();
    };
    const timer = clock.setTimeout(finish, ms);
    signal.addEventListener('abort', finish);
  });
}
