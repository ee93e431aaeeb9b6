import { assetPath } from '../support/assets.ts';
import { type CommandOptions, type CommandResult, run, runOk } from '../support/command.ts';
import { ControlPlane } from '../support/control-plane.ts';
import type { ControlPlaneOptions } from '../support/control-plane-setup.ts';
import { DogwatchProcess } from '../support/dogwatch-process.ts';
import type { Endpoint, KubeClient } from '../support/kube-client.ts';

/**
 * `CONFORMANCE_TARGET=kube-apiserver` runs the suite against kube-apiserver itself: what fails there is a
 * fault of the test. Default: through dogwatch.
 */
const THROUGH_DOGWATCH = process.env['CONFORMANCE_TARGET'] !== 'kube-apiserver';

/** Why cases about dogwatch's own promises cannot run against kube-apiserver. */
export const NEEDS_DOGWATCH = THROUGH_DOGWATCH ? undefined : 'the suite runs against kube-apiserver itself';

export interface StageOptions extends ControlPlaneOptions {
  readonly dogwatchFlags?: readonly string[];
  /** Where dogwatch finds upstream, given kube-apiserver's endpoint; default: there. */
  readonly upstream?: (apiserver: Endpoint) => Promise<Endpoint>;
}

/** A control plane and dogwatch in front of it. */
export class Stage {
  readonly plane: ControlPlane;
  readonly #dogwatch: DogwatchProcess | undefined;

  private constructor(plane: ControlPlane, dogwatch: DogwatchProcess | undefined) {
    this.plane = plane;
    this.#dogwatch = dogwatch;
  }

  static async start(options: StageOptions = {}): Promise<Stage> {
    const plane = await ControlPlane.start(options);
    if (!THROUGH_DOGWATCH) return new Stage(plane, undefined);
    try {
      const upstream = (await options.upstream?.(plane.endpoint)) ?? plane.endpoint;
      const dogwatch = await DogwatchProcess.start({
        dir: plane.dir,
        kubeconfig: await plane.kubeconfig('dogwatch', upstream),
        clientCaFile: plane.clientCaFile,
        ...(options.dogwatchFlags === undefined ? {} : { flags: options.dogwatchFlags }),
      });
      return new Stage(plane, dogwatch);
    } catch (error) {
      await plane.stop().catch(() => undefined); // the reason is `error`
      throw error;
    }
  }

  get dogwatch(): DogwatchProcess {
    if (this.#dogwatch === undefined) throw new Error(NEEDS_DOGWATCH);
    return this.#dogwatch;
  }

  /** What clients under test talk to. */
  get through(): Endpoint {
    return this.#dogwatch?.endpoint ?? this.plane.endpoint;
  }

  client(user: string): KubeClient {
    return this.plane.client(user, this.through);
  }

  kubeconfig(user: string): Promise<string> {
    return this.plane.kubeconfig(user, this.through);
  }

  async stop(): Promise<void> {
    try {
      await this.#dogwatch?.stop();
    } finally {
      await this.plane.stop();
    }
  }
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
