import assert from 'node:assert/strict';
import type { Bus } from '@dogwatch/bus/bus.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { LaneReplica, type ReplicaLimits } from '@dogwatch/replica/lane-replica.ts';
import type { SimClient } from './client.ts';
import type { Faults } from './faults.ts';
import { FaultyLink } from './faulty-link.ts';
import { OpenWatches } from './open-watches.ts';
import type { Peer } from './peer.ts';
import type { Random } from './random.ts';
import type { SimIngest } from './ingest.ts';

/** Where clients watch. */
export interface SimNode {
  /** Watches of `client`, if one can begin here just now; whatever is needed for that is opened. */
  watchesFor(client: SimClient): OpenWatches | undefined;
  /** All that are open. */
  readonly watches: Iterable<OpenWatches>;
}

export interface FollowerOptions {
  readonly lane: Lane;
  readonly partitions: number;
  readonly ingest: SimIngest;
  readonly peer: Peer;
  /** On which proofs of freshness are asked for; envelopes come by the link. */
  readonly bus: Bus;
  readonly random: Random;
  readonly faults: Faults;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: ReplicaLimits;
}

/** A fan-out node: a replica of the lane behind a faulty link, and the watches that are open on it. */
export class Follower implements SimNode {
  readonly link: FaultyLink;
  readonly replica: LaneReplica;
  readonly #watches: OpenWatches;

  constructor(options: FollowerOptions) {
    const { lane, partitions, ingest, peer, bus, random, faults, clock, log, limits } = options;
    this.replica = new LaneReplica(
      lane,
      Array.from({ length: partitions }, (_, i) => i),
      { bus, recovery: peer, clock, log },
      limits,
    );
    const deliver = (envelope: Envelope, partition: number): void => this.replica.onEnvelope(envelope, partition);
    this.link = new FaultyLink({ partitions, random, faults, deliver });
    this.replica.onEnd((end) => {
      if (end !== 'expired') return;
      assert(ingest.epoch > this.replica.epoch, 'watches were ended with 410, though their history goes on');
    });
    this.#watches = new OpenWatches(this.replica, limits.windowBytesMax / 10);
    this.replica.start();
  }

  get watches(): readonly OpenWatches[] {
    return this.replica.ready ? [this.#watches] : [];
  }

  /** There has to be something, and its last version has to be whole. */
  watchesFor(): OpenWatches | undefined {
    if (!this.replica.ready) return undefined;
    const { cache, lane } = this.replica;
    return lane.resource !== 'events' || cache.settled === cache.watermark ? this.#watches : undefined;
  }

  close(): void {
    this.#watches.close();
    this.replica.close();
  }
}
