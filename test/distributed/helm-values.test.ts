// What helm makes of the chart in helm/dogwatch, and what kube-apiserver and dogwatch say to that.
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Kubectl } from '../conformance/stage.ts';
import { runOk } from '../support/command.ts';
import { ControlPlane } from '../support/control-plane.ts';
import { chartOptions, lint, render } from '../support/helm.ts';
import type { KubeObject } from '../support/kube-client.ts';
import type { PodTemplate } from '../support/pods.ts';

const DOGWATCH = fileURLToPath(new URL('../../services/cli/dogwatch.js', import.meta.url));
const ROLES = ['ingest', 'shard', 'fanout'] as const;
type Role = (typeof ROLES)[number];

/** Options the chart gives by itself, and those that make no sense in a pod. */
const NOT_VALUES = (
  'name nats-servers nats-creds nats-ca-file nats-cert-file nats-key-file tls-cert-file tls-private-key-file ' +
  'client-ca-file tls-san cert-dir config kubeconfig context write-kubeconfig'
).split(' ');

const tolerations = [{ key: 'node-role.kubernetes.io/control-plane', operator: 'Exists', effect: 'NoSchedule' }];
const nodeSelector = { 'node-role.kubernetes.io/control-plane': '' };
const affinity = {
  podAntiAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: [
      { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: 'other' } } },
    ],
  },
};

/** Everything that another installation may want to be different. */
const OTHER_VALUES = {
  image: { repository: 'registry.example.com/dogwatch', tag: '1.2.3', pullPolicy: 'Always' },
  imagePullSecrets: [{ name: 'pull' }],
  options: { v: 4, 'nats-prefix': 'two', 'nats-replicas': 5 },
  ingest: {
    replicas: 3,
    options: { 'log-bytes': 1_073_741_824, 'log-age': '2h', partitions: ['pods=8', 'leases.coordination.k8s.io=32'] },
    rules: [{ apiGroups: [''], resources: ['pods', 'nodes'], verbs: ['get', 'list', 'watch'] }],
    tolerations,
    nodeSelector,
  },
  shard: {
    replicas: 5,
    options: { 'window-bytes': '128Mi' },
    podAnnotations: { 'prometheus.io/scrape': 'true' },
    resources: { requests: { cpu: 1 }, limits: { memory: '8Gi' } },
  },
  fanout: {
    replicas: 4,
    options: { 'secure-port': 8443, 'admin-port': 9000, 'max-connections': 1_000_000 },
    service: { type: 'LoadBalancer', port: 6443, annotations: { 'example.com/internal': 'true' } },
    tls: { secretName: 'serving' },
    clientCaConfigMap: 'client-ca',
    affinity,
  },
  nats: {
    url: 'nats.example.com:4222,10.0.0.1:4222',
    credsSecretName: 'creds',
    tls: { secretName: 'nats-tls', clientCertificate: true },
  },
};

interface Manifest extends KubeObject {
  readonly kind: string;
  readonly spec?: { readonly template?: PodTemplate };
}

let plane: ControlPlane;
let kubectl: Kubectl;

beforeAll(async () => {
  plane = await ControlPlane.start();
  kubectl = new Kubectl(await plane.kubeconfig('admin'));
  await kubectl.ok(['label', 'namespace', 'default', 'pod-security.kubernetes.io/warn=restricted']);
});

afterAll(() => plane?.stop());

test('helm lint --strict has nothing to complain of', async () => {
  const { code, stdout } = await lint();
  const said = stdout.toString();
  expect({ code, said }).toEqual({ code: 0, said: expect.stringContaining('0 chart(s) failed') });
});

describe('values', () => {
  test.each([
    [{ replicas: 2 }, `additional properties 'replicas' not allowed`],
    [{ shard: { replica: 2 } }, `additional properties 'replica' not allowed`],
    [{ nats: { storge: { size: '64Gi' } } }, `additional properties 'storge' not allowed`],
    [{ ingest: { options: { 'log-byts': '1Gi' } } }, `invalid propertyName 'log-byts'`],
    [{ shard: { options: { 'log-bytes': '1Gi' } } }, `invalid propertyName 'log-bytes'`],
    [{ fanout: { options: { 'tls-cert-file': '/mine' } } }, `invalid propertyName 'tls-cert-file'`],
    [{ fanout: { options: { 'secure-port': 0 } } }, 'minimum'],
    [{ nats: { url: 'nats://nats:4222' } }, 'does not match pattern'],
    [{ nats: { storage: { size: '32GB' } } }, 'does not match pattern'],
  ])('%j are refused', async (values, because) => {
    const { code, stderr } = await render('dogwatch', values);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(because) });
  });

  test.each(ROLES)('options of %s are those of its command', async (role) => {
    const known = Object.keys(await configView(role)).filter((name) => !NOT_VALUES.includes(name));
    expect(await chartOptions(role)).toEqual(known.toSorted());
  });
});

