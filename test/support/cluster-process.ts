import { ClusterMember, type Role, ROLES } from './cluster-member.ts';
import type { Endpoint } from './kube-client.ts';
import { NatsServers } from './nats-server.ts';
import { sumOf } from './prometheus-text.ts';

export interface ClusterOptions {
  /** For logs, certificates and written kubeconfigs. */
  readonly dir: string;
  /** The way upstream of ingests and fan-outs. */
  readonly kubeconfig: string;
  /** The way upstream of each ingest, where they differ. */
  readonly ingestKubeconfigs?: readonly string[];
  readonly clientCaFile?: string;
  readonly flags?: Readonly<Partial<Record<Role, readonly string[]>>>;
  /** RESOURCE=N,… */
  readonly partitions?: string;
  /** How many of each; default 2, 4, 2 and 3. */
  readonly ingest?: number;
  readonly shard?: number;
  readonly fanout?: number;
  readonly nats?: 1 | 3;
}

/** A distributed dogwatch on 127.0.0.1: NATS servers, ingests, shards and fan-outs as processes. */
export class DogwatchCluster {
  readonly nats: NatsServers;
  readonly #options: ClusterOptions;
  readonly #members: ClusterMember[] = [];
  #shards = 0;

  private constructor(options: ClusterOptions, nats: NatsServers) {
    this.#options = options;
    this.nats = nats;
  }

  /** Resolves once all say that they are ready. */
  static async start(options: ClusterOptions): Promise<DogwatchCluster> {
    const cluster = new DogwatchCluster(options, await NatsServers.start({ count: options.nats ?? 3 }));
    try {
      const { ingest = 2, shard = 4, fanout = 2 } = options;
      const starting = [
        ...Array.from({ length: ingest }, (_, index) => cluster.#start('ingest', index)),
        ...Array.from({ length: shard }, () => cluster.addShard()),
        ...Array.from({ length: fanout }, (_, index) => cluster.#start('fanout', index)),
      ];
      await Promise.allSettled(starting); // so that nobody is started behind the back of the close below
      await Promise.all(starting);
    } catch (error) {
      await cluster.close().catch(() => undefined); // the reason is `error`
      throw error;
    }
    return cluster;
  }

  /** Those of a role, or all, in the order of their names. */
  members(role?: Role): ClusterMember[] {
    const wanted = role === undefined ? ROLES : [role];
    return wanted.flatMap((its) =>
      this.#members.filter((member) => member.role === its).toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    );
  }

  /** The fan-outs, as clients find them. */
  get endpoints(): Endpoint[] {
    return this.members('fanout').map(({ endpoint }) => endpoint);
  }

  /** A metric (without its `dogwatch_`), summed over those of a role that live. */
  async sum(role: Role, metric: string): Promise<number> {
    const living = this.members(role).filter(({ alive }) => alive);
    const samples = await Promise.all(living.map((member) => member.metrics()));
    return sumOf(samples.flat(), `dogwatch_${metric}`);
  }

  /** One more shard under a new name. */
  addShard(): Promise<ClusterMember> {
    this.#shards += 1;
    return this.#start('shard', this.#shards - 1);
  }

  /** Stops the newest shard cleanly, for good. */
  async removeShard(): Promise<void> {
    const newest = this.members('shard').at(-1);
    if (newest === undefined) throw new Error('no shard is left');
    this.#members.splice(this.#members.indexOf(newest), 1);
    await newest.stop();
  }

  /** Every dogwatch process at once, NATS not. */
  async kill9All(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.kill9()));
  }

  /** Starts all that are not alive; resolves with the time until all were ready, ms. */
  async restartAll(): Promise<number> {
    const start = performance.now();
    await Promise.all(this.#members.filter(({ alive }) => !alive).map((member) => member.restart()));
    return performance.now() - start;
  }

  /** Ends everything, clients' end first. Throws if a process had died by itself or does not stop within 20 s. */
  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const role of ROLES.toReversed()) {
      for (const result of await Promise.allSettled(this.members(role).map(end))) {
        if (result.status === 'rejected') failures.push(result.reason);
      }
    }
    await this.nats.close();
    if (failures.length > 0) throw new AggregateError(failures, failures.map(String).join('\n'));
  }

  async #start(role: Role, index: number): Promise<ClusterMember> {
    const { dir } = this.#options;
    const member = await ClusterMember.start({ role, name: `${role}-${index}`, dir, flags: this.#flags(role, index) });
    this.#members.push(member);
    return member;
  }

  #flags(role: Role, index: number): string[] {
    const { kubeconfig, ingestKubeconfigs = [], clientCaFile, partitions, flags = {} } = this.#options;
    const { addresses } = this.nats;
    const upstream = (role === 'ingest' ? ingestKubeconfigs[index] : undefined) ?? kubeconfig;
    return [
      `--nats-servers=${addresses.join(',')}`,
      `--nats-replicas=${addresses.length}`,
      ...(role === 'shard' ? [] : [`--kubeconfig=${upstream}`]),
      ...(role === 'ingest' && partitions !== undefined ? [`--partitions=${partitions}`] : []),
      ...(role === 'fanout' && clientCaFile !== undefined ? [`--client-ca-file=${clientCaFile}`] : []),
      ...(flags[role] ?? []),
    ];
  }
}

async function end(member: ClusterMember): Promise<void> {
  member.assertNotFailed();
  if (member.alive) await member.stop();
}
