import { eventually } from '../support/eventually.ts';
import type { KubeClient, KubeObject } from '../support/kube-client.ts';
import {
  daemonSet,
  deployment,
  disruptionBudget,
  job,
  service,
  statefulSet,
  widget,
  WIDGETS,
} from './workload-objects.ts';

/** How much of everything; `replicas` is of each Deployment: at first, scaled up, scaled down. */
export interface WorkloadSize {
  readonly deployments: number;
  readonly replicas: readonly [first: number, up: number, down: number];
  readonly completions: number;
  readonly widgets: number;
}

export interface WorkloadOptions {
  /** What every write goes through. */
  readonly client: KubeClient;
  /** kube-apiserver itself: what has come of it. */
  readonly direct: KubeClient;
  readonly size: WorkloadSize;
  /** Of each awaited state, ms. */
  readonly timeoutMs: number;
}

interface Counted extends KubeObject {
  readonly metadata: KubeObject['metadata'] & { readonly generation?: number };
  readonly status?: Readonly<Record<string, unknown>>;
}

const LIVING = 'shop';
const DOOMED = 'doomed';
const core = (namespace: string, resource: string): string => `/api/v1/namespaces/${namespace}/${resource}`;
const apps = (namespace: string, resource: string): string => `/apis/apps/v1/namespaces/${namespace}/${resource}`;
const jobs = (namespace: string): string => `/apis/batch/v1/namespaces/${namespace}/jobs`;
const widgets = (namespace: string): string => `/apis/dogwatch.test/v1/namespaces/${namespace}/widgets`;

