import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Child } from './child.ts';
import { type CommandResult, run } from './command.ts';
import { eventually, GiveUp } from './eventually.ts';
import type { KubeClient, KubeObject } from './kube-client.ts';

const READY_TIMEOUT_MS = 45_000;

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
}

type ProbeName = 'startupProbe' | 'readinessProbe' | 'livenessProbe';

export interface Container extends Readonly<Partial<Record<ProbeName, Probe>>> {
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly {
    readonly name: string;
    readonly value?: string;
    readonly valueFrom?: { readonly fieldRef: { readonly fieldPath: string } };
  }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

interface Volume {
  readonly name: string;
  readonly configMap?: { readonly name: string };
  readonly secret?: { readonly secretName: string };
}

/** A pod template as kube-apiserver gives it, as far as charts of ours use it. */
export interface PodTemplate {
  readonly metadata: { readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly serviceAccountName?: string;
    readonly automountServiceAccountToken?: boolean;
    readonly containers: readonly [Container];
    readonly volumes?: readonly Volume[];
  };
}

export interface PodsOptions {
  readonly namespace: string;
  readonly dir: string;
  /** May read the namespace and make tokens. */
  readonly admin: KubeClient;
  /** What images run, by their repository. */
  readonly entryPoints: Readonly<Record<string, readonly string[]>>;
  readonly path: string;
}

/**
 * Runs pods as processes of this machine, as a kubelet would: with the command, the environment, the files and the
 * token their templates ask for. Something stands for what only a pod has of its own:
 *
 * - an address of 127.0.0.0/8 for 0.0.0.0, so that all keep their ports (--bind-address, whose default that is, is given);
 * - directories for the paths at which volumes are mounted, in arguments, variables and ConfigMaps;
 * - addresses for the names of pods of headless Services;
 * - $KUBECONFIG for the service account's files, whose place is fixed.
 */
export class Pods {
  readonly #options: PodsOptions;
  readonly #network = `127.${between(16, 254)}.${between(0, 255)}`;
  readonly #addresses = new Map<string, string>();
  readonly #running: RunningPod[] = [];

  constructor(options: PodsOptions) {
    this.#options = options;
  }

  /** Those of a component, or all. */
  running(component?: string): readonly RunningPod[] {
    return this.#running.filter(
      ({ labels }) => component === undefined || labels['app.kubernetes.io/component'] === component,
    );
  }

