import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { populateFleets, type RateFleets, type RatePopulation } from '@dogwatch/bench/rate-fleets.ts';
import { RateWriter } from '@dogwatch/bench/rate-writer.ts';
import type { Collection } from '@dogwatch/bench/simulated-collection.ts';
import type { SimulatedFleet } from '@dogwatch/bench/simulated-fleet.ts';
import { SimulatedUpstream } from '@dogwatch/bench/simulated-upstream.ts';
import { type ClusterOptions, DogwatchCluster } from './cluster-process.ts';
import type { RateWatch } from './cluster-rate-watch.ts';
import { type Endpoint, kubeconfig, KubeClient } from './kube-client.ts';

export interface SimulatedStageOptions extends Omit<ClusterOptions, 'dir' | 'kubeconfig' | 'clientCaFile'> {
  readonly population: RatePopulation;
  /** Events of each resource that upstream itself keeps. */
  readonly window?: number;
}

/** What dogwatch asked upstream for of one resource. */
export interface UpstreamReads {
  /** LISTs of whole objects. */
  readonly lists: number;
  /** Objects that watches began with. */
  readonly initialObjects: number;
  readonly watches: number;
}

/** Batches of writes, of which there is one a millisecond. */
const WRITES_KEPT = 100_000;

/** The simulated upstream's own credential for everything. */
export const ADMIN = { token: 'admin' };

/** The simulated upstream in this process, and a distributed dogwatch in front of it. */
export class SimulatedStage {
  readonly upstream: SimulatedUpstream;
  readonly fleets: RateFleets;
  readonly cluster: DogwatchCluster;
  readonly #dir: string;
  readonly #writes: [version: number, at: number][] = [];

  private constructor(parts: {
    upstream: SimulatedUpstream;
    fleets: RateFleets;
    cluster: DogwatchCluster;
    dir: string;
  }) {
    this.upstream = parts.upstream;
    this.fleets = parts.fleets;
    this.cluster = parts.cluster;
    this.#dir = parts.dir;
  }

  static async start({ population, window, ...options }: SimulatedStageOptions): Promise<SimulatedStage> {
    const upstream = await SimulatedUpstream.start(window === undefined ? {} : { window });
    const dir = await mkdtemp(join(tmpdir(), 'dogwatch-simulated-'));
    try {
      const fleets = populateFleets(upstream.store, population);
      const file = join(dir, 'upstream.kubeconfig');
      await writeFile(file, kubeconfig({ server: upstream.url, ca: upstream.certificate }, ADMIN), { mode: 0o600 });
      const cluster = await DogwatchCluster.start({ ...options, dir, kubeconfig: file });
      return new SimulatedStage({ upstream, fleets, cluster, dir });
    } catch (error) {
      await upstream.close();
      throw error;
    }
  }

  /** A client of the first fan-out, or of another endpoint. */
  client(endpoint: Endpoint | undefined = this.cluster.endpoints[0]): KubeClient {
    if (endpoint === undefined) throw new Error('the cluster has no fan-out');
    return new KubeClient(endpoint, ADMIN);
  }

  collection({ resource }: SimulatedFleet): Collection {
    return this.upstream.store.collection(resource.group, resource.resource);
  }

  /** The newest version there is. While only one fleet is written, its versions follow each other without holes. */
  get version(): number {
    return this.upstream.store.resourceVersion;
  }

  writer(fleet: SimulatedFleet, rate: number, limit?: number): RateWriter {
    return new RateWriter({
      store: this.upstream.store,
      fleet,
      rate,
      seed: 1,
      ...(limit === undefined ? {} : { limit }),
    });
  }

  /** Objects written after `from` whose newest version a watch was not given, or was given another after it. */
  differences(fleet: SimulatedFleet, watch: RateWatch, from: number): string[] {
    const given = new Map(watch.keys.map((key, index) => [key, watch.versions[index]]));
    return this.collection(fleet)
      .list()
      .filter(({ resourceVersion }) => resourceVersion > from)
      .map(({ namespace, name, resourceVersion }) => ({ key: `${namespace}/${name}`, resourceVersion }))
      .filter(({ key, resourceVersion }) => given.get(key) !== resourceVersion)
      .map(({ key, resourceVersion }) => `${key} is at ${given.get(key)}, not ${resourceVersion}`);
  }

  /** Times a watch was given newest states instead of every change: because it was slow, or had been away. */
  async conflated(): Promise<number> {
    const { cluster } = this;
    return (
      (await cluster.sum('fanout', 'watch_conflations_total')) +
      (await cluster.sum('fanout', 'watch_state_diffs_total'))
    );
  }

  /** What was asked of upstream for the fleet's resource until now. To prove a lane fresh costs none of it, but watches. */
  reads({ resource }: SimulatedFleet): UpstreamReads {
    const { lists, initialEvents, watches, watchLists } = this.upstream.counters.of(resource);
    return { lists, initialObjects: initialEvents, watches: watches - watchLists };
  }

  /** From now on `writtenAt` knows when each version of the fleet's resource was written. */
  trackWrites(fleet: SimulatedFleet): void {
    this.collection(fleet).onEvent(() => {
      this.#writes.push([this.version, performance.now()]);
      if (this.#writes.length > 2 * WRITES_KEPT) this.#writes.splice(0, WRITES_KEPT);
    });
  }

  /** `performance.now()` of the write; undefined for versions from before `trackWrites`, and for very old ones. */
  writtenAt(version: number): number | undefined {
    let [low, high] = [0, this.#writes.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#writes[middle]?.[0] ?? 0) < version) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? undefined : this.#writes[low]?.[1];
  }

  async stop(): Promise<void> {
    try {
      await this.cluster.close();
    } finally {
      await this.upstream.close();
      if (process.env['KEEP_TEST_DIRS'] === undefined) await rm(this.#dir, { recursive: true, force: true });
    }
  }
}
