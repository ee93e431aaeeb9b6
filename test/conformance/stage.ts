import { assetPath } from '../support/assets.ts';
import { type CommandOptions, type CommandResult, run, runOk } from '../support/command.ts';
import { ControlPlane } from '../support/control-plane.ts';
import type { ControlPlaneOptions } from '../support/control-plane-setup.ts';
import { DogwatchCluster } from '../support/cluster-process.ts';
import { DogwatchProcess } from '../support/dogwatch-process.ts';
import type { Endpoint, KubeClient } from '../support/kube-client.ts';
import type { Sample } from '../support/prometheus-text.ts';

/**
 * What the suites run through: `kube-apiserver` itself (what fails there is a fault of the test), `dogwatch sidecar`, or a
 * `cluster` of ingests, shards and fan-outs over NATS.
 */
const TARGETS = ['kube-apiserver', 'sidecar', 'cluster'] as const;
type Target = (typeof TARGETS)[number];
const TARGET = target(process.env['CONFORMANCE_TARGET'] ?? 'sidecar');

/** Why cases about dogwatch's own promises cannot run against kube-apiserver. */
export const NEEDS_DOGWATCH = TARGET === 'kube-apiserver' ? 'the suite runs against kube-apiserver itself' : undefined;

/** Why cases about one process that does everything cannot run elsewhere. */
export const NEEDS_SIDECAR =
  TARGET === 'cluster' ? 'the suite runs through a cluster; this is about a sidecar' : NEEDS_DOGWATCH;

/** How many processes read each lane upstream: in a cluster the leading ingest and its standby. */
export const UPSTREAM_READERS = TARGET === 'cluster' ? 2 : 1;

/** What is watched a lot here is cut into several partitions, so that the suites see them merged. */
const PARTITIONS = 'configmaps=4,leases.coordination.k8s.io=16,pods=4';

export interface StageOptions extends ControlPlaneOptions {
  /** Of the sidecar, or of the fan-outs. */
  readonly dogwatchFlags?: readonly string[];
  /** Where dogwatch finds upstream, given kube-apiserver's endpoint; default: there. */
  readonly upstream?: (apiserver: Endpoint) => Promise<Endpoint>;
}

/** A control plane and dogwatch in front of it. */
export class Stage {
  readonly plane: ControlPlane;
  readonly #dogwatch: DogwatchProcess | DogwatchCluster | undefined;

  private constructor(plane: ControlPlane, dogwatch: DogwatchProcess | DogwatchCluster | undefined) {
    this.plane = plane;
    this.#dogwatch = dogwatch;
  }

  static async start(options: StageOptions = {}): Promise<Stage> {
    const plane = await ControlPlane.start(options);
    try {
      return new Stage(plane, await startDogwatch(plane, options));
    } catch (error) {
      await plane.stop().catch(() => undefined); // the reason is `error`
      throw error;
    }
  }

  /** The sidecar. Throws where NEEDS_SIDECAR says why there is none. */
  get dogwatch(): DogwatchProcess {
    if (this.#dogwatch instanceof DogwatchProcess) return this.#dogwatch;
    throw new Error(NEEDS_SIDECAR);
  }

  /** What clients under test talk to: the sidecar, the first fan-out, or kube-apiserver. */
  get through(): Endpoint {
    if (this.#dogwatch === undefined) return this.plane.endpoint;
    if (this.#dogwatch instanceof DogwatchProcess) return this.#dogwatch.endpoint;
    return firstOf(this.#dogwatch.endpoints);
  }

  client(user: string): KubeClient {
    return this.plane.client(user, this.through);
  }

  kubeconfig(user: string): Promise<string> {
    return this.plane.kubeconfig(user, this.through);
  }

  /** Of the sidecar, or of all processes of the cluster; nothing where there is no dogwatch. */
  async metrics(): Promise<Sample[]> {
    if (this.#dogwatch === undefined) return [];
    const processes = this.#dogwatch instanceof DogwatchProcess ? [this.#dogwatch] : this.#dogwatch.members();
    return (await Promise.all(processes.map((process) => process.metrics()))).flat();
  }

  async stop(): Promise<void> {
    try {
      if (this.#dogwatch instanceof DogwatchProcess) await this.#dogwatch.stop();
      else await this.#dogwatch?.close();
    } finally {
      await this.plane.stop();
    }
  }
}

async function startDogwatch(
  plane: ControlPlane,
  { upstream, dogwatchFlags = [] }: StageOptions,
): Promise<DogwatchProcess | DogwatchCluster | undefined> {
  if (TARGET === 'kube-apiserver') return undefined;
  const common = {
    dir: plane.dir,
    kubeconfig: await plane.kubeconfig('dogwatch', (await upstream?.(plane.endpoint)) ?? plane.endpoint),
    clientCaFile: plane.clientCaFile,
  };
  return TARGET === 'sidecar'
    ? DogwatchProcess.start({ ...common, flags: dogwatchFlags })
    : DogwatchCluster.start({ ...common, partitions: PARTITIONS, flags: { fanout: dogwatchFlags } });
}

function target(text: string): Target {
  const found = TARGETS.find((name) => name === text);
  if (found === undefined) throw new Error(`CONFORMANCE_TARGET is one of ${TARGETS.join(', ')}, not "${text}"`);
  return found;
}

function firstOf(endpoints: readonly Endpoint[]): Endpoint {
  const [first] = endpoints;
  if (first === undefined) throw new Error('the cluster has no fan-out');
  return first;
}

/** kubectl with one kubeconfig and its own discovery cache. */
export class Kubectl {
  readonly #kubeconfig: string;
  readonly #env: Readonly<Record<string, string>>;

  constructor(kubeconfig: string, env: Readonly<Record<string, string>> = {}) {
    this.#kubeconfig = kubeconfig;
    this.#env = env;
  }

  arguments(args: readonly string[]): string[] {
    return [`--kubeconfig=${this.#kubeconfig}`, `--cache-dir=${this.#kubeconfig}.cache`, ...args];
  }

  run(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return run(assetPath('kubectl'), this.arguments(args), { ...options, env: { ...this.#env, ...options.env } });
  }

  ok(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    return runOk(assetPath('kubectl'), this.arguments(args), { ...options, env: { ...this.#env, ...options.env } });
  }
}