/** What users make a cluster do, step by step, each step awaited in kube-apiserver itself and timed. */
export class Workload {
  /** Seconds of each step. */
  readonly seconds = new Map<string, number>();
  readonly #options: WorkloadOptions;
  readonly #deployments: readonly string[];
  readonly #widgets: readonly string[];

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.#deployments = numbered('web', options.size.deployments);
    this.#widgets = numbered('widget', options.size.widgets);
  }

  /** Before any component starts: the custom resource, which the controller-runtime program looks for at once. */
  static async define(client: KubeClient): Promise<void> {
    await client.create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', WIDGETS);
    await eventually({ what: 'Widgets are served', timeoutMs: 30_000 }, async () => {
      return (await client.request('GET', widgets('default'))).status === 200;
    });
  }

  async run(): Promise<void> {
    await this.#timed('create', () => this.#create());
    await this.#timed('jobs', () => this.#finishJobs());
    await this.#timed('scale up', () => this.#scale(this.#options.size.replicas[1]));
    await this.#timed('roll', () => this.#roll());
    await this.#timed('scale down', () => this.#scale(this.#options.size.replicas[2]));
    await this.#timed('collect', () => this.#deleteWidgets());
    await this.#timed('namespace', () => this.#deleteNamespace());
  }

  async #create(): Promise<void> {
    const { client, size } = this.#options;
    for (const namespace of [LIVING, DOOMED]) {
      await client.create('/api/v1/namespaces', { metadata: { name: namespace } });
      await this.#found(core(namespace, 'serviceaccounts/default'));
      await client.create(core(namespace, 'configmaps'), { metadata: { name: 'settings' }, data: { key: 'value' } });
      await client.create(core(namespace, 'secrets'), {
        metadata: { name: 'settings' },
        stringData: { key: 'secret' },
      });
      for (const name of this.#deployments) await this.#createServed(namespace, name);
      for (const [index, name] of this.#widgets.entries()) await client.create(widgets(namespace), widget(name, index));
    }
    await client.create(core(LIVING, 'services'), service('db', true));
    await client.create(apps(LIVING, 'statefulsets'), statefulSet('db', 3));
    await client.create(apps(LIVING, 'daemonsets'), daemonSet('agent'));
    const { completions } = size;
    await client.create(jobs(LIVING), job('work', { completions, parallelism: Math.ceil(completions / 2) }));
    await client.create(jobs(LIVING), job('brief', { ttlSecondsAfterFinished: 1 }));
    await client.create(jobs(LIVING), job('late', { activeDeadlineSeconds: 3 }));
    await client.create(jobs(DOOMED), job('endless', {}));
    await this.#deployed(DOOMED, size.replicas[0]);
    await this.#deployed(LIVING, size.replicas[0]);
    await this.#status(apps(LIVING, 'statefulsets/db'), { readyReplicas: 3 });
    await this.#status(apps(LIVING, 'daemonsets/agent'), { numberUnavailable: undefined, observedGeneration: 1 });
    await this.#reconciled(LIVING);
    await this.#reconciled(DOOMED);
  }

  async #createServed(namespace: string, name: string): Promise<void> {
    const { client, size } = this.#options;
    const budgets = `/apis/policy/v1/namespaces/${namespace}/poddisruptionbudgets`;
    await client.create(core(namespace, 'services'), service(name));
    await client.create(apps(namespace, 'deployments'), deployment(name, size.replicas[0]));
    await client.create(budgets, disruptionBudget(name));
  }

  /** The fake container runtime never ends a container, so pods of Jobs are finished by their status. */
  async #finishJobs(): Promise<void> {
    const { client, direct, size } = this.#options;
    const path = core(LIVING, 'pods');
    const finished = new Set<string>();
    await this.#until('the job work is complete', async () => {
      const selector = encodeURIComponent('app in (work,brief)');
      const running = await direct.get<{ items: Counted[] }>(
        `${path}?labelSelector=${selector}&fieldSelector=status.phase%3DRunning`,
      );
      for (const { metadata } of running.items.filter((pod) => !finished.has(pod.metadata.uid))) {
        finished.add(metadata.uid);
        await client.mergePatch(`${path}/${metadata.name}/status`, { status: { phase: 'Succeeded' } });
        // A kubelet hands a change of nothing but the status to its pod worker late; this is a change of the pod.
        await client.mergePatch(`${path}/${metadata.name}`, { metadata: { annotations: { finished: 'yes' } } });
      }
      const { status } = await direct.get<Counted>(`${jobs(LIVING)}/work`);
      return status?.['succeeded'] === size.completions && status['completionTime'] !== undefined;
    });
    await this.#status(`${jobs(LIVING)}/late`, { failed: 1, active: undefined, terminating: 0 });
    await this.#gone(`${jobs(LIVING)}/brief`);
  }

  async #scale(replicas: number): Promise<void> {
    for (const name of this.#deployments) {
      const scale = `${apps(LIVING, 'deployments')}/${name}/scale`;
      await this.#options.client.mergePatch(scale, { spec: { replicas } });
    }
    await this.#deployed(LIVING, replicas);
  }

  /** A new image for every Deployment, and another spec for every Widget. */
  async #roll(): Promise<void> {
    const { client, size } = this.#options;
    const spec = { template: { spec: { containers: [{ name: 'main', image: 'app:2' }] } } };
    for (const name of this.#deployments) {
      const path = `${apps(LIVING, 'deployments')}/${name}`;
      const headers = { 'content-type': 'application/strategic-merge-patch+json' };
      const { status, body } = await client.request('PATCH', path, { body: { spec }, headers });
      if (status !== 200) throw new Error(`PATCH ${path}: ${status} ${body}`);
    }
    for (const [index, name] of this.#widgets.entries()) {
      await client.mergePatch(`${widgets(LIVING)}/${name}`, { spec: { size: 100 + index } });
    }
    await this.#deployed(LIVING, size.replicas[1]);
    await this.#reconciled(LIVING);
  }

  /** Half of the Widgets go, with a finalizer; the garbage collector takes what they own. */
  async #deleteWidgets(): Promise<void> {
    const doomed = this.#widgets.filter((_, index) => index % 2 === 0);
    for (const name of doomed) await this.#options.client.delete(`${widgets(LIVING)}/${name}`);
    for (const name of doomed) {
      await this.#gone(`${widgets(LIVING)}/${name}`);
      await this.#gone(`${core(LIVING, 'configmaps')}/${name}`);
    }
  }

  async #deleteNamespace(): Promise<void> {
    await this.#options.client.delete(`/api/v1/namespaces/${DOOMED}`);
    await this.#gone(`/api/v1/namespaces/${DOOMED}`);
  }

  /** Every Deployment of a namespace has these replicas of its newest template, and its Service leads to all of them. */
  async #deployed(namespace: string, replicas: number): Promise<void> {
    for (const name of this.#deployments) {
      await this.#status(`${apps(namespace, 'deployments')}/${name}`, {
        replicas,
        updatedReplicas: replicas,
        availableReplicas: replicas,
        terminatingReplicas: 0,
      });
    }
  }

  async #reconciled(namespace: string): Promise<void> {
    for (const name of this.#widgets) await this.#status(`${widgets(namespace)}/${name}`, { phase: 'Ready' });
  }

  /** The status has these fields (undefined: absent) and is about the present generation. */
  async #status(path: string, wanted: Readonly<Record<string, unknown>>): Promise<void> {
    let last: unknown;
    await this.#until(
      () => `${path} has ${JSON.stringify(wanted)}, not ${JSON.stringify(last)}`,
      async () => {
        const { metadata, status = {} } = await this.#options.direct.get<Counted>(path);
        last = status;
        const seen = status['observedGeneration'] ?? metadata.generation;
        return seen === metadata.generation && Object.entries(wanted).every(([key, value]) => status[key] === value);
      },
    );
  }

  async #found(path: string): Promise<void> {
    await this.#until(`${path} is there`, async () => (await this.#options.direct.request('GET', path)).status === 200);
  }

  async #gone(path: string): Promise<void> {
    await this.#until(`${path} is gone`, async () => (await this.#options.direct.request('GET', path)).status === 404);
  }

  async #until(what: string | (() => string), probe: () => Promise<boolean>): Promise<void> {
    const { timeoutMs } = this.#options;
    try {
      await eventually({ what: 'the workload', timeoutMs }, probe);
    } catch (cause) {
      throw new Error(`not within ${timeoutMs / 1_000} s: ${typeof what === 'string' ? what : what()}`, { cause });
    }
  }

  async #timed(step: string, run: () => Promise<void>): Promise<void> {
    const start = performance.now();
    await run();
    this.seconds.set(step, Math.round((performance.now() - start) / 100) / 10);
  }
}

function numbered(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${name}-${index}`);
}
