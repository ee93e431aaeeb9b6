import { once } from 'node:events';
import { type Bus, type LaneRequests, NoResponder } from '@dogwatch/bus/bus.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import { StatusError, storageInitializing } from '@dogwatch/kube/status.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { type Lack, type LaneSupply, leadsOn } from './lane-supply.ts';

/** Lanes in use are asked for this often, so that their ingest keeps them open. */
const KEEP_OPEN_MS = 20_000;

/** Lanes from the shards that own their partitions; the ingest that reads them is asked only where no shard can tell. */
export class ShardSupply implements LaneSupply, Service {
  readonly #options: {
    readonly bus: Bus;
    readonly clock: Clock;
    readonly log: Log;
    readonly ownersOf: (track: string) => readonly string[];
  };
  /** By lane: how many opened it. */
  readonly #open = new Map<string, { readonly lane: Lane; users: number }>();

  constructor(options: {
    readonly bus: Bus;
    readonly clock: Clock;
    readonly log: Log;
    /** Names of the shards that hold a track, the first to ask first. */
    readonly ownersOf: (track: string) => readonly string[];
  }) {
    this.#options = options;
  }

  /** Keeps the lanes in use open until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const keeping = this.#options.clock.setInterval(() => this.#keepOpen(), KEEP_OPEN_MS);
    if (!signal.aborted) await once(signal, 'abort');
    keeping.cancel();
  }

  /** Rejects with StatusError: 429 where there is no ingest now. */
  async open(lane: Lane): Promise<number> {
    const { partitions } = await this.#ask(lane);
    const held = this.#open.get(laneKey(lane));
    if (held === undefined) this.#open.set(laneKey(lane), { lane, users: 1 });
    else held.users++;
    return partitions;
  }

  /** Others may use the lane: it is closed once nobody asks for it any more. */
  release(lane: Lane): Promise<void> {
    this.ended(lane);
    return Promise.resolve();
  }

  ended(lane: Lane): void {
    const held = this.#open.get(laneKey(lane));
    if (held !== undefined && --held.users === 0) this.#open.delete(laneKey(lane));
  }

  async recover({ lane, partition, from }: Lack): Promise<TrackState> {
    const { bus, ownersOf } = this.#options;
    const failures: unknown[] = [];
    for (const shard of [...ownersOf(trackOf(lane, partition)), undefined]) {
      try {
        const found = await bus.request('sync', { lane, partition, from }, shard);
        if (leadsOn(found, from)) return found;
        failures.push(new Error(`${shard ?? 'the ingest'} is at ${found.position.rv}, and does not lead on`));
      } catch (error) {
        failures.push(error);
      }
    }
    throw new AggregateError(failures, 'neither the shards of the partition nor the ingest can tell what is missing');
  }

  async #ask(lane: Lane): Promise<LaneRequests['open']['reply']> {
    try {
      return await this.#options.bus.request('open', { lane });
    } catch (error) {
      const away = error instanceof NoResponder || (error instanceof StatusError && error.status.code === 503);
      throw away ? new StatusError(storageInitializing(0), { cause: error }) : error;
    }
  }

  #keepOpen(): void {
    for (const { lane } of this.#open.values()) {
      this.#options.bus.request('open', { lane }).catch((error: unknown) => {
        this.#options.log.debug({ lane: laneKey(lane), err: error }, 'a lane was not asked for, trying again later');
      });
    }
  }
}
