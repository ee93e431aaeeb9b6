import { check } from '@dogwatch/checker/check.ts';
import { isObject, type ObjectEvent } from '@dogwatch/checker/recorded.ts';
import { Reference, type ReferenceEvent } from '@dogwatch/checker/reference.ts';
import { type Clock, inTime, sleep, systemClock } from '@dogwatch/process/clock.ts';
import { loadKubeconfig } from '@dogwatch/upstream/kubeconfig.ts';
import { ServerSide } from './sides.ts';
import { DifferencesFound, VerifyError } from './verify-error.ts';
import { dogwatchAccess, type VerifyContext } from './verify.ts';
import { EXPIRED, WatchClient, type WatchClients } from './watch-client.ts';
import type { WatchConfig } from './watch-config.ts';
import { WatchFrames } from './watch-frames.ts';
import { spreadInterests } from './watch-interests.ts';
import { renderWatchReport, type WatchedClient } from './watch-report.ts';

/** Events recorded of all watches; at the bound the run ends as if its time were over. */
const EVENTS_MAX = 4_000_000;
/** How long what happened last may be under way to a watch. */
const SETTLE_MS = 3_000;
/** How long the reference is waited for: to begin, and to tell what the watches have told already. */
const REFERENCE_BEGINS_MS = 60_000;
const REFERENCE_LAGS_MS = 10_000;
const POLL_MS = 50;
/** Watches end after 3 to 20 seconds, so that going on is what is checked most. */
const SHORTEST_SECONDS = 3;
const SPREAD_SECONDS = 18;

/**
 * Watches one resource many times through a dogwatch and once at kube-apiserver, and holds the ones against the other.
 * Rejects with DifferencesFound if a promise was broken, else with errors that say what to do.
 */
export async function runWatchVerify(
  config: WatchConfig,
  context: Pick<VerifyContext, 'env' | 'signal' | 'out'>,
): Promise<void> {
  const { env, signal, out } = context;
  const { kubeconfig, context: name } = config;
  const access = await loadKubeconfig({
    env,
    ...(kubeconfig === undefined ? {} : { path: kubeconfig }),
    ...(name === undefined ? {} : { context: name }),
  });
  const common = { env, tokens: new Map<string, string>(), onProblem: (): void => undefined };
  const upstream = new ServerSide({ access, ...common });
  const dogwatch = new ServerSide({ access: dogwatchAccess(access, config), ...common });
  try {
    const run = new WatchRun({ config, upstream, dogwatch, clock: systemClock, signal });
    const { clients, reference } = await run.watch();
    const upTo = run.upTo;
    const streams = clients.flatMap(({ client }) => client.streams);
    if (streams.length === 0) {
      const why = clients.find(({ client }) => client.refusal !== undefined)?.client.refusal;
      throw new VerifyError('cannot_read', `${dogwatch.server.host} answered no watch: ${why ?? 'there was no time'}`);
    }
    const verdict = check({ streams }, reference, { upTo, allowedErrors: [EXPIRED] });
    out(renderWatchReport(clients, verdict, { events: run.referenceEvents, from: reference.from, upTo }));
    const { length } = verdict.violations;
    if (length > 0) throw new PromisesBroken(length + verdict.omitted);
  } finally {
    upstream.close();
    dogwatch.close();
  }
}

/** The watches were told something else than kube-apiserver tells; the report says what. */
class PromisesBroken extends DifferencesFound {
  constructor(count: number) {
    super(count);
    this.message = `${count} ${count === 1 ? 'violation' : 'violations'} of what a watch is promised`;
  }
}

interface WatchRunOptions {
  readonly config: WatchConfig;
  readonly upstream: ServerSide;
  readonly dogwatch: ServerSide;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** The watches of one run. */
class WatchRun {
  /** Everything up to here had happened when the time was over. */
  upTo = 0;
  readonly #options: WatchRunOptions;
  readonly #enough = new AbortController();
  readonly #stop = new AbortController();
  readonly #stopReference = new AbortController();
  readonly #shared: Omit<WatchClients, 'enough' | 'stop'>;
  readonly #reference: WatchClient;
  #streams = 0;
  #events = 0;

