/** Something that lives as long as the process, or as its signal. */
export interface Service {
  /**
   * Works until `signal` aborts, then drains and resolves; how long draining may take is its own bound.
   * Rejects when it is broken. Returning early means it has no more to do.
   */
  run(signal: AbortSignal): Promise<void>;
}

/**
 * Runs all services of all ranks until `signal` aborts or one of them rejects, then shuts down in ranks: the first
 * rank's signals abort, and when all of it has drained the next rank's do (edge first, then feeds, then the bus).
 * Services start in the opposite order. Rejects with the error of the service that failed; if more fail while
 * shutting down, with an AggregateError of all whose `cause` is the first.
 */
export async function runAll(ranks: readonly (readonly Service[])[], signal: AbortSignal): Promise<void> {
  const errors: unknown[] = [];
  const stop = Promise.withResolvers<void>();
  const controllers = ranks.map(() => new AbortController());
  const running: Promise<unknown>[] = [];

  const start = async (service: Service, rankSignal: AbortSignal): Promise<void> => {
    try {
      await service.run(rankSignal);
    } catch (error) {
      errors.push(error);
      stop.resolve();
    }
  };
  for (let rank = ranks.length - 1; rank >= 0; rank--) {
    const rankSignal = controllers[rank]!.signal;
    running[rank] = Promise.all(ranks[rank]!.map((service) => start(service, rankSignal)));
  }

  const onAbort = () => stop.resolve();
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) stop.resolve();
  await Promise.race([stop.promise, Promise.all(running)]);
  signal.removeEventListener('abort', onAbort);

  for (const [rank, controller] of controllers.entries()) {
    controller.abort();
    await running[rank];
  }
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, messageOf(errors[0]), { cause: errors[0] });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/**
 * How close together two equal signals are one request, in milliseconds. On Ctrl-C the terminal signals the whole
 * process group, and npm and the launcher each hand on their copy: one key, three signals.
 */
const ECHO = 500;

/**
 * A signal that aborts at the first SIGINT or SIGTERM, or when a launcher that opened an IPC channel is gone. A second
 * one exits at once, with 130 or 143, for whoever cannot wait for the drain.
 */
export function onSignals(): AbortSignal {
  const controller = new AbortController();
  let first: { name: string; at: number } | undefined;
  for (const [name, code] of Object.entries(EXIT_CODES)) {
    process.on(name, () => {
      if (first === undefined) {
        first = { name, at: performance.now() };
        controller.abort();
      } else if (first.name !== name || performance.now() - first.at > ECHO) {
        process.exit(code);
      }
    });
  }
  process.once('disconnect', () => controller.abort());
  // It may have gone before we looked.
  if (process.connected === false) controller.abort();
  process.channel?.unref();
  return controller.signal;
}
