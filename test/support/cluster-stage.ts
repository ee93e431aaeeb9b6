import { HoppingWatches } from './cluster-hopping-watch.ts';
import { byLane, listingsSince } from './cluster-upstream-reads.ts';
import { type ClusterOptions, DogwatchCluster } from './cluster-process.ts';
import { lastOf, PacedWriters } from './cluster-writers.ts';
import { ControlPlane } from './control-plane.ts';
import type { Credential, Endpoint } from './kube-client.ts';
import type { Written } from './random-writer.ts';
import {
  check,
  endings,
  type RecordedStream,
  type Repair,
  summarise,
  type Violation,
  type WatchRequest,
} from './watch-recorder.ts';

export interface ClusterStageOptions extends Omit<ClusterOptions, 'dir' | 'kubeconfig' | 'clientCaFile'> {
  readonly namespaces: readonly string[];
  readonly seed: number;
  /** Pace of the writers in each namespace. */
  readonly everyMs: number;
}

const COLOURS = ['red', 'green', 'blue'];
/** etcd keeps all versions, so that its history is the truth of a run of any length. */
const KEEP_HISTORY = '--etcd-compaction-interval=0';

/** A real control plane, a distributed dogwatch in front of it, and writers of configmaps. */
export class ClusterStage {
  readonly plane: ControlPlane;
  readonly cluster: DogwatchCluster;
  readonly writers: PacedWriters;
  readonly #namespaces: readonly string[];

  private constructor(
    plane: ControlPlane,
    cluster: DogwatchCluster,
    { namespaces, seed, everyMs }: ClusterStageOptions,
  ) {
    this.plane = plane;
    this.cluster = cluster;
    this.#namespaces = namespaces;
    this.writers = new PacedWriters({ client: plane.admin, seed, namespaces, colours: COLOURS, everyMs });
  }

  /** The namespaces are there, with some objects in each. */
  static async start(options: ClusterStageOptions): Promise<ClusterStage> {
    const plane = await ControlPlane.start({ apiserverFlags: [KEEP_HISTORY] });
    try {
      const kubeconfig = await plane.kubeconfig('dogwatch');
      const cluster = await DogwatchCluster.start({
        ...options,
        dir: plane.dir,
        kubeconfig,
        clientCaFile: plane.clientCaFile,
      });
      const stage = new ClusterStage(plane, cluster, options);
      await stage.writers.createNamespaces();
      await stage.writers.write(20);
      return stage;
    } catch (error) {
      await plane.stop().catch(() => undefined); // the reason is `error`
      throw error;
    }
  }

  get credential(): Credential {
    return { token: this.plane.token('admin') };
  }

  /** `count` watches as informers keep them, of all kinds of interest, spread over `endpoints` (default: the fan-outs). */
  watch(count: number, endpoints: readonly Endpoint[] = this.cluster.endpoints): Promise<HoppingWatches> {
    const interests = this.#interests();
    const requests = Array.from({ length: count }, (_, index) => interests[index % interests.length]!);
    return HoppingWatches.open(endpoints, this.credential, requests);
  }

  /** Writes a last word to every interest and waits until all watches have it. */
  async settle(watches: HoppingWatches, timeoutMs: number): Promise<readonly Written[]> {
    const written = await this.writers.touchAll();
    await watches.reached(lastOf(written), timeoutMs);
    return written;
  }

  /** What the watches were not given as they should have been, etcd being the truth: every event, once, in order. */
  async violations(records: readonly RecordedStream[], written: readonly Written[]): Promise<string[]> {
    return [...endings(records), ...summarise(await this.#check(records, written), records)];
  }

  /**
   * As `violations`, after an outage that began when all had been given `calm`: who had to go on with newest states
   * (promise I5) may have missed states in between, but no object's last one and no deletion. How many is told as well.
   */
  async violationsSince(
    calm: readonly Written[],
    records: readonly RecordedStream[],
    written: readonly Written[],
  ): Promise<{ readonly violations: string[]; readonly statesLeftOut: number }> {
    const repair = { after: highest(calm), upTo: highest(written) };
    const violations = [...endings(records), ...summarise(await this.#check(records, written, repair), records)];
    const strict = await this.#check(records, written);
    const statesLeftOut = strict.filter(({ rule, detail }) => rule === 'complete' && detail.endsWith('is missing'));
    return { violations, statesLeftOut: statesLeftOut.length };
  }

  /** How often dogwatch listed each lane upstream since `since` (ms since 1970). */
  async listings(since: number): Promise<Record<string, number>> {
    return byLane(listingsSince(await this.plane.audit(), since));
  }

  async #check(
    records: readonly RecordedStream[],
    written: readonly Written[],
    repair?: Repair,
  ): Promise<readonly Violation[]> {
    const upTo = highest(written);
    const history = await this.plane.etcd.history('configmaps', 1, upTo);
    return check(records, history, { upTo, ...(repair === undefined ? {} : { repair }) });
  }

  async stop(): Promise<void> {
    try {
      await this.cluster.close();
    } finally {
      await this.plane.stop();
    }
  }

  /** Everything, each colour, each namespace, one object: first everything, which every write concerns. */
  #interests(): WatchRequest[] {
    const { path } = this.writers;
    const [first = ''] = this.#namespaces;
    return [
      { path },
      ...COLOURS.map((colour) => ({ path, labels: { colour } })),
      ...this.#namespaces.slice(0, 4).map((namespace) => ({ path: this.writers.pathIn(namespace), namespace })),
      { path: this.writers.pathIn(first), namespace: first, labels: { colour: 'red' } },
      { path: this.writers.pathIn(first), namespace: first, name: 'touch-red' },
    ];
  }
}

function highest(written: readonly Written[]): number {
  return Math.max(...written.map(({ rv }) => rv));
}
