import { once } from 'node:events';
import type { Bus, LaneRequests } from '@dogwatch/bus/bus.ts';
import type { LaneEntry } from '@dogwatch/bus/lane-directory.ts';
import type { LogResource } from '@dogwatch/bus/nats-subject.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import { type Lane, isCachedUpstream, laneKey } from '@dogwatch/kube/lane.ts';
import type { CopyBytes } from '@dogwatch/kube/slab-copier.ts';
import {
  StatusError,
  expired,
  serviceUnavailable,
  storageInitializing,
  tooManyRequests,
} from '@dogwatch/kube/status.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Metrics } from '@dogwatch/process/metrics.ts';
import type { Discovery } from '@dogwatch/upstream/discovery.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { readBackfill } from './backfill.ts';
import { createCounters } from './counters.ts';
import { Definitions } from './definitions.ts';
import { registerIngestMetrics } from './ingest-metrics.ts';
import { LaneIngest } from './lane-ingest.ts';
import type { LaneGrant, ReignedLanes, Reigns } from './reigns.ts';
import { Turnstile } from './turnstile.ts';
import { asStatusError, asUnavailable } from './upstream-status.ts';

/** A lane that is quiet this long is probed and verified, so that its bookmarks stay fresh (promise I10). */
const QUIET_MS = 60_000;
/** The log is told this often where tracks without changes stand. */
const LOG_WATERMARK_MS = 5_000;
/** What was read so shortly before the bus came back may not have reached everybody. */
const REPUBLISHED_MS = 5_000;
const BACKFILLS_AT_ONCE = 2;

export interface IngestDependencies {
  readonly bus: Bus;
  readonly upstream: Upstream;
  readonly discovery: Discovery;
  readonly reigns: Reigns;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly random: () => number;
}

export interface IngestConfig {
  /** Lanes read at once, those stood by included; more are refused with 429. */
  readonly maxLanes: number;
  /** Partitions of a lane that is opened anew. Default 1; Events have 1. */
  readonly partitions?: (lane: Lane) => number;
  /** Bound of what is kept of the changes read of a lane. Default 0: nothing is kept once it is published. */
  readonly ringBytesMax?: number;
  /** How long the objects of a listing are kept for followers that lack it, in ms. Default 0. */
  readonly retainListingMs?: number;
  /** What is read within this time of the last publication, in ms, is published together. Default 0: each turn by itself. */
  readonly gatherMs?: number;
  /** See LogTailOptions. Default 0. */
  readonly logGatherMs?: number;
  /** How a lane keeps the bytes of the changes it reads; see ReflectorOptions. */
  readonly copier?: () => CopyBytes;
  /** A lane nobody has asked for in this time, in ms, is closed. Without it a lane is open until it is closed. */
  readonly laneIdleMs?: number;
}

/** Reads upstream once per lane in use and publishes what it reads on the bus, or stands by while another does. */
export class Ingest implements Service, ReignedLanes {
  readonly #deps: IngestDependencies;
  readonly #config: IngestConfig;
  readonly #lanes = new Map<string, LaneIngest>();
  readonly #listings = new Turnstile(1);
  readonly #backfills = new Turnstile(BACKFILLS_AT_ONCE);
  readonly #counters = createCounters();
  readonly #definitions: Definitions;

