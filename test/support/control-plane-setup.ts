import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CertificateAuthority, signingKey } from './certificates.ts';
import { AUDIT_POLICY, tokenFile, type TokenUser, tokenUsers } from './control-plane-users.ts';
import { freePorts } from './free-ports.ts';
import { kineFlags, STORE } from './kine.ts';
import { type Endpoint, kubeconfig } from './kube-client.ts';

/** The parts of a control plane, in the order in which they start. */
export const COMPONENTS = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const;
export type Component = (typeof COMPONENTS)[number];

export interface ControlPlaneOptions {
  /** Default: etcd and kube-apiserver. */
  readonly components?: readonly Component[];
  /** Those of them that the test starts itself, by `restart`. */
  readonly later?: readonly Component[];
  /** Nodes whose kubelets get a token (user system:node:NAME). */
  readonly nodes?: readonly string[];
  readonly apiserverFlags?: readonly string[];
}

/** What a component is started with besides, where a test wants it otherwise. */
export interface ComponentOptions {
  /** For controllers; default: kube-apiserver's, as admin. */
  readonly kubeconfig?: string;
  readonly flags?: readonly string[];
}

/** Everything that is decided before the first process starts. */
export interface Setup {
  readonly dir: string;
  readonly ports: Readonly<Record<Component | 'etcd-peer', number>>;
  readonly users: ReadonlyMap<string, TokenUser>;
  /** Signs the servers' certificates and those of certificate users. */
  readonly authority: CertificateAuthority;
  readonly apiserver: Endpoint;
}

const AUDIT_LOG = 'audit.log';

/** Picks ports and writes keys, certificates, tokens and policies into a new directory. */
export async function prepare(options: ControlPlaneOptions): Promise<Setup> {
  const dir = await mkdtemp(join(tmpdir(), 'dogwatch-'));
  const [etcd = 0, peer = 0, apiserver = 0, controllerManager = 0, scheduler = 0] = await freePorts(5);
  const authority = new CertificateAuthority('dogwatch test');
  const serving = authority.server();
  const serviceAccounts = signingKey();
  const users = tokenUsers(options.nodes ?? []);
  const endpoint = { server: `https://127.0.0.1:${apiserver}`, ca: authority.certificate };
  const admin = users.get('admin');
  if (admin === undefined) throw new Error('the token file has no admin');
  const files: Record<string, string> = {
    'ca.crt': authority.certificate,
    'server.crt': serving.certificate,
    'server.key': serving.privateKey,
    'sa.key': serviceAccounts.privateKey,
    'sa.pub': serviceAccounts.publicKey,
    'tokens.csv': tokenFile(users.values()),
    'audit-policy.json': JSON.stringify(AUDIT_POLICY),
    'admin.kubeconfig': kubeconfig(endpoint, { token: admin.token }),
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text, { mode: 0o600 });
  return {
    dir,
    ports: {
      etcd,
      'etcd-peer': peer,
      'kube-apiserver': apiserver,
      'kube-controller-manager': controllerManager,
      'kube-scheduler': scheduler,
    },
    users,
    authority,
    apiserver: endpoint,
  };
}

/** Where a component says that it is ready: etcd or kine over HTTP, the others over TLS with the test authority. */
export function healthUrl({ ports }: Setup, component: Component): URL {
  switch (component) {
    case 'etcd':
      return STORE === 'kine'
        ? new URL(`http://127.0.0.1:${ports['etcd-peer']}/metrics`)
        : new URL(`http://127.0.0.1:${ports.etcd}/readyz`);
    case 'kube-apiserver':
      return new URL(`https://127.0.0.1:${ports[component]}/readyz`);
    case 'kube-controller-manager':
    case 'kube-scheduler':
      return new URL(`https://127.0.0.1:${ports[component]}/healthz`);
  }
}

/** Path of kube-apiserver's audit log. */
export function auditLog({ dir }: Setup): string {
  return join(dir, AUDIT_LOG);
}

/** The command line of a component. */
export function flags(setup: Setup, component: Component, options: ControlPlaneOptions & ComponentOptions): string[] {
  return [...defaultFlags(setup, component, options), ...(options.flags ?? [])];
}

function defaultFlags(setup: Setup, component: Component, options: ControlPlaneOptions & ComponentOptions): string[] {
  const file = (name: string): string => join(setup.dir, name);
  switch (component) {
    case 'etcd':
      return STORE === 'kine' ? flagsOfKine(setup) : etcdFlags(setup);
    case 'kube-apiserver':
      return apiserverFlags(setup, options);
    case 'kube-controller-manager':
      return [
        ...controllerFlags(setup, component, options.kubeconfig),
        `--service-account-private-key-file=${file('sa.key')}`,
        `--root-ca-file=${file('ca.crt')}`,
      ];
    case 'kube-scheduler':
      return controllerFlags(setup, component, options.kubeconfig);
  }
}

/** kine in etcd's place: it has no peers, so that their port is its metrics'. */
function flagsOfKine({ dir, ports }: Setup): string[] {
  return kineFlags({ dir, port: ports.etcd, metricsPort: ports['etcd-peer'] });
}

function etcdFlags({ dir, ports }: Setup): string[] {
  const client = `http://127.0.0.1:${ports.etcd}`;
  const peer = `http://127.0.0.1:${ports['etcd-peer']}`;
  return [
    `--data-dir=${join(dir, 'etcd')}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    '--unsafe-no-fsync',
    '--log-level=warn',
  ];
}

function apiserverFlags(setup: Setup, options: ControlPlaneOptions): string[] {
  const file = (name: string): string => join(setup.dir, name);
  // Without a controller manager nobody makes the service accounts that this plugin asks for.
  const withoutAccounts = options.components?.includes('kube-controller-manager') !== true;
  return [
    `--etcd-servers=http://127.0.0.1:${setup.ports.etcd}`,
    '--bind-address=127.0.0.1',
    `--secure-port=${setup.ports['kube-apiserver']}`,
    `--cert-dir=${file('apiserver')}`,
    `--tls-cert-file=${file('server.crt')}`,
    `--tls-private-key-file=${file('server.key')}`,
    `--client-ca-file=${file('ca.crt')}`,
    `--token-auth-file=${file('tokens.csv')}`,
    '--authorization-mode=Node,RBAC',
    `--service-account-key-file=${file('sa.pub')}`,
    `--service-account-signing-key-file=${file('sa.key')}`,
    '--service-account-issuer=https://kubernetes.default.svc',
    '--service-cluster-ip-range=10.0.0.0/24',
    '--kubelet-preferred-address-types=InternalIP',
    `--audit-policy-file=${file('audit-policy.json')}`,
    `--audit-log-path=${file(AUDIT_LOG)}`,
    ...(withoutAccounts ? ['--disable-admission-plugins=ServiceAccount'] : []),
    ...(options.apiserverFlags ?? []),
  ];
}

function controllerFlags(
  { dir, ports }: Setup,
  component: 'kube-controller-manager' | 'kube-scheduler',
  kubeconfigFile = join(dir, 'admin.kubeconfig'),
): string[] {
  const file = (name: string): string => join(dir, name);
  return [
    `--kubeconfig=${kubeconfigFile}`,
    '--bind-address=127.0.0.1',
    `--secure-port=${ports[component]}`,
    `--tls-cert-file=${file('server.crt')}`,
    `--tls-private-key-file=${file('server.key')}`,
    '--leader-elect=false',
  ];
}
