import { once } from 'node:events';
import type { Bus } from '@dogwatch/bus/bus.ts';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import { StatusError, storageInitializing, tooManyRequests } from '@dogwatch/kube/status.ts';
import type { Clock, Timer } from '@dogwatch/process/clock.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Metrics } from '@dogwatch/process/metrics.ts';
import type { LaneSource, LaneView } from '@dogwatch/watch/lane-view.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { LaneReplica } from './lane-replica.ts';
import { registerReplicaMetrics } from './replica-metrics.ts';

export interface CopiesDependencies {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface CopiesConfig {
  /** Bound of one lane's event window in bytes. */
  readonly windowBytesMax: number;
  /** A lane nobody uses is closed after this long, in ms. */
  readonly laneIdleMs: number;
  /** How long a request waits for a lane to open, in ms, before it is told to come again. */
  readonly openTimeoutMs: number;
}

interface Held {
  readonly replica: LaneReplica;
  readonly opened: Promise<void>;
  readonly unfollow: () => void;
  users: number;
  idle: Timer | undefined;
}

/** Keeps the watch caches of the lanes in use and hands them to the API edge. */
export class Copies implements Service, LaneSource {
  readonly #deps: CopiesDependencies;
  readonly #config: CopiesConfig;
  readonly #lanes = new Map<string, Held>();
  #stopped = false;

  constructor(deps: CopiesDependencies, config: CopiesConfig) {
    this.#deps = deps;
    this.#config = config;
    registerReplicaMetrics(deps.metrics, () => [...this.#lanes.values()].map(({ replica }) => replica));
  }

  /** Lets go of all lanes when `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    if (!signal.aborted) await once(signal, 'abort');
    this.#stopped = true;
    await Promise.all([...this.#lanes.values()].map((held) => this.#close(held)));
  }

  async acquire(lane: Lane): Promise<{ readonly view: LaneView; release(): void }> {
    if (this.#stopped) throw new StatusError(tooManyRequests('dogwatch is shutting down', 1));
    const held = this.#lanes.get(laneKey(lane)) ?? this.#open(lane);
    held.users++;
    held.idle?.cancel();
    held.idle = undefined;
    let released = false;
    const release = (): void => {
      if (released) return;
      released = true;
      // A lane that has ended may have been opened again since: that one is not ours to close.
      if (--held.users > 0 || this.#stopped || !this.#isCurrent(held)) return;
      held.idle = this.#deps.clock.setTimeout(() => void this.#close(held), this.#config.laneIdleMs);
    };
    try {
      await this.#opened(held);
    } catch (error) {
      release();
      throw error;
    }
    return { view: held.replica, release };
  }

  #open(lane: Lane): Held {
    const { bus, log } = this.#deps;
    const replica = new LaneReplica(lane, { ...this.#deps, windowBytesMax: this.#config.windowBytesMax });
    const unfollow = bus.follow(trackOf(lane), (envelope) => {
      replica.onEnvelope(envelope);
      // The resource is gone upstream: whoever asks again finds that out anew.
      if (envelope.kind === 'end' && envelope.end === 'ended') this.#forget(held);
    });
    const held: Held = { replica, opened: this.#opening(replica), unfollow, users: 0, idle: undefined };
    held.opened.catch((error: unknown) => {
      log.debug({ lane: laneKey(lane), err: error }, 'lane did not open');
      this.#forget(held);
    });
    this.#lanes.set(laneKey(lane), held);
    return held;
  }

  /** A lane that was read before it was followed here has to be listed for us again. */
  async #opening(replica: LaneReplica): Promise<void> {
    const { bus } = this.#deps;
    const { lane } = replica;
    await bus.request('open', { lane });
    if (replica.ready) return;
    await bus.request('repair', { lane });
    if (!(await replica.whenReady(this.#config.openTimeoutMs))) throw new StatusError(storageInitializing(0));
  }

  /** False once the lane has ended, even if it was opened again since. */
  #isCurrent(held: Held): boolean {
    return this.#lanes.get(laneKey(held.replica.lane)) === held;
  }

  /** Upstream being away is no reason to hold a request for ever: it is told to come again (protocol row G11). */
  async #opened({ opened, replica }: Held): Promise<void> {
    const timeout = Promise.withResolvers<never>();
    const timer = this.#deps.clock.setTimeout(() => {
      this.#deps.log.warn({ lane: laneKey(replica.lane) }, 'lane is not open yet');
      timeout.reject(new StatusError(storageInitializing(0)));
    }, this.#config.openTimeoutMs);
    try {
      await Promise.race([opened, timeout.promise]);
    } finally {
      timer.cancel();
    }
  }

  #forget(held: Held): void {
    if (!this.#isCurrent(held)) return;
    this.#lanes.delete(laneKey(held.replica.lane));
    held.idle?.cancel();
    held.unfollow();
    held.replica.close();
  }

  async #close(held: Held): Promise<void> {
    const { bus, log } = this.#deps;
    this.#forget(held);
    try {
      await bus.request('close', { lane: held.replica.lane });
    } catch (error) {
      log.debug({ lane: laneKey(held.replica.lane), err: error }, 'lane was closed already');
    }
  }
}