describe('kube-apiserver takes every manifest', () => {
  test('of the defaults', async () => {
    const kinds = count(await accepted('dogwatch'));
    expect(kinds).toEqual({
      ClusterRole: 2,
      ClusterRoleBinding: 2,
      ConfigMap: 1,
      Deployment: 2,
      NetworkPolicy: 1,
      PodDisruptionBudget: 4,
      RoleBinding: 1,
      Secret: 1,
      Service: 3,
      ServiceAccount: 3,
      StatefulSet: 2,
    });
  });

  test('of other values, which arrive where they belong', async () => {
    const manifests = await accepted('other', OTHER_VALUES);
    expect(count(manifests)).toEqual({
      ClusterRole: 2,
      ClusterRoleBinding: 2,
      Deployment: 2,
      PodDisruptionBudget: 3,
      RoleBinding: 1,
      Service: 2,
      ServiceAccount: 3,
      StatefulSet: 1,
    });
    const named = (kind: string, name: string): Manifest | undefined =>
      manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === `other-dogwatch-${name}`);
    const image = 'registry.example.com/dogwatch:1.2.3';
    const pod = { containers: [{ image }], imagePullSecrets: [{ name: 'pull' }] };
    expect(named('Deployment', 'ingest')?.spec).toMatchObject({
      replicas: 3,
      template: { spec: { ...pod, tolerations, nodeSelector } },
    });
    expect(named('StatefulSet', 'shard')?.spec).toMatchObject({
      replicas: 5,
      template: { metadata: { annotations: { 'prometheus.io/scrape': 'true' } }, spec: pod },
    });
    const ports = [{ containerPort: 9000 }, { containerPort: 8443 }];
    expect(named('Deployment', 'fanout')?.spec).toMatchObject({
      replicas: 4,
      template: { spec: { ...pod, containers: [{ image, ports }], affinity } },
    });
    expect(named('Service', 'fanout')?.spec).toMatchObject({ type: 'LoadBalancer', ports: [{ port: 6443 }] });
  });

  test('and dogwatch understands every variable in them', async () => {
    const manifests = await accepted('other', OTHER_VALUES);
    const given = (role: Role): Promise<Record<string, string>> => configView(role, variables(manifests, role));
    const common = {
      v: '4',
      'nats-prefix': 'two',
      'nats-replicas': '5',
      'nats-servers': OTHER_VALUES.nats.url,
      'nats-creds': '/nats-creds/nats.creds',
      'nats-key-file': '/nats-tls/tls.key',
    };
    expect(await given('ingest')).toMatchObject({
      ...common,
      'log-bytes': '1073741824',
      'log-age': '2h',
      partitions: 'pods=8,leases.coordination.k8s.io=32',
    });
    expect(await given('shard')).toMatchObject({ ...common, 'window-bytes': '128Mi' });
    expect(await given('fanout')).toMatchObject({
      ...common,
      'secure-port': '8443',
      'admin-port': '9000',
      'max-connections': '1000000',
      'tls-cert-file': '/tls/tls.crt',
      'client-ca-file': '/client-ca/ca.crt',
    });
  });
});

/** What kube-apiserver makes of the rendered chart, which must be without errors, unknown fields and warnings. */
async function accepted(release: string, values: object = {}): Promise<Manifest[]> {
  const rendered = await render(release, values);
  expect(rendered).toMatchObject({ code: 0, stderr: '' });
  const args = ['apply', '--dry-run=server', '--validate=strict', '--output=json', '--filename=-'];
  const { code, stdout, stderr } = await kubectl.run(args, { input: rendered.stdout });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return (JSON.parse(stdout.toString()) as { items: Manifest[] }).items;
}

function count(manifests: readonly Manifest[]): Record<string, number> {
  const kinds: Record<string, number> = {};
  for (const { kind } of manifests) kinds[kind] = (kinds[kind] ?? 0) + 1;
  return kinds;
}

/** Variables of the pods of a role, all of which have their value in the template but for the pod's name. */
function variables(manifests: readonly Manifest[], role: Role): Record<string, string> {
  const labels = (template: PodTemplate | undefined): string | undefined =>
    template?.metadata.labels['app.kubernetes.io/component'];
  const found = manifests.find(({ spec }) => labels(spec?.template) === role);
  const env = found?.spec?.template?.spec.containers[0].env ?? [];
  return Object.fromEntries(env.map(({ name, value = 'some-pod' }) => [name, value]));
}

/** Options of a command by their names, as it understands these variables. */
async function configView(role: Role, env: Record<string, string> = {}): Promise<Record<string, string>> {
  const view = await runOk(process.execPath, [DOGWATCH, 'config', 'view', role], { env });
  const rows = view.trim().split('\n').slice(1);
  return Object.fromEntries(rows.map((row) => row.split(/ {2,}/).slice(0, 2)) as [string, string][]);
}
