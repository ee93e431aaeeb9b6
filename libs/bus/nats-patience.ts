import { type Clock, NEVER, sleep } from '@dogwatch/process/clock.ts';
import { NatsDisconnected, NatsNoResponders, NatsTimeout } from './nats-port.ts';
import { JetStreamError } from './nats-stream.ts';

/** Longer than JetStream needs to elect a leader after the unclean loss of one: 5 to 9 s. */
const PATIENCE_MS = 15_000;
const RETRY_MS = 250;
const TOO_MANY = 429;
/** Another append under the same expectation is not settled yet: a matter of milliseconds (around leader changes). */
export const UNSETTLED = 10_164;

/**
 * Whether the same request may well be answered later: servers are away, busy, or elect a leader, or that a stream was
 * made has not come to all of them yet, and then nobody answers on its subjects.
 */
export function isTransient(error: unknown): boolean {
  if (error instanceof JetStreamError)
    return error.errorCode === UNSETTLED || error.status === TOO_MANY || error.status >= 500;
  return error instanceof NatsTimeout || error instanceof NatsDisconnected || error instanceof NatsNoResponders;
}

export interface Patience {
  readonly clock: Clock;
  /** Default 15 s. */
  readonly patienceMs?: number;
  /** Once it aborts nothing is asked again. */
  readonly signal?: AbortSignal;
  /** Whether to ask again after an error that is transient. Default: always. */
  readonly again?: (error: unknown) => boolean;
}

/** Asks until there is an answer, for as long as electing a leader may take; then rejects as the last attempt did. */
export async function patiently<T>(patience: Patience, ask: () => Promise<T>): Promise<T> {
  const { clock, patienceMs = PATIENCE_MS, signal = NEVER, again = () => true } = patience;
  let deadline: number | undefined;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      deadline ??= clock.now() + patienceMs;
      const lasting = !isTransient(error) || (error instanceof NatsDisconnected && error.closed);
      if (lasting || !again(error) || signal.aborted || clock.now() >= deadline) throw error;
    }
    await sleep(clock, RETRY_MS, signal);
  }
}
