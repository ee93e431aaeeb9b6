import type { ControlPlane } from './control-plane.ts';
import { eventually } from './eventually.ts';
import { Herd } from './herd.ts';
import type { Endpoint } from './kube-client.ts';

/** What every herd watches: the written resource and quiet ones. */
const RESOURCES = ['v1/configmaps', 'v1/namespaces', 'v1/pods', 'coordination.k8s.io/v1/leases', 'v1/nodes'];

/** A herd of client-go informers behind each of several endpoints, and one that sees kube-apiserver itself. */
export class ClusterHerds {
  readonly #herds: readonly Herd[];
  readonly #direct: Herd;
  readonly #count: number;

  private constructor(herds: readonly Herd[], direct: Herd, count: number) {
    this.#herds = herds;
    this.#direct = direct;
    this.#count = count;
  }

  /** `count` informers behind each; resolves once all have synced. */
  static async start(plane: ControlPlane, endpoints: readonly Endpoint[], count: number): Promise<ClusterHerds> {
    const start = async (name: string, endpoint: Endpoint, informers: number): Promise<Herd> => {
      const kubeconfig = await plane.kubeconfig('admin', endpoint);
      return Herd.start(plane, { name, kubeconfig, count: informers, resources: RESOURCES });
    };
    const herds: Herd[] = [];
    for (const [index, endpoint] of endpoints.entries()) herds.push(await start(`herd-${index}`, endpoint, count));
    return new ClusterHerds(herds, await start('herd-direct', plane.endpoint, RESOURCES.length), count);
  }

  /** Resolves when all caches are what one informer per resource sees directly; nothing may be written meanwhile. */
  async untilEqual(timeoutMs: number): Promise<void> {
    await eventually({ what: 'all caches equal the direct ones', timeoutMs, everyMs: 1_000 }, async () => {
      const wanted = Object.keys((await this.#direct.state()).digests)
        .toSorted()
        .join();
      const states = await Promise.all(this.#herds.map((herd) => herd.state()));
      return states.every(({ digests }) => {
        const count = Object.values(digests).reduce((sum, each) => sum + each, 0);
        return Object.keys(digests).toSorted().join() === wanted && count === this.#count;
      });
    });
  }

  /** What the herds met since they started, all together. */
  async met(): Promise<{ http410: number; errorEvents: number; relists: number }> {
    const reports = await Promise.all(this.#herds.map((herd) => herd.report()));
    const sum = (of: (report: (typeof reports)[number]) => number): number =>
      reports.reduce((total, report) => total + of(report), 0);
    return {
      http410: sum(({ http410 }) => http410),
      errorEvents: sum(({ errorEvents }) => errorEvents),
      relists: sum(({ lists, watchLists, informers }) => lists + watchLists - informers),
    };
  }

  async stop(): Promise<void> {
    for (const herd of [...this.#herds, this.#direct]) await herd.stop();
  }
}
