import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { get as httpGet } from 'node:http';
import { get as httpsGet } from 'node:https';
import { join } from 'node:path';
import { type AssetName, assetPath } from './assets.ts';
import type { CertificateAuthority } from './certificates.ts';
import { Child } from './child.ts';
import {
  auditLog,
  type Component,
  type ComponentOptions,
  COMPONENTS,
  type ControlPlaneOptions,
  flags,
  healthUrl,
  prepare,
  type Setup,
} from './control-plane-setup.ts';
import { type AuditEvent, DOGWATCH_BINDING, DOGWATCH_ROLE, parseAuditLog } from './control-plane-users.ts';
import { Etcd } from './etcd.ts';
import { eventually, GiveUp } from './eventually.ts';
import { freePorts } from './free-ports.ts';
import { type Endpoint, kubeconfig, KubeClient } from './kube-client.ts';
import { NEEDS_ETCD, STORE } from './kine.ts';
import { parsePrometheusText, type Sample } from './prometheus-text.ts';

const READY_TIMEOUT_MS = 90_000;

export interface ExtraChild {
  readonly asset: AssetName;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly pipe?: boolean;
}

/** A real control plane on loopback with its own directory, ports, users and certificates. */
export class ControlPlane {
  readonly dir: string;
  /** kube-apiserver itself. */
  readonly endpoint: Endpoint;
  readonly admin: KubeClient;
  /** Signs the client certificates that kube-apiserver accepts; its own is in `clientCaFile`. */
  readonly authority: CertificateAuthority;
  readonly clientCaFile: string;
  readonly #setup: Setup;
  readonly #options: ControlPlaneOptions;
  readonly #children = new Map<string, Child>();
  #files = 0;

  private constructor(setup: Setup, options: ControlPlaneOptions) {
    this.dir = setup.dir;
    this.endpoint = setup.apiserver;
    this.authority = setup.authority;
    this.clientCaFile = join(setup.dir, 'ca.crt');
    this.#setup = setup;
    this.#options = options;
    this.admin = this.client('admin');
  }