  constructor(deps: IngestDependencies, config: IngestConfig) {
    this.#deps = deps;
    this.#definitions = new Definitions(deps);
    this.#config = config;
    registerIngestMetrics(deps.metrics, this.#counters, () => [...this.#lanes.values()]);
  }

  /** Answers requests on the bus until `signal` aborts, then hands over what it leads and stops reading. */
  async run(signal: AbortSignal): Promise<void> {
    const { bus, clock, reigns } = this.#deps;
    const stops = [...this.#serve(reigns.name), bus.onReconnected(() => this.#republish())];
    const timers = [
      clock.setInterval(() => this.#verifyQuietLanes(), QUIET_MS),
      clock.setInterval(() => this.#vouchInLog(), LOG_WATERMARK_MS),
    ];
    const { laneIdleMs } = this.#config;
    if (laneIdleMs !== undefined) {
      timers.push(clock.setInterval(() => this.#closeIdleLanes(laneIdleMs), Math.max(1, laneIdleMs / 4)));
    }
    const reigning = reigns.run(this, signal);
    const stopped = signal.aborted ? Promise.resolve([]) : once(signal, 'abort');
    // Reigns that break are told of below, once nothing is open any more.
    await Promise.race([stopped, reigning.then(() => stopped as Promise<unknown>)]).catch(() => undefined);
    for (const timer of timers) timer.cancel();
    for (const stop of stops) stop();
    await Promise.allSettled([reigning]);
    await Promise.all([...this.#lanes.values()].map((lane) => lane.close()));
    await reigning;
  }

  /** For `dogwatch status`. */
  status(): Readonly<Record<string, unknown>> {
    const lanes = [...this.#lanes.values()].map(({ lane, partitions, publisher }) => {
      const { leads, epoch, rv } = publisher;
      return { lane: laneKey(lane), partitions, leads, epoch, rv };
    });
    return { lanes, ...this.#counters };
  }

  standBy({ group, resource }: LogResource, entries: readonly LaneEntry[]): void {
    const wanted = new Map(entries.map((entry) => [laneKey(laneOf({ group, resource }, entry)), entry]));
    for (const [key, open] of this.#lanes) {
      if (open.lane.group !== group || open.lane.resource !== resource || open.signal.aborted) continue;
      const entry = wanted.get(key);
      if (entry?.partitions === open.partitions) open.standBy(entry);
      else this.#close(open);
    }
    for (const [key, entry] of wanted)
      if (!this.#lanes.has(key)) this.#resume(laneOf({ group, resource }, entry), entry);
  }

  async lead(lane: Lane, entry: LaneEntry, grant: LaneGrant): Promise<void> {
    await this.#settled(lane);
    const open = this.#lanes.get(laneKey(lane)) ?? this.#resume(lane, entry);
    this.#counters.takeovers++;
    await open?.lead(grant);
  }

  entryOf(lane: Lane): LaneEntry | undefined {
    return this.#lanes.get(laneKey(lane))?.entry;
  }

  #serve(name: string | undefined): (() => void)[] {
    const { bus } = this.#deps;
    const stops = [
      bus.serve('open', ({ lane }) => rejecting(this.#open(lane), asStatusError), name),
      bus.serve('repair', async ({ lane }) => (await this.#led(lane)).repair(), name),
      bus.serve('fence', (request) => rejecting(this.#fence(request), asUnavailable), name),
      bus.serve('backfill', (request) => rejecting(this.#backfill(request), asUnavailable), name),
      bus.serve('sync', (request) => this.#sync(request), name),
    ];
    if (this.#config.laneIdleMs !== undefined) return stops;
    return [...stops, bus.serve('close', ({ lane }) => this.#closeNow(lane), name)];
  }

  async #open(lane: Lane): Promise<{ partitions: number }> {
    await this.#deps.reigns.claim(lane);
    await this.#settled(lane);
    let open = this.#lanes.get(laneKey(lane));
    if (open === undefined) {
      if (this.#lanes.size >= this.#config.maxLanes) {
        throw new StatusError(tooManyRequests(`more than ${this.#config.maxLanes} lanes are open`, 30));
      }
      // One version can carry many Events, and they are one unit.
      const partitions = lane.resource === 'events' ? 1 : (this.#config.partitions?.(lane) ?? 1);
      open = this.#start(lane, partitions, undefined);
    }
    open.usedAt = this.#deps.clock.now();
    await open.opened;
    return { partitions: open.partitions };
  }

  /** A lane that is closing will give nobody anything any more: resolves once it is closed. */
  async #settled(lane: Lane): Promise<void> {
    for (let open = this.#lanes.get(laneKey(lane)); open?.signal.aborted === true;) {
      await open.ended;
      open = this.#lanes.get(laneKey(lane));
    }
  }

  /** Undefined at the bound. */
  #resume(lane: Lane, entry: LaneEntry): LaneIngest | undefined {
    if (this.#lanes.size < this.#config.maxLanes) return this.#start(lane, entry.partitions, entry);
    this.#deps.log.warn({ lane: laneKey(lane) }, 'too many lanes are open to read one more: raise --max-lanes');
    return undefined;
  }

  #start(lane: Lane, partitions: number, entry: LaneEntry | undefined): LaneIngest {
    const { ringBytesMax = 0, retainListingMs = 0, gatherMs = 0, logGatherMs = 0, copier } = this.#config;
    const deps = {
      ...this.#deps,
      definitions: this.#definitions,
      counters: this.#counters,
      listings: this.#listings,
    };
    const config = { partitions, ringBytesMax, retainListingMs, gatherMs, logGatherMs, copier };
    const onEnded = (): void => {
      this.#lanes.delete(laneKey(lane));
      if (open.publisher.leads) this.#deps.reigns.forget(lane);
    };
    const open: LaneIngest = new LaneIngest(deps, config, { lane, entry, onEnded });
    this.#lanes.set(laneKey(lane), open);
    return open;
  }

  #close(open: LaneIngest): void {
    void open.close();
  }

  async #closeNow(lane: Lane): Promise<void> {
    await this.#lanes.get(laneKey(lane))?.close();
  }

  /** The lane, which must be open, and led by this ingest. */
  async #led(lane: Lane): Promise<LaneIngest> {
    await this.#deps.reigns.claim(lane);
    const open = this.#lanes.get(laneKey(lane));
    if (open === undefined) throw new StatusError(storageInitializing(0));
    return open;
  }

  async #sync({ lane, partition, from }: LaneRequests['sync']['request']): Promise<TrackState> {
    const { publisher } = await this.#led(lane);
    const state = publisher.sync(partition, from);
    if (state === undefined) throw new StatusError(expired('what is missing of the track is not held any more'));
    return state;
  }

  async #fence(request: LaneRequests['fence']['request']): Promise<LaneRequests['fence']['reply']> {
    const { lane, inventory, scope, epoch, moving = false } = request;
    const { fence, publisher } = await this.#led(lane);
    const inHistory = (): void => {
      if (epoch === undefined || publisher.epoch === epoch) return;
      throw new StatusError(serviceUnavailable('the history of this resource has changed, please try again', 1));
    };
    inHistory();
    const found = inventory ? await fence.inventory(scope) : undefined;
    const rv = found?.rv ?? (await (moving ? fence.probe() : fence.raise()));
    inHistory();
    publisher.hasten(rv);
    return { rv, inventory: found };
  }

  async #backfill(request: { lane: Lane; from: number; to: number }): ReturnType<typeof readBackfill> {
    const { type, signal } = await this.#led(request.lane);
    const leave = await this.#backfills.enter(signal);
    this.#counters.backfills++;
    try {
      return await readBackfill(this.#deps.upstream, { ...request, schema: (await type).schema, signal });
    } finally {
      leave();
    }
  }

  #verifyQuietLanes(): void {
    for (const { lane, fence, publisher } of this.#lanes.values()) {
      // Without bookmarks nothing would come of it.
      if (!publisher.leads || !publisher.quiet() || !isCachedUpstream(lane)) continue;
      fence
        .raise()
        .catch((error: unknown) => this.#deps.log.debug({ lane: laneKey(lane), err: error }, 'quiet lane not probed'));
    }
  }

  #vouchInLog(): void {
    for (const { publisher } of this.#lanes.values()) publisher.vouchInLog();
  }

  #republish(): void {
    const since = this.#deps.clock.now() - REPUBLISHED_MS;
    for (const { publisher } of this.#lanes.values()) publisher.republish(since);
  }

  #closeIdleLanes(idleMs: number): void {
    const since = this.#deps.clock.now() - idleMs;
    for (const open of this.#lanes.values()) if (open.publisher.leads && open.usedAt < since) this.#close(open);
  }
}

function laneOf({ group, resource }: LogResource, { version, encoding, view }: LaneEntry): Lane {
  return { group, version, resource, encoding, view };
}

/** `work`, whose rejection becomes the answer that `as` makes of it. */
async function rejecting<T>(work: Promise<T>, as: (error: unknown) => StatusError): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw as(error);
  }
}
