import { once } from 'node:events';
import { ControlUnavailable } from '@dogwatch/bus/control.ts';
import { type LaneEntry, resourceKey, resourceOf } from '@dogwatch/bus/lane-directory.ts';
import type { LogResource } from '@dogwatch/bus/nats-subject.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { StatusError, serviceUnavailable, tooManyRequests } from '@dogwatch/kube/status.ts';
import { sleep } from '@dogwatch/process/clock.ts';
import type { LaneGrant, ReignedLanes, Reigns, TrackAppender } from './reigns.ts';
import { type ReignDependencies, ResourceReign } from './resource-reign.ts';

/** Prefix of the control entries of resources. */
const PREFIX = 'ingest/';
/** Resources led or stood by. A cluster with 500 kinds is a large one. */
const RESOURCES_MAX = 2_048;
const RETRY_MS = 250;

/** Several ingests share the resources: each is led by one of them, and the others stand by. */
export class LeasedReigns implements Reigns {
  readonly name: string;
  readonly #deps: ReignDependencies;
  readonly #reigns = new Map<string, ResourceReign>();
  readonly #running: Promise<void>[] = [];
  readonly #failed = Promise.withResolvers<never>();
  #life: { readonly lanes: ReignedLanes; readonly signal: AbortSignal } | undefined;

  constructor(deps: ReignDependencies) {
    this.name = deps.name;
    this.#deps = deps;
    this.#failed.promise.catch(() => undefined);
  }

  async run(lanes: ReignedLanes, signal: AbortSignal): Promise<void> {
    const { control } = this.#deps;
    const stopWatching = control.watch(PREFIX, (key) => this.#stand(key));
    this.#life = { lanes, signal };
    if (await this.#caughtUp(signal)) for (const key of control.entries(PREFIX).keys()) this.#stand(key);
    if (!signal.aborted) await Promise.race([once(signal, 'abort'), this.#failed.promise]);
    stopWatching();
    await Promise.all(this.#running);
  }

  async claim(resource: LogResource): Promise<void> {
    await this.#reign(resource).claim();
  }

  async grant(lane: Lane, partitions: number): Promise<LaneGrant> {
    return await this.#reign(lane).grant(lane, partitions);
  }

  async renew(lane: Lane, track: string): Promise<TrackAppender> {
    return await this.#reign(lane).renew(track);
  }

  /** Milliseconds since 1970, or one more than there was: it grows even if the table and the log were lost. */
  nextEpoch(after: number): number {
    return Math.max(after + 1, Math.floor(this.#deps.clock.wall()));
  }

  async declare(lane: Lane, entry: LaneEntry): Promise<void> {
    await this.#reign(lane).declare(lane, entry);
  }

  forget(lane: Lane): void {
    this.#reigns.get(resourceKey(lane))?.forget(lane);
  }

  deposed(resource: LogResource): void {
    this.#reigns.get(resourceKey(resource))?.deposed();
  }

  async #caughtUp(signal: AbortSignal): Promise<boolean> {
    const { control, clock, log } = this.#deps;
    while (!signal.aborted) {
      try {
        await control.caughtUp();
        return true;
      } catch (error) {
        if (!(error instanceof ControlUnavailable)) throw error;
        log.warn({ err: error }, 'cannot learn yet which lanes are read');
      }
      await sleep(clock, RETRY_MS, signal);
    }
    return false;
  }

  #stand(key: string): void {
    if (this.#reigns.has(key) || this.#life?.signal.aborted === true) return;
    if (this.#reigns.size < RESOURCES_MAX) this.#reign(resourceOf(key));
    else this.#deps.log.error({ key, most: RESOURCES_MAX }, 'too many resources are read to stand by one more');
  }

  #reign(resource: LogResource): ResourceReign {
    const key = resourceKey(resource);
    const known = this.#reigns.get(key);
    if (known !== undefined) return known;
    if (this.#life === undefined || this.#life.signal.aborted) {
      throw new StatusError(serviceUnavailable(`${this.name} is not running`, 1));
    }
    if (this.#reigns.size >= RESOURCES_MAX) {
      throw new StatusError(tooManyRequests(`more than ${RESOURCES_MAX} resources are read`, 30));
    }
    const { lanes, signal } = this.#life;
    const reign = new ResourceReign(this.#deps, resource, lanes);
    this.#reigns.set(key, reign);
    const running = reign.run(signal);
    running.catch((error: unknown) => this.#failed.reject(error));
    this.#running.push(running);
    return reign;
  }
}
