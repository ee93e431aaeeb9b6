import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Child } from '../support/child.ts';
import type { ControlPlane } from '../support/control-plane.ts';
import type { Endpoint } from '../support/kube-client.ts';
import { LineReader } from '../support/line-reader.ts';
import { untilNodeReady } from './nodes.ts';

export interface ComponentsOptions {
  readonly plane: ControlPlane;
  /** What all of them take for the API server. */
  readonly endpoint: Endpoint;
  /** Names of the kubelets, users of the token file. */
  readonly nodes: readonly string[];
}

/** What client-go's reflectors have logged in one process. */
export interface ReflectorLog {
  /** Reflectors that began. */
  readonly started: number;
  /** Listings, watch-lists among them, that were not the first of their reflector. */
  readonly relists: number;
  readonly expired: number;
  /** Watches that ended in an error or in the middle of a frame. */
  readonly broken: number;
  /** Reflectors whose caches were filled. */
  readonly populated: number;
}

/** What the controller-runtime program says at its end. */
export interface ControllerReport {
  readonly reconciles: number;
  /** Reconciles that failed for another reason than a conflict. */
  readonly failures: number;
  readonly events: number;
  /** Events that took an object back in time. */
  readonly backwards: number;
}

/** So that listings and ends of watches are logged. */
const LOG = '--vmodule=reflector=4';
const CONTROLLER = 'widget-controller';

/**
 * kube-controller-manager, kube-scheduler, kubelets, a kube-proxy and a controller-runtime program. They are processes
 * of the control plane and end with it.
 */
export class Components {
  readonly names: readonly string[];
  readonly #plane: ControlPlane;
  readonly #controller: Child;

  private constructor(plane: ControlPlane, names: readonly string[], controller: Child) {
    this.#plane = plane;
    this.names = names;
    this.#controller = controller;
  }

  /** Resolves once all nodes are Ready. The Widgets of the controller-runtime program must be served already. */
  static async start({ plane, endpoint, nodes }: ComponentsOptions): Promise<Components> {
    const asAdmin = await plane.kubeconfig('admin', endpoint);
    for (const component of ['kube-controller-manager', 'kube-scheduler'] as const) {
      await plane.restart(component, { kubeconfig: asAdmin, flags: [LOG] });
    }
    const kubelets: Child[] = [];
    for (const node of nodes) {
      kubelets.push(await plane.startKubelet(node, await plane.kubeconfig(`system:node:${node}`, endpoint), [LOG]));
    }
    const [first = ''] = nodes;
    const proxy = await plane.startChild('kube-proxy', {
      asset: 'kubemark',
      args: ['--morph=proxy', `--name=${first}`, `--kubeconfig=${asAdmin}`, LOG],
    });
    const controller = await plane.startChild(CONTROLLER, {
      asset: CONTROLLER,
      args: [`--kubeconfig=${asAdmin}`, LOG],
      pipe: true,
    });
    await Promise.all(nodes.map((node) => untilNodeReady(plane.admin, node)));
    const others = [...kubelets, proxy, controller].map(({ name }) => name);
    return new Components(plane, ['kube-controller-manager', 'kube-scheduler', ...others], controller);
  }

  /** What the reflectors of each process have logged so far. */
  async reflectors(): Promise<ReadonlyMap<string, ReflectorLog>> {
    const logs = this.names.map(async (name): Promise<[string, ReflectorLog]> => {
      return [name, reflectorLog(await readFile(join(this.#plane.dir, `${name}.log`), 'utf8'))];
    });
    return new Map(await Promise.all(logs));
  }

  /** Ends the controller-runtime program as a rollout would. Throws if it does not end well. */
  async stopController(): Promise<ControllerReport> {
    const report = new LineReader(CONTROLLER, this.#controller.stdout).next(20_000);
    await Promise.all([report, this.#controller.stop()]);
    return JSON.parse(await report) as ControllerReport;
  }
}

function reflectorLog(text: string): ReflectorLog {
  const lines = text.split('\n').filter((line) => line.includes(' reflector.go:'));
  const count = (pattern: RegExp): number => lines.filter((line) => pattern.test(line)).length;
  const started = count(/"Starting reflector"/);
  return {
    started,
    relists: count(/"Listing and watching"/) - started,
    expired: count(/too old resource version|Expired|\b410 Gone/),
    broken: count(/unexpected EOF|ended with error|Failed to watch/),
    populated: count(/"Caches populated"/),
  };
}
