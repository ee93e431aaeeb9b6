import type { Bus, LaneRequests } from '@dogwatch/bus/bus.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { StatusError, expired } from '@dogwatch/kube/status.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { ReplicaLimits } from '@dogwatch/replica/lane-replica.ts';
import { HeldTrack } from '@dogwatch/shard/held-track.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import type { Faults } from './faults.ts';
import { FaultyLink } from './faulty-link.ts';
import type { Peer } from './peer.ts';
import type { Random } from './random.ts';
import type { SimBus } from './sim-bus.ts';

export interface SimShardOptions {
  readonly name: string;
  readonly lane: Lane;
  readonly partitions: number;
  readonly bus: SimBus;
  readonly peer: Peer;
  readonly random: Random;
  readonly faults: Faults;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: ReplicaLimits;
}

/** A shard that holds all partitions, behind a faulty link, and gives parts of them to those who want no more. */
export class SimShard {
  readonly name: string;
  /** From the ingest. */
  readonly link: FaultyLink;
  readonly held: readonly HeldTrack[];

  constructor(options: SimShardOptions) {
    const { name, lane, partitions, bus, peer, random, faults } = options;
    this.name = name;
    const followed = new Map<string, (envelope: Envelope) => void>();
    const own: Bus = {
      publish: (track, envelope) => bus.publish(track, envelope),
      cease: () => bus.cease(),
      follow: (track, onEnvelope) => {
        followed.set(track, onEnvelope);
        return () => followed.delete(track);
      },
      onReconnected: () => bus.onReconnected(),
      request: (kind, request, to) => bus.request(kind, request, to),
      serve: () => bus.serve(),
    };
    this.held = Array.from(
      { length: partitions },
      (_, partition) => new HeldTrack({ ...options, bus: own, shard: name, partition, recovery: peer }),
    );
    const deliver = (envelope: Envelope, partition: number): void => followed.get(trackOf(lane, partition))?.(envelope);
    this.link = new FaultyLink({ partitions, random, faults, deliver });
    bus.begin(name, {
      handle: async (kind, request) => {
        if (kind === 'sync') return this.#sync(request as LaneRequests['sync']['request']);
        const { partition, ...link } = request as LaneRequests['unlink']['request'];
        return this.held[partition]!.links.unlink(link);
      },
    });
    for (const held of this.held) held.start();
  }

  mark(): void {
    for (const { links } of this.held) links.mark();
  }

  close(): void {
    for (const held of this.held) held.drop();
  }

  #sync({ partition, from, link }: LaneRequests['sync']['request']): unknown {
    const held = this.held[partition]!;
    const state = link === undefined ? held.state(from) : held.links.link(link, from);
    if (state === undefined) throw new StatusError(expired('not held yet'));
    return state;
  }
}