  /** Resolves once its startup and readiness probes succeed. */
  async start(name: string, template: PodTemplate): Promise<RunningPod> {
    const { dir, entryPoints, path } = this.#options;
    const { spec } = template;
    const [container] = spec.containers;
    const home = join(dir, name);
    const mounts = await this.#mount(home, spec);
    const here = (text: string): string => this.#here(text, { name, mounts });
    await this.#fill(spec, mounts, here);
    const env: Record<string, string> = { PATH: path, HOME: join(home, 'nothing-may-be-written-here') };
    for (const { name: variable, value, valueFrom } of container.env ?? []) {
      env[variable] = valueFrom === undefined ? here(value ?? '') : field(valueFrom.fieldRef.fieldPath, name);
    }
    env['DOGWATCH_BIND_ADDRESS'] = this.#addressOf(name);
    if (spec.automountServiceAccountToken !== false) env['KUBECONFIG'] = await this.#serviceAccount(home, spec);
    const entryPoint = container.command ?? entryPoints[container.image.split(':')[0] ?? ''];
    if (entryPoint === undefined) throw new Error(`nobody said what the image ${container.image} runs`);
    const [command = '', ...before] = entryPoint;
    const args = [...before, ...(container.args ?? []).map(here)];
    const child = await Child.start({ name, command, args, env, logFile: join(dir, `${name}.log`) });
    const pod = new RunningPod({ name, template, child, address: this.#addressOf(name), env, entryPoint });
    this.#running.push(pod);
    await pod.ready();
    return pod;
  }

  /** Where a Service leads: every address and port it has, as the endpoint controller would find them. */
  async endpoints(service: string, port: string): Promise<string[]> {
    const { spec } = await this.#get<ServiceObject>('services', service);
    const target = spec.ports.find(({ name }) => name === port)?.targetPort;
    if (target === undefined) throw new Error(`the service ${service} has no port ${port}`);
    return this.#running
      .filter(({ labels }) => Object.entries(spec.selector).every(([key, value]) => labels[key] === value))
      .map((pod) => `${pod.address}:${pod.port(target)}`);
  }

  /** Ends all at once and at any price. */
  async kill9(): Promise<void> {
    await Promise.all(this.#running.map(({ child }) => child.kill9()));
  }

  /** Directories of all volumes by the path they are mounted at. */
  async #mount(home: string, { containers: [container] }: PodTemplate['spec']): Promise<ReadonlyMap<string, string>> {
    const mounts = new Map<string, string>();
    for (const { name, mountPath } of container.volumeMounts ?? []) {
      mounts.set(mountPath, join(home, name));
      await mkdir(join(home, name), { recursive: true });
    }
    return mounts;
  }

  /** Writes what is in Secrets and ConfigMaps. */
  async #fill(
    { containers: [container], volumes = [] }: PodTemplate['spec'],
    mounts: ReadonlyMap<string, string>,
    here: (text: string) => string,
  ): Promise<void> {
    for (const { name, configMap, secret } of volumes) {
      const path = container.volumeMounts?.find((mount) => mount.name === name)?.mountPath ?? '';
      const directory = mounts.get(path);
      if (directory === undefined) throw new Error(`the volume ${name} is mounted nowhere`);
      const files =
        configMap === undefined
          ? mapped(await this.#data('secrets', secret?.secretName), (text) => Buffer.from(text, 'base64'))
          : mapped(await this.#data('configmaps', configMap.name), here);
      for (const [file, content] of files) await writeFile(join(directory, file), content, { mode: 0o400 });
    }
  }

  async #data(resource: string, name: string | undefined): Promise<Readonly<Record<string, string>>> {
    if (name === undefined) return {};
    return (await this.#get<{ readonly data: Record<string, string> }>(resource, name)).data;
  }

  /** A kubeconfig of nothing but what a service account's volume holds. */
  async #serviceAccount(home: string, { serviceAccountName = 'default' }: PodTemplate['spec']): Promise<string> {
    const { admin, namespace } = this.#options;
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccountName}/token`;
    const { status } = await admin.create<{ readonly status: { readonly token: string } }>(path, {});
    const file = (name: string): string => join(home, name);
    await writeFile(file('token'), status.token, { mode: 0o600 });
    await writeFile(file('ca.crt'), admin.endpoint.ca);
    const cluster = { server: admin.endpoint.server, 'certificate-authority': file('ca.crt') };
    const config = {
      clusters: [{ name: 'here', cluster }],
      users: [{ name: 'pod', user: { tokenFile: file('token') } }],
      contexts: [{ name: 'here', context: { cluster: 'here', user: 'pod' } }],
      'current-context': 'here',
    };
    await writeFile(file('kubeconfig'), JSON.stringify(config));
    return file('kubeconfig');
  }

  #here(text: string, pod: { readonly name: string; readonly mounts: ReadonlyMap<string, string> }): string {
    const { namespace } = this.#options;
    let result = text.replaceAll('0.0.0.0', this.#addressOf(pod.name));
    for (const [path, directory] of pod.mounts) {
      result = result.replaceAll(new RegExp(`(?<![\\w/.-])${path}(?=[/\\s]|$)`, 'g'), directory);
    }
    // POD.SERVICE of a StatefulSet, which bear the same name but for the pod's number.
    const named = new RegExp(`\\b([a-z0-9-]+)(-\\d+)\\.\\1(?:\\.${namespace}\\.svc)?(?=[:\\s,]|$)`, 'g');
    return result.replaceAll(named, (_, set: string, number: string) => this.#addressOf(set + number));
  }

  #addressOf(name: string): string {
    const known = this.#addresses.get(name) ?? `${this.#network}.${this.#addresses.size + 1}`;
    this.#addresses.set(name, known);
    return known;
  }

  #get<T = KubeObject>(resource: string, name: string): Promise<T> {
    const { admin, namespace } = this.#options;
    return admin.get<T>(`/api/v1/namespaces/${namespace}/${resource}/${name}`);
  }
}

interface ServiceObject {
  readonly spec: {
    readonly selector: Readonly<Record<string, string>>;
    readonly ports: readonly { readonly name: string; readonly targetPort: string }[];
  };
}

interface Started {
  readonly name: string;
  readonly template: PodTemplate;
  readonly child: Child;
  readonly address: string;
  readonly env: Readonly<Record<string, string>>;
  readonly entryPoint: readonly string[];
}

/** One pod's process. */
export class RunningPod {
  readonly name: string;
  readonly child: Child;
  readonly address: string;
  readonly env: Readonly<Record<string, string>>;
  readonly #template: PodTemplate;
  readonly #entryPoint: readonly string[];

  constructor({ name, template, child, address, env, entryPoint }: Started) {
    this.name = name;
    this.child = child;
    this.address = address;
    this.env = env;
    this.#template = template;
    this.#entryPoint = entryPoint;
  }

  get labels(): Readonly<Record<string, string>> {
    return this.#template.metadata.labels;
  }

  /** The number of a port of its container. */
  port(name: string): number {
    const found = this.#container.ports?.find((port) => port.name === name);
    if (found === undefined) throw new Error(`${this.name} has no port ${name}`);
    return found.containerPort;
  }

  /** Status that a probe gets now; undefined if there is no such probe. */
  async probe(name: ProbeName): Promise<number | undefined> {
    const probe = this.#container[name];
    if (probe === undefined) return undefined;
    const { path, port } = probe.httpGet;
    return (await fetch(`http://${this.address}:${this.port(port)}${path}`)).status;
  }

  /** As `kubectl exec POD -- COMMAND ARGS`, the command being what its image runs. */
  exec(args: readonly string[]): Promise<CommandResult> {
    const [command = '', ...before] = this.#entryPoint;
    return run(command, [...before, ...args], { env: this.env });
  }

  /** As for a kubelet, the startup probe has said all it has to say once it has succeeded. */
  async ready(): Promise<void> {
    for (const name of ['startupProbe', 'readinessProbe'] as const) {
      await eventually({ what: `${name} of ${this.name} succeeds`, timeoutMs: READY_TIMEOUT_MS }, async () => {
        try {
          this.child.assertAlive();
        } catch (error) {
          throw new GiveUp(error);
        }
        return [undefined, 200].includes(await this.probe(name));
      });
    }
  }

  get #container(): Container {
    return this.#template.spec.containers[0];
  }
}

function mapped<T>(data: Readonly<Record<string, string>>, map: (text: string) => T): [name: string, content: T][] {
  return Object.entries(data).map(([name, text]) => [name, map(text)]);
}

function field(path: string, name: string): string {
  if (path === 'metadata.name') return name;
  throw new Error(`the field ${path} of a pod is not known here`);
}

function between(low: number, high: number): number {
  return low + Math.floor(Math.random() * (high - low + 1));
}
