import { once } from 'node:events';
import type { Bus, LaneRequests } from '@dogwatch/bus/bus.ts';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import { StatusError, notFound, storageInitializing, tooManyRequests } from '@dogwatch/kube/status.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Metrics } from '@dogwatch/process/metrics.ts';
import type { Discovery } from '@dogwatch/upstream/discovery.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { readBackfill } from './backfill.ts';
import { createCounters } from './counters.ts';
import { Fence } from './fence.ts';
import { type LaneType, laneType } from './lane-type.ts';
import { registerIngestMetrics } from './ingest-metrics.ts';
import { Publisher } from './publisher.ts';
import { Reflector } from './reflector.ts';
import { Turnstile } from './turnstile.ts';
import { asStatusError, asUnavailable } from './upstream-status.ts';

/** A lane that is quiet this long is probed and verified, so that its bookmarks stay fresh (promise I10). */
const QUIET_MS = 60_000;
const BACKFILLS_AT_ONCE = 2;

export interface IngestDependencies {
  readonly bus: Bus;
  readonly upstream: Upstream;
  readonly discovery: Discovery;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly random: () => number;
}

export interface IngestConfig {
  /** Lanes read at once; more are refused with 429. */
  readonly maxLanes: number;
}

interface OpenLane {
  readonly lane: Lane;
  readonly type: Promise<LaneType>;
  readonly reflector: Promise<Reflector>;
  readonly publisher: Publisher;
  readonly fence: Fence;
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

/** Reads upstream once per lane in use, and publishes what it reads on the bus. */
export class Ingest implements Service {
  readonly #deps: IngestDependencies;
  readonly #config: IngestConfig;
  readonly #lanes = new Map<string, OpenLane>();
  readonly #listings = new Turnstile(1);
  readonly #backfills = new Turnstile(BACKFILLS_AT_ONCE);
  readonly #counters = createCounters();

  constructor(deps: IngestDependencies, config: IngestConfig) {
    this.#deps = deps;
    this.#config = config;
    registerIngestMetrics(deps.metrics, this.#counters, () => this.#lanes.size);
  }

  /** Answers requests on the bus until `signal` aborts, then stops reading. */
  async run(signal: AbortSignal): Promise<void> {
    const { bus, clock } = this.#deps;
    const stops = [
      bus.serve('open', async ({ lane }) => {
        await rejecting(this.#open(lane), asStatusError);
        return { partitions: 1 };
      }),
      bus.serve('close', ({ lane }) => this.#close(lane)),
      bus.serve('repair', async ({ lane }) => (await this.#laneOf(lane).reflector).repair()),
      bus.serve('fence', (request) => rejecting(this.#fence(request), asUnavailable)),
      bus.serve('backfill', (request) => rejecting(this.#backfill(request), asUnavailable)),
    ];
    const quiet = clock.setInterval(() => this.#verifyQuietLanes(), QUIET_MS);
    if (!signal.aborted) await once(signal, 'abort');
    quiet.cancel();
    for (const stop of stops) stop();
    await Promise.all([...this.#lanes.values()].map(({ lane }) => this.#close(lane)));
  }

  async #open(lane: Lane): Promise<void> {
    const key = laneKey(lane);
    let open = this.#lanes.get(key);
    while (open?.abort.signal.aborted === true) {
      // It is closing, and will give nobody anything any more.
      await open.ended;
      open = this.#lanes.get(key);
    }
    if (open === undefined) {
      if (this.#lanes.size >= this.#config.maxLanes) {
        throw new StatusError(tooManyRequests(`more than ${this.#config.maxLanes} lanes are open`, 30));
      }
      open = this.#start(lane);
      this.#lanes.set(key, open);
    }
    await (
      await open.reflector
    ).opened;
  }

  #start(lane: Lane): OpenLane {
    const { bus, upstream, clock, log } = this.#deps;
    const abort = new AbortController();
    const { signal } = abort;
    const publisher = new Publisher(bus, trackOf(lane));
    const counters = this.#counters;
    const fence = new Fence({ upstream, lane, publisher, clock, log, counters, signal });
    const type = this.#typeOf(lane, signal);
    const listings = this.#listings;
    const reflector = type.then(
      (found) => new Reflector({ ...this.#deps, lane, type: found, publisher, counters, listings }),
    );
    const ended = reflector
      .then((started) => started.run(signal))
      .catch((error: unknown) => {
        log.warn({ lane: laneKey(lane), err: error }, 'could not open a lane');
        return 'closed';
      })
      .then((how) => {
        abort.abort();
        this.#lanes.delete(laneKey(lane));
        // Told last, so that who asks again at once opens it anew. A lane closed on purpose has no followers to tell.
        if (how === 'gone') publisher.end('ended');
      });
    log.info({ lane: laneKey(lane) }, 'lane opens');
    return { lane, type, reflector, publisher, fence, abort, ended };
  }

  async #typeOf(lane: Lane, signal: AbortSignal): Promise<LaneType> {
    const { discovery, upstream } = this.#deps;
    const info = await discovery.lookup(lane);
    if (info === undefined) throw new StatusError(notFound(lane, ''));
    return await laneType(upstream, lane, info, signal);
  }

  async #close(lane: Lane): Promise<void> {
    const open = this.#lanes.get(laneKey(lane));
    if (open === undefined) return;
    this.#deps.log.info({ lane: laneKey(lane) }, 'lane closes');
    open.abort.abort();
    await open.ended;
  }

  async #fence({ lane, inventory }: LaneRequests['fence']['request']): Promise<LaneRequests['fence']['reply']> {
    const { fence } = this.#laneOf(lane);
    if (!inventory) return { rv: await fence.raise(), inventory: undefined };
    const found = await fence.inventory();
    return { rv: found.rv, inventory: found };
  }

  async #backfill(request: { lane: Lane; from: number; to: number }): ReturnType<typeof readBackfill> {
    const { type, abort } = this.#laneOf(request.lane);
    const { signal } = abort;
    const leave = await this.#backfills.enter(signal);
    this.#counters.backfills++;
    try {
      return await readBackfill(this.#deps.upstream, { ...request, schema: (await type).schema, signal });
    } finally {
      leave();
    }
  }

  #laneOf(lane: Lane): OpenLane {
    const open = this.#lanes.get(laneKey(lane));
    if (open === undefined) throw new StatusError(storageInitializing(0));
    return open;
  }

  #verifyQuietLanes(): void {
    for (const { lane, fence, publisher } of this.#lanes.values()) {
      if (!publisher.quiet()) continue;
      fence
        .raise()
        .catch((error: unknown) => this.#deps.log.debug({ lane: laneKey(lane), err: error }, 'quiet lane not probed'));
    }
  }
}

/** `work`, whose rejection becomes the answer that `as` makes of it. */
async function rejecting<T>(work: Promise<T>, as: (error: unknown) => StatusError): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw as(error);
  }
}
