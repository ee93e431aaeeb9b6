import { setTimeout as sleep } from 'node:timers/promises';

export interface Eventually {
  /** What is awaited, for the message of a timeout. */
  readonly what: string;
  readonly timeoutMs: number;
  readonly everyMs?: number;
}

/** A state that other processes had to reach was not reached in time. */
export class NotInTime extends Error {
  readonly code = 'NOT_IN_TIME';
}

/**
 * Polls another process until `probe` returns something other than undefined or false, and returns that. What the
 * probe throws counts as "not yet" and is the cause of the NotInTime thrown in the end.
 */
export async function eventually<T>(
  { what, timeoutMs, everyMs = 100 }: Eventually,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let cause: unknown;
  do {
    try {
      const result = await probe();
      if (result !== undefined && result !== false) return result;
      cause = undefined;
    } catch (error) {
      if (error instanceof GiveUp) throw error.cause;
      cause = error;
    }
    await sleep(everyMs);
  } while (performance.now() < deadline);
  throw new NotInTime(`not within ${timeoutMs / 1000} s: ${what}`, { cause });
}

/** Thrown by a probe to end the waiting at once with its cause. */
export class GiveUp extends Error {
  readonly code = 'GIVE_UP';
  constructor(cause: unknown) {
    super('waiting is pointless', { cause });
  }
}
