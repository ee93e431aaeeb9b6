import { once } from 'node:events';
import type { Bus } from '@dogwatch/bus/bus.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import { StatusError, storageInitializing, tooManyRequests } from '@dogwatch/kube/status.ts';
import { type Clock, type Timer, inTime } from '@dogwatch/process/clock.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { LaneSource, LaneView } from '@dogwatch/watch/lane-view.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { LaneReplica, type ReplicaLimits } from './lane-replica.ts';
import type { LaneSupply } from './lane-supply.ts';
import { replicaStatus } from './replica-status.ts';

export interface CopiesDependencies {
  readonly bus: Bus;
  readonly supply: LaneSupply;
  readonly clock: Clock;
  readonly log: Log;
}

export interface CopiesConfig extends ReplicaLimits {
  /** A lane nobody uses is let go after this long, in ms. */
  readonly laneIdleMs: number;
  /** How long a request waits for a lane to open, in ms, before it is told to come again. */
  readonly openTimeoutMs: number;
}

/** Envelopes kept of a lane that is being opened; of more, all are dropped, and recovered like others that were lost. */
const EARLY_MAX = 10_000;

interface Held {
  readonly lane: Lane;
  replica: LaneReplica | undefined;
  opened: Promise<LaneReplica>;
  unfollow: () => void;
  /** The supply has it open for us. */
  supplied: boolean;
  users: number;
  idle: Timer | undefined;
}

/** Keeps whole copies of the lanes in use and hands them to the API edge. */
export class Copies implements Service, LaneSource {
  readonly #deps: CopiesDependencies;
  readonly #config: CopiesConfig;
  readonly #lanes = new Map<string, Held>();
  #stopped = false;

  constructor(deps: CopiesDependencies, config: CopiesConfig) {
    this.#deps = deps;
    this.#config = config;
  }

  /** Lets go of all lanes when `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    if (!signal.aborted) await once(signal, 'abort');
    this.#stopped = true;
    await Promise.all([...this.#lanes.values()].map((held) => this.#close(held)));
  }

  /** For `dogwatch status`. */
  status(): Readonly<Record<string, unknown>> {
    return { copies: this.replicas.map(replicaStatus) };
  }

  isOpen(lane: Lane): boolean {
    return this.#lanes.has(laneKey(lane));
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
      return { view: await this.#opened(held), release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Copies of lanes that are open, for metrics. */
  get replicas(): readonly LaneReplica[] {
    return [...this.#lanes.values()].flatMap(({ replica }) => replica ?? []);
  }

  #open(lane: Lane): Held {
    const pending = Promise.withResolvers<LaneReplica>();
    const held: Held = {
      lane,
      replica: undefined,
      opened: pending.promise,
      unfollow: () => undefined,
      supplied: false,
      users: 0,
      idle: undefined,
    };
    this.#lanes.set(laneKey(lane), held);
    held.opened.catch((error: unknown) => {
      this.#deps.log.debug({ lane: laneKey(lane), err: error }, 'lane did not open');
      return this.#close(held);
    });
    pending.resolve(this.#opening(held));
    return held;
  }

  /** The first track is followed before the lane is opened, for that is what publishes its listing. */
  async #opening(held: Held): Promise<LaneReplica> {
    const { bus, supply } = this.#deps;
    const { lane } = held;
    const early: Envelope[] = [];
    let onFirst = (envelope: Envelope): void => {
      if (early.push(envelope) > EARLY_MAX) early.length = 0;
    };
    const unfollows = [bus.follow(trackOf(lane, 0), (envelope) => onFirst(envelope))];
    held.unfollow = () => unfollows.forEach((unfollow) => unfollow());
    const partitions = Array.from({ length: await supply.open(lane) }, (_, i) => i);
    held.supplied = true;
    if (!this.#isCurrent(held)) {
      // It was closed meanwhile.
      await this.#giveBack(held);
      throw new StatusError(storageInitializing(0));
    }
    const replica = new LaneReplica(lane, partitions, { ...this.#deps, recovery: supply }, this.#config);
    held.replica = replica;
    const take = (envelope: Envelope, partition: number): void => {
      replica.onEnvelope(envelope, partition);
      // The resource is gone upstream: whoever asks again finds that out anew.
      if (envelope.kind !== 'end' || envelope.end !== 'ended' || !this.#isCurrent(held)) return;
      held.supplied = false;
      supply.ended(lane);
      this.#forget(held);
    };
    onFirst = (envelope) => take(envelope, 0);
    for (const partition of partitions.slice(1)) {
      unfollows.push(bus.follow(trackOf(lane, partition), (envelope) => take(envelope, partition)));
    }
    for (const envelope of early) take(envelope, 0);
    // A lane that was read before it was followed here has to be told us.
    replica.start();
    if (!(await replica.whenReady(this.#config.openTimeoutMs))) throw new StatusError(storageInitializing(0));
    return replica;
  }

  /** False once the lane has ended, even if it was opened again since. */
  #isCurrent(held: Held): boolean {
    return this.#lanes.get(laneKey(held.lane)) === held;
  }

  /** Upstream being away is no reason to hold a request for ever: it is told to come again (protocol row G11). */
  async #opened({ opened, lane }: Held): Promise<LaneReplica> {
    const { clock, log } = this.#deps;
    const replica = await inTime(opened, clock, this.#config.openTimeoutMs);
    if (replica !== undefined) return replica;
    log.warn({ lane: laneKey(lane) }, 'lane is not open yet');
    throw new StatusError(storageInitializing(0));
  }

  #forget(held: Held): void {
    if (!this.#isCurrent(held)) return;
    this.#lanes.delete(laneKey(held.lane));
    held.idle?.cancel();
    held.unfollow();
    held.replica?.close();
  }

  async #close(held: Held): Promise<void> {
    this.#forget(held);
    await this.#giveBack(held);
  }

  async #giveBack(held: Held): Promise<void> {
    const { supply, log } = this.#deps;
    if (!held.supplied) return;
    held.supplied = false;
    try {
      await supply.release(held.lane);
    } catch (error) {
      log.debug({ lane: laneKey(held.lane), err: error }, 'lane was closed already');
    }
  }
}
