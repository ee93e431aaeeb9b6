import { once } from 'node:events';
import type { Bus, LaneRequests } from '@dogwatch/bus/bus.ts';
import type { LaneDirectory, OpenLane } from '@dogwatch/bus/lane-directory.ts';
import { ownersOf } from '@dogwatch/bus/ownership.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import { StatusError, expired } from '@dogwatch/kube/status.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Metrics } from '@dogwatch/process/metrics.ts';
import type { ReplicaLimits } from '@dogwatch/replica/lane-replica.ts';
import { registerReplicaMetrics } from '@dogwatch/replica/replica-metrics.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { Checkpointer, type CheckpointStore } from './checkpointer.ts';
import { HeldTrack } from './held-track.ts';
import { ShardRecovery, type TrackArchive } from './shard-recovery.ts';

/** A partition that has moved to others is still served this long, to those that have not heard of it. */
const LINGER_MS = 30_000;
/** Links are told this often how far their partition is. */
const MARK_MS = 25;

/** Who lives. */
export interface ShardMembers {
  alive(role: 'shard' | 'fanout'): readonly string[];
  onChange(listener: () => void): () => void;
}

export interface ShardDependencies {
  readonly bus: Bus;
  readonly directory: LaneDirectory;
  readonly members: ShardMembers;
  readonly archive: TrackArchive;
  readonly checkpoints: CheckpointStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface ShardConfig extends ReplicaLimits {
  /** Unique among the shards. */
  readonly name: string;
  /** Time between two checkpoints of a partition, in ms. */
  readonly checkpointIntervalMs: number;
}

/**
 * Keeps the watch caches of the partitions it owns, and tells followers what they lack. Who owns what follows from who
 * lives: every process computes the same. Moving a partition needs no barrier, for each owner follows the same track.
 */
export class Shard implements Service {
  readonly #deps: ShardDependencies;
  readonly #config: ShardConfig;
  readonly #recovery: ShardRecovery;
  readonly #checkpointer: Checkpointer;
  readonly #held = new Map<string, HeldTrack>();

  constructor(deps: ShardDependencies, config: ShardConfig) {
    this.#deps = deps;
    this.#config = config;
    const peersOf = (track: string): readonly string[] => this.owners(track).filter((name) => name !== config.name);
    const epochOf = (lane: Lane): number | undefined =>
      deps.directory.lanes().find((open) => laneKey(open.lane) === laneKey(lane))?.epoch;
    this.#recovery = new ShardRecovery({ ...deps, peersOf, epochOf });
    this.#checkpointer = new Checkpointer(deps, {
      intervalMs: config.checkpointIntervalMs,
      due: () => [...this.#held.values()].filter(({ track }) => this.owners(track)[0] === config.name),
    });
    registerReplicaMetrics(deps.metrics, () => [...this.#held.values()].map(({ replica }) => replica));
  }

  /** Holds what it owns until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { bus, directory, members, clock } = this.#deps;
    const { name } = this.#config;
    const stops = [
      bus.serve('sync', (request) => this.#sync(request), name),
      bus.serve('unlink', (request) => this.#unlink(request), name),
      directory.onChange(() => this.#reconcile()),
      members.onChange(() => this.#onMembers()),
    ];
    this.#reconcile();
    const marking = clock.setInterval(() => this.#mark(), MARK_MS);
    const writing = this.#checkpointer.run(signal);
    if (!signal.aborted) await once(signal, 'abort');
    for (const stop of stops) stop();
    marking.cancel();
    for (const held of this.#held.values()) held.drop();
    this.#held.clear();
    await writing;
  }

  /** For `dogwatch status`. */
  status(): Readonly<Record<string, unknown>> {
    return { partitions: [...this.#held.values()].map((held) => held.status()) };
  }

  /** The live shards that hold `track`, the first of which writes its checkpoints. */
  owners(track: string): readonly string[] {
    return ownersOf(track, this.#deps.members.alive('shard'));
  }

  #reconcile(): void {
    const wanted = new Map<string, { open: OpenLane; partition: number }>();
    for (const open of this.#deps.directory.lanes()) {
      for (let partition = 0; partition < open.partitions; partition++) {
        const track = trackOf(open.lane, partition);
        if (this.owners(track).includes(this.#config.name)) wanted.set(track, { open, partition });
      }
    }
    for (const [track, { open, partition }] of wanted) {
      const held = this.#held.get(track);
      if (held === undefined) this.#hold(open, partition);
      else held.keep();
    }
    for (const [track, held] of this.#held) {
      if (!wanted.has(track)) held.release(LINGER_MS, () => this.#drop(held));
    }
  }

  #drop(held: HeldTrack): void {
    const key = laneKey(held.lane);
    // A lane that is read no more has no other shard to go on with.
    if (!this.#deps.directory.lanes().some(({ lane }) => laneKey(lane) === key)) held.links.end();
    held.drop();
    this.#held.delete(held.track);
  }

  #hold({ lane }: OpenLane, partition: number): void {
    const held = new HeldTrack({
      ...this.#deps,
      shard: this.#config.name,
      lane,
      partition,
      recovery: this.#recovery,
      limits: this.#config,
    });
    this.#held.set(held.track, held);
    held.start();
  }

  #onMembers(): void {
    this.#reconcile();
    const alive = new Set(this.#deps.members.alive('fanout'));
    for (const { links } of this.#held.values()) {
      for (const follower of Array.from(links.followers)) if (!alive.has(follower)) links.drop(follower);
    }
  }

  #mark(): void {
    for (const { links } of this.#held.values()) links.mark();
  }

  async #sync({ lane, partition, from, link }: LaneRequests['sync']['request']): Promise<TrackState> {
    const held = this.#held.get(trackOf(lane, partition));
    const state = link === undefined ? held?.state(from) : held?.links.link(link, from);
    if (state === undefined) throw new StatusError(expired('this shard does not hold the partition'));
    return state;
  }

  #unlink({ lane, partition, ...link }: LaneRequests['unlink']['request']): Promise<void> {
    this.#held.get(trackOf(lane, partition))?.links.unlink(link);
    return Promise.resolve();
  }
}
