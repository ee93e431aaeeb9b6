import assert from 'node:assert/strict';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { LaneReplica, type ReplicaLimits } from '@dogwatch/replica/lane-replica.ts';
import type { WatchCache } from '@dogwatch/watch/watch-cache.ts';
import { WatchGroups } from '@dogwatch/watch/watch-groups.ts';
import { type SimClient, bookmarkAt } from './client.ts';
import { FaultyLink } from './faulty-link.ts';
import type { Peer } from './peer.ts';
import type { Random } from './random.ts';
import type { SimIngest } from './ingest.ts';

export interface FollowerOptions {
  readonly lane: Lane;
  readonly partitions: number;
  readonly ingest: SimIngest;
  readonly peer: Peer;
  readonly random: Random;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: ReplicaLimits;
}

/** A fan-out node: a replica of the lane behind a faulty link, and the watches that are open on it. */
export class Follower {
  readonly link: FaultyLink;
  readonly replica: LaneReplica;
  readonly clients = new Set<SimClient>();
  #groups: { readonly cache: WatchCache; readonly groups: WatchGroups } | undefined;

  constructor(options: FollowerOptions) {
    const { lane, partitions, ingest, peer, random, clock, log } = options;
    this.replica = new LaneReplica(
      lane,
      Array.from({ length: partitions }, (_, i) => i),
      { bus: new MemoryBus(), recovery: peer, clock, log },
      options.limits,
    );
    this.link = new FaultyLink(partitions, random, (envelope, partition) =>
      this.replica.onEnvelope(envelope, partition),
    );
    this.replica.onEnd((end) => {
      if (end === 'expired') {
        assert(ingest.epoch > this.replica.epoch, 'watches were ended with 410, though their history goes on');
      }
      for (const client of this.clients) this.#release(client, end === 'expired');
    });
    this.replica.start();
  }

  /** True if a watch can begin here: there is something, and its last version is whole. */
  get ready(): boolean {
    if (!this.replica.ready) return false;
    const { cache, lane } = this.replica;
    return lane.resource !== 'events' || cache.settled === cache.watermark;
  }

  attach(client: SimClient): void {
    client.attach(this.#current());
    this.clients.add(client);
  }

  detach(client: SimClient): void {
    this.#release(client, false);
  }

  /** Lets a client take some writes; true if it took all there was. */
  pump(client: SimClient, writes: number): boolean {
    const result = client.pump(writes);
    if (result === 'overrun') this.#release(client, false);
    return result === 'drained';
  }

  bookmark(): void {
    if (!this.replica.ready) return;
    const { cache, groups } = this.#current();
    groups.bookmark(cache.settled === cache.watermark, (rv) => bookmarkAt(rv));
  }

  trim(): void {
    this.#groups?.groups.trim();
  }

  close(): void {
    this.replica.close();
  }

  #current(): { readonly cache: WatchCache; readonly groups: WatchGroups } {
    const { cache } = this.replica;
    if (this.#groups?.cache !== cache) this.#groups = { cache, groups: new WatchGroups(cache) };
    return this.#groups;
  }

  #release(client: SimClient, expired: boolean): void {
    this.clients.delete(client);
    client.detach();
    if (expired) client.expire();
  }
}