  /** Throws where NEEDS_ETCD says why there is none. */
  get etcd(): Etcd {
    if (NEEDS_ETCD !== undefined) throw new Error(NEEDS_ETCD);
    return new Etcd(this.#setup.ports.etcd);
  }

  /** Starts the components one after the other, each awaited until it says that it is ready. */
  static async start(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
    const plane = new ControlPlane(await prepare(options), options);
    const wanted = options.components ?? ['etcd', 'kube-apiserver'];
    try {
      for (const component of COMPONENTS.filter((name) => wanted.includes(name) && !options.later?.includes(name))) {
        await plane.restart(component);
        if (component === 'kube-apiserver') await plane.#grant();
      }
      return plane;
    } catch (error) {
      await plane.stop().catch(() => undefined); // the reason is `error`
      throw error;
    }
  }

  /** A client for a user of the token file, of kube-apiserver itself unless another endpoint is given. */
  client(user: string, endpoint = this.endpoint): KubeClient {
    return new KubeClient(endpoint, { token: this.token(user) });
  }

  token(user: string): string {
    const found = this.#setup.users.get(user);
    if (found === undefined) throw new Error(`no user ${user} in the token file`);
    return found.token;
  }

  /** Writes a kubeconfig for a user of the token file and a server, and returns its path. */
  kubeconfig(user: string, endpoint = this.endpoint): Promise<string> {
    return this.#write(kubeconfig(endpoint, { token: this.token(user) }));
  }

  /** As `kubeconfig`, with a client certificate for any name and groups. */
  certificateKubeconfig(user: string, groups: readonly string[], endpoint = this.endpoint): Promise<string> {
    const { certificate, privateKey } = this.authority.client(user, groups);
    return this.#write(kubeconfig(endpoint, { cert: certificate, key: privateKey }));
  }

  kill9(component: Component): Promise<void> {
    return this.#child(component).kill9();
  }

  /** Starts a component (again: on its old port and data) and awaits its readiness. */
  async restart(component: Component, options: ComponentOptions = {}): Promise<void> {
    const child = await this.startChild(component, {
      asset: component === 'etcd' ? STORE : component,
      args: flags(this.#setup, component, { ...this.#options, ...options }),
    });
    await eventually({ what: `${component} is ready`, timeoutMs: READY_TIMEOUT_MS }, () =>
      this.#ready(component, child),
    );
  }

  /** For /proc. */
  pid(component: Component): number {
    return this.#child(component).pid;
  }

  /** kube-apiserver's own metrics; its counters start at 0 again when it restarts. */
  async metrics(): Promise<Sample[]> {
    const response = await this.admin.request('GET', '/metrics', { headers: { accept: 'text/plain' } });
    if (response.status !== 200) throw new Error(`/metrics of kube-apiserver: ${response.status}`);
    return parsePrometheusText(response.body);
  }

  /** Every LIST and WATCH that dogwatch asked for itself since the control plane started, oldest first. */
  async audit(): Promise<AuditEvent[]> {
    return parseAuditLog(await readFile(auditLog(this.#setup), 'utf8'));
  }

  /** A real kubelet over a fake container runtime. Its Ready condition is the caller's to await. */
  async startKubelet(name: string, kubeconfigFile: string, extraFlags: readonly string[] = []): Promise<Child> {
    const [port, readOnlyPort] = await freePorts(2);
    const scratch = join(this.dir, `kubelet-${name}`);
    await mkdir(scratch, { recursive: true });
    return this.startChild(`kubelet-${name}`, {
      asset: 'kubemark',
      args: [
        '--morph=kubelet',
        `--name=${name}`,
        `--kubeconfig=${kubeconfigFile}`,
        '--use-host-image-service=false',
        `--kubelet-port=${port}`,
        `--kubelet-read-only-port=${readOnlyPort}`,
        `--cert-dir=${scratch}`,
        ...extraFlags,
      ],
      env: { ...process.env, TMPDIR: scratch },
    });
  }

  /** Another process that ends with the control plane; its log is `name`.log. */
  async startChild(name: string, { asset, ...options }: ExtraChild): Promise<Child> {
    const child = await Child.start({
      name,
      command: assetPath(asset),
      logFile: join(this.dir, `${name}.log`),
      ...options,
    });
    this.#children.set(name, child);
    return child;
  }

  /** Throws with the end of its log if a process of the control plane has died by itself. */
  assertNoneDied(): void {
    for (const child of this.#children.values()) child.assertNotFailed();
  }

  /**
   * Ends every child by its pid (SIGKILL: a kube-apiserver with open watches takes a minute to go by itself) and
   * removes the directory unless KEEP_TEST_DIRS is set. Throws if a child had died by itself or is left.
   */
  async stop(): Promise<void> {
    const died: unknown[] = [];
    for (const child of [...this.#children.values()].toReversed()) {
      try {
        child.assertNotFailed();
      } catch (error) {
        died.push(error);
      }
      await child.kill9();
    }
    this.admin.close();
    if (process.env['KEEP_TEST_DIRS'] === undefined) await rm(this.dir, { recursive: true, force: true });
    if (died.length > 0) throw new AggregateError(died, died.map(String).join('\n'));
  }

  async #ready(component: Component, child: Child): Promise<boolean> {
    try {
      child.assertAlive();
    } catch (error) {
      throw new GiveUp(error);
    }
    return (await statusOf(healthUrl(this.#setup, component), this.endpoint.ca)) === 200;
  }

  /** Upstream answers 200 to /readyz before its bootstrap roles are there, so conflicts and refusals are retried. */
  async #grant(): Promise<void> {
    const rbac = '/apis/rbac.authorization.k8s.io/v1';
    await this.admin.create(`${rbac}/clusterroles`, DOGWATCH_ROLE);
    await this.admin.create(`${rbac}/clusterrolebindings`, DOGWATCH_BINDING);
  }

  #child(name: string): Child {
    const child = this.#children.get(name);
    if (child === undefined) throw new Error(`${name} was not started`);
    return child;
  }

  async #write(text: string): Promise<string> {
    this.#files += 1;
    const path = join(this.dir, `kubeconfig-${this.#files}`);
    await writeFile(path, text, { mode: 0o600 });
    return path;
  }
}

function statusOf(url: URL, ca: string): Promise<number> {
  const get = url.protocol === 'http:' ? httpGet : httpsGet;
  return new Promise((resolve, reject) => {
    get(url, { ca, agent: false, timeout: 5_000 }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    }).on('error', reject);
  });
}