  constructor(options: WatchRunOptions) {
    this.#options = options;
    const { config, clock, upstream } = options;
    this.#shared = {
      clock,
      frames: new WatchFrames(),
      resource: config.resource,
      nextStream: () => (this.#streams += 1),
      onEvent: () => {
        this.#events += 1;
        if (this.#events >= EVENTS_MAX) this.#enough.abort();
      },
    };
    const { namespace } = config;
    this.#reference = new WatchClient(
      {
        name: 'reference',
        side: upstream,
        interest: namespace === undefined ? {} : { namespace },
        resourceVersion: undefined,
        timeoutSeconds: 3_600,
      },
      { ...this.#shared, enough: this.#stopReference.signal, stop: this.#stopReference.signal },
    );
  }

  /** How many changes kube-apiserver told of. */
  get referenceEvents(): number {
    return this.#reference.streams.reduce((sum, { events }) => sum + events.filter(isObject).length, 0);
  }

  async watch(): Promise<{ readonly clients: WatchedClient[]; readonly reference: Reference }> {
    const { config, clock, signal } = this.#options;
    const following = this.#reference.run();
    // It rejects only where it is waited for.
    following.catch(() => undefined);
    try {
      await this.#referenceAt(1, REFERENCE_BEGINS_MS, following);
      const clients = this.#clients();
      const over = AbortSignal.any([signal, this.#enough.signal]);
      const watching = Promise.all(clients.map(({ client }) => client.run()));
      await Promise.race([sleep(clock, config.duration, over), watching]);
      this.#enough.abort();
      this.upTo = this.#reference.position ?? 0;
      await inTime(watching, clock, SETTLE_MS);
      this.#stop.abort();
      await watching;
      await this.#referenceAt(newestOf(clients), REFERENCE_LAGS_MS, following);
      return { clients, reference: this.#history() };
    } finally {
      this.#enough.abort();
      this.#stop.abort();
      this.#stopReference.abort();
      await following.catch(() => undefined);
    }
  }

  #clients(): WatchedClient[] {
    const { config, dogwatch } = this.#options;
    const { namespace, selector } = config;
    const base = {
      ...(namespace === undefined ? {} : { namespace }),
      ...(selector === undefined ? {} : { labelSelector: selector }),
    };
    const objects = this.#reference.streams[0]?.events.filter(isObject) ?? [];
    const shared = { ...this.#shared, enough: this.#enough.signal, stop: this.#stop.signal };
    return spreadInterests(objects, base, config.watches).map((its, i) => ({
      ...its,
      client: new WatchClient(
        {
          name: `client-${i}`,
          side: dogwatch,
          interest: its.interest,
          resourceVersion: i % 2 === 0 ? undefined : this.#reference.position,
          timeoutSeconds: SHORTEST_SECONDS + ((i * 7) % SPREAD_SECONDS),
        },
        shared,
      ),
    }));
  }

  /** Until the reference is at a version, or that takes too long: what it does not have then it never will. */
  async #referenceAt(version: number, withinMs: number, following: Promise<void>): Promise<void> {
    const { clock, signal, upstream } = this.#options;
    const end = clock.now() + withinMs;
    while ((this.#reference.position ?? 0) < version && clock.now() < end && !signal.aborted) {
      await Promise.race([sleep(clock, POLL_MS, signal), following]);
    }
    if (this.#reference.position === undefined) {
      throw new VerifyError(
        'cannot_read',
        `${upstream.server.host} gave no initial events to a watch: ${this.#reference.refusal ?? 'WatchList must be on'}`,
      );
    }
  }

  #history(): Reference {
    const [first, ...rest] = this.#reference.streams;
    const lost = rest.find(({ request }) => request.resourceVersion === undefined);
    const end = first?.events.findIndex(({ type }) => type === 'BOOKMARK') ?? -1;
    const close = first?.events[end];
    if (first === undefined || lost !== undefined || close?.type !== 'BOOKMARK') {
      throw new VerifyError('cannot_read', 'kube-apiserver could not go on with its own watch; try again');
    }
    const timed = [first, ...rest].flatMap(({ events, times }) =>
      events.map((event, i): { event: typeof event; time: number } => ({ event, time: times[i] ?? 0 })),
    );
    const objects = timed.slice(0, end).flatMap(({ event }) => (isObject(event) ? [event] : []));
    const events = timed
      .slice(end)
      .flatMap(({ event, time }): ReferenceEvent[] => (isObject(event) ? [{ ...event, time }] : []));
    return new Reference({ from: close.rv, fromTime: first.times[end] ?? 0, objects, events });
  }
}

function newestOf(clients: readonly WatchedClient[]): number {
  const events: ObjectEvent[] = clients.flatMap(({ client }) =>
    client.streams.flatMap((its) => its.events.filter(isObject)),
  );
  return events.reduce((rv, event) => Math.max(rv, event.rv), 0);
}
