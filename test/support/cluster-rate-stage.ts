import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeName, type RatePopulation } from '@dogwatch/bench/rate-fleets.ts';
import { createNatsBus, type NatsBus } from '@dogwatch/bus/nats-bus.ts';
import { connectNats } from '@dogwatch/bus/nats-port.ts';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import { systemClock } from '@dogwatch/process/clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { type ClusterOptions, DogwatchCluster } from './cluster-process.ts';
import { RateUpstream } from './cluster-rate-upstream.ts';
import { eventually } from './eventually.ts';

export interface RateStageOptions extends Omit<ClusterOptions, 'dir' | 'kubeconfig' | 'clientCaFile'> {
  readonly population: RatePopulation;
}

/** A partition as its shard says it holds it. */
interface HeldPartition {
  readonly lane: string;
  readonly partition: number;
  readonly ready: boolean;
  readonly gaps: number;
  readonly watermark?: number;
}

/** What the ingest reads and the shards hold in these tests. */
export const LEASES: Lane = {
  group: 'coordination.k8s.io',
  version: 'v1',
  resource: 'leases',
  encoding: 'protobuf',
  view: 'object',
};

/** Events of each resource that upstream keeps: a second or two, as of a real one. */
const WINDOW = 200_000;
const CONNECT_TIMEOUT_MS = 10_000;
const OPEN_TIMEOUT_MS = 60_000;

/** The simulated upstream, NATS and dogwatch, each process by itself; this one only looks on. */
export class RateStage {
  readonly upstream: RateUpstream;
  readonly cluster: DogwatchCluster;
  readonly bus: NatsBus;
  readonly #dir: string;
  readonly #population: RatePopulation;

  private constructor(
    parts: { upstream: RateUpstream; cluster: DogwatchCluster; bus: NatsBus },
    own: { dir: string; population: RatePopulation },
  ) {
    this.upstream = parts.upstream;
    this.cluster = parts.cluster;
    this.bus = parts.bus;
    this.#dir = own.dir;
    this.#population = own.population;
  }

  static async start({ population, ...options }: RateStageOptions): Promise<RateStage> {
    const dir = await mkdtemp(join(tmpdir(), 'dogwatch-rate-'));
    const upstream = await RateUpstream.start(dir, { population, window: WINDOW });
    try {
      const cluster = await DogwatchCluster.start({ ...options, dir, kubeconfig: upstream.kubeconfig });
      const port = await connectNats({
        servers: cluster.nats.addresses,
        name: 'test',
        timeoutMs: CONNECT_TIMEOUT_MS,
      });
      const log = createLogger({ level: 'error', pretty: false });
      const bus = createNatsBus({ port, clock: systemClock, log });
      return new RateStage({ upstream, cluster, bus }, { dir, population });
    } catch (error) {
      await upstream.stop();
      throw error;
    }
  }

  /** Has the ingest read the leases, as a fan-out would; resolves once every partition is held by the shards. */
  async openLeases(): Promise<void> {
    const { partitions } = await this.bus.request('open', { lane: LEASES });
    await eventually({ what: 'the shards hold the leases', timeoutMs: OPEN_TIMEOUT_MS }, async () => {
      const held = await this.#held();
      return held.length >= partitions && held.every(({ ready }) => ready);
    });
  }

  /** The version up to which every shard has every partition of the leases it holds; 0 if one has nothing. */
  async watermark(): Promise<number> {
    const held = await this.#held();
    return Math.min(...held.map(({ watermark = 0 }) => watermark));
  }

  /** Times a shard found that a part of its leases was missing. */
  async gaps(): Promise<number> {
    return (await this.#held()).reduce((sum, { gaps }) => sum + gaps, 0);
  }

  /** Leases of which some shard does not hold the version that upstream has. Nothing may be written meanwhile. */
  async differences(): Promise<number> {
    const wanted = await this.upstream.versions('leases');
    let different = 0;
    for (const { name } of this.cluster.members('shard')) {
      const held = new Map<string, number>();
      for (const { partition } of await this.#heldBy(name)) {
        const state = await this.bus.request('sync', { lane: LEASES, partition, from: undefined }, name);
        if (state.kind !== 'state') throw new Error('a shard that is asked for everything gives everything');
        for (const object of state.listing.objects) held.set(object.name, object.rv);
        for (const { object } of state.changes) held.set(object.name, object.rv);
      }
      different += held.size === wanted.length ? 0 : Math.abs(held.size - wanted.length);
      for (const [index, version] of wanted.entries()) {
        const its = held.get(nodeName(index));
        if (its !== undefined && its !== version) different += 1;
      }
    }
    return different;
  }

  get leases(): number {
    return this.#population.nodes;
  }

  async stop(): Promise<void> {
    try {
      await this.bus.close();
      await this.cluster.close();
    } finally {
      await this.upstream.stop();
      if (process.env['KEEP_TEST_DIRS'] === undefined) await rm(this.#dir, { recursive: true, force: true });
    }
  }

  async #held(): Promise<HeldPartition[]> {
    const shards = this.cluster.members('shard');
    return (await Promise.all(shards.map(({ name }) => this.#heldBy(name)))).flat();
  }

  async #heldBy(shard: string): Promise<HeldPartition[]> {
    const { partitions } = (await this.bus.request('status', {}, shard)) as { partitions: HeldPartition[] };
    return partitions.filter(({ lane }) => lane === laneKey(LEASES));
  }
}
