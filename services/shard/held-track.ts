import type { Bus } from '@dogwatch/bus/bus.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { Clock, Timer } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { LaneReplica, type ReplicaLimits } from '@dogwatch/replica/lane-replica.ts';
import type { Recovery } from '@dogwatch/replica/lane-supply.ts';
import { replicaStatus } from '@dogwatch/replica/replica-status.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import type { Position } from '@dogwatch/watch/watch-cache.ts';
import { type Reached, TrackLinks } from './track-links.ts';

export interface HeldTrackOptions {
  readonly bus: Bus;
  /** Name of this shard. */
  readonly shard: string;
  readonly lane: Lane;
  readonly partition: number;
  readonly recovery: Recovery;
  readonly limits: ReplicaLimits;
  readonly clock: Clock;
  readonly log: Log;
}

/** One partition of a lane as a shard holds it. */
export class HeldTrack {
  readonly track: string;
  readonly lane: Lane;
  readonly partition: number;
  readonly replica: LaneReplica;
  readonly links: TrackLinks;
  readonly #options: HeldTrackOptions;
  readonly #unfollow: () => void;
  #leaving: Timer | undefined;

  constructor(options: HeldTrackOptions) {
    const { bus, lane, partition, limits } = options;
    this.#options = options;
    this.lane = lane;
    this.partition = partition;
    this.track = trackOf(lane, partition);
    this.replica = new LaneReplica(lane, [partition], options, limits);
    this.links = new TrackLinks(this, options);
    this.#unfollow = bus.follow(this.track, (envelope) => this.replica.onEnvelope(envelope, partition));
  }

  /** Asks for what is not there yet. */
  start(): void {
    this.replica.start();
  }

  /** It is owned again, or still. */
  keep(): void {
    this.#leaving?.cancel();
    this.#leaving = undefined;
  }

  /** It is not owned any more: `drop` is called after `lingerMs`, unless it is kept. */
  release(lingerMs: number, drop: () => void): void {
    this.#leaving ??= this.#options.clock.setTimeout(drop, lingerMs);
  }

  drop(): void {
    this.#leaving?.cancel();
    this.#unfollow();
    this.links.close();
    this.replica.close();
  }

  /** How far it is held, once the replica is ready. */
  get reached(): Reached {
    const { cache, epoch } = this.replica;
    // Of the last version of Events, more may be under way.
    const watermark = this.lane.resource === 'events' ? cache.settled : cache.watermark;
    return { epoch, position: cache.position, watermark };
  }

  /** What a follower that holds `from` lacks, or everything; undefined while nothing is held. */
  state(from: { readonly epoch: number; readonly position: Position } | undefined): TrackState | undefined {
    const { replica } = this;
    if (!replica.ready) return undefined;
    const { cache, facts, epoch } = replica;
    const changes = from?.epoch === epoch ? cache.changesSince(from.position) : undefined;
    if (changes !== undefined) return { kind: 'changes', ...this.reached, changes };
    return { kind: 'state', ...this.reached, facts, ...cache.history() };
  }

  status(): Readonly<Record<string, unknown>> {
    return { partition: this.partition, ...replicaStatus(this.replica) };
  }
}
