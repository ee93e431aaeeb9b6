import type { KubeClient } from '../support/kube-client.ts';

/** Beyond the 128 KiB from which kube-apiserver compresses (row N5). */
const LARGE_TEXT = 'All work and no play makes Jack a dull boy. '.repeat(4_000);

/** Namespaces whose order as strings is not that of their names and what is in them (row L15). */
export const NAMESPACES = ['alpha', 'alpha-1', 'beta', 'beta.x'].map((name) => name.replace('.', '-'));

/** Encodings and views a lane can be of. */
const LANES = ['application/json', 'application/vnd.kubernetes.protobuf'].flatMap((type) => [
  type,
  `${type};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1`,
]);

interface Discovery {
  readonly groups: readonly { readonly versions: readonly { readonly groupVersion: string }[] }[];
}

interface Served {
  readonly resources: readonly { readonly name: string; readonly verbs: readonly string[] }[];
}

/** Has all lanes opened that `through` can have: the lists informers begin with open them. */
export async function openLanes(through: KubeClient): Promise<void> {
  const { groups } = await through.get<Discovery>('/apis');
  const versions = groups.flatMap((group) => group.versions.map(({ groupVersion }) => `/apis/${groupVersion}`));
  for (const version of ['/api/v1', ...versions]) {
    const { resources } = await through.get<Served>(version);
    for (const { name } of resources.filter(({ verbs }) => verbs.includes('watch'))) {
      const path = `${version}/${name}?resourceVersion=0`;
      await Promise.all(LANES.map((accept) => through.request('GET', path, { headers: { accept } })));
    }
  }
}

type Body = Readonly<Record<string, unknown>>;

const POD_SPEC = { containers: [{ name: 'c', image: 'pause' }] };
const TEMPLATE = { metadata: { labels: { app: 'x' } }, spec: POD_SPEC };
const SELECTOR = { matchLabels: { app: 'x' } };
const STORAGE = { resources: { requests: { storage: '1Gi' } }, accessModes: ['ReadWriteOnce'] };
const WEBHOOK = {
  name: 'never.verify.example.com',
  clientConfig: { url: 'https://127.0.0.1:1/never' },
  rules: [{ apiGroups: ['never.example.com'], apiVersions: ['v1'], resources: ['nevers'], operations: ['CREATE'] }],
  failurePolicy: 'Ignore',
  sideEffects: 'None',
  admissionReviewVersions: ['v1'],
};

/** Of a custom resource kube-apiserver wants to be told the type. */
function custom(kind: string, body: Body): Body {
  return { apiVersion: 'verify.example.com/v1', kind, ...body };
}

/** By the path of the collection, with the part of each object that is not its metadata. */
const NAMESPACED: readonly (readonly [path: string, body: (i: number) => Body])[] = [
  ['/api/v1/configmaps', (i) => ({ data: { key: `value ${i}`, odd: 'ä€😀<&>\u2028' } })],
  ['/api/v1/secrets', (i) => ({ type: i % 2 === 0 ? 'Opaque' : 'example.com/odd', stringData: { key: `value ${i}` } })],
  [
    '/api/v1/pods',
    (i) => ({ spec: { ...POD_SPEC, nodeName: `node-${i % 3}`, restartPolicy: i % 2 === 0 ? 'Always' : 'Never' } }),
  ],
  ['/api/v1/podtemplates', () => ({ template: TEMPLATE })],
  ['/api/v1/services', (i) => ({ spec: { ports: [{ port: 80 + i }], ...(i % 2 === 0 ? {} : { clusterIP: 'None' }) } })],
  ['/api/v1/endpoints', () => ({ subsets: [{ addresses: [{ ip: '10.1.2.3' }], ports: [{ port: 80 }] }] })],
  ['/api/v1/serviceaccounts', () => ({})],
  ['/api/v1/replicationcontrollers', (i) => ({ spec: { replicas: i, selector: { app: 'x' }, template: TEMPLATE } })],
  ['/api/v1/limitranges', () => ({ spec: { limits: [{ type: 'Pod', max: { cpu: '64' } }] } })],
  ['/api/v1/resourcequotas', () => ({ spec: { hard: { 'count/nevers.example.com': '9' } } })],
  ['/api/v1/persistentvolumeclaims', () => ({ spec: { ...STORAGE, storageClassName: 'none' } })],
  ['/apis/apps/v1/deployments', (i) => ({ spec: { replicas: i, selector: SELECTOR, template: TEMPLATE } })],
  ['/apis/apps/v1/replicasets', (i) => ({ spec: { replicas: i % 3, selector: SELECTOR, template: TEMPLATE } })],
  ['/apis/apps/v1/daemonsets', () => ({ spec: { selector: SELECTOR, template: TEMPLATE } })],
  ['/apis/apps/v1/statefulsets', () => ({ spec: { serviceName: 's', selector: SELECTOR, template: TEMPLATE } })],
  ['/apis/apps/v1/controllerrevisions', (i) => ({ revision: i, data: { any: 'thing' } })],
  [
    '/apis/batch/v1/jobs',
    () => ({ spec: { template: { spec: { ...POD_SPEC, restartPolicy: 'Never' } }, backoffLimit: 1 } }),
  ],
  [
    '/apis/batch/v1/cronjobs',
    () => ({
      spec: {
        schedule: '@yearly',
        jobTemplate: { spec: { template: { spec: { ...POD_SPEC, restartPolicy: 'Never' } } } },
      },
    }),
  ],
  [
    '/apis/autoscaling/v2/horizontalpodautoscalers',
    () => ({ spec: { maxReplicas: 3, scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'd' } } }),
  ],
  ['/apis/policy/v1/poddisruptionbudgets', () => ({ spec: { minAvailable: 1, selector: SELECTOR } })],
  [
    '/apis/networking.k8s.io/v1/ingresses',
    () => ({ spec: { defaultBackend: { service: { name: 's', port: { number: 80 } } } } }),
  ],
  ['/apis/networking.k8s.io/v1/networkpolicies', () => ({ spec: { podSelector: SELECTOR } })],
  [
    '/apis/rbac.authorization.k8s.io/v1/roles',
    () => ({ rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get'] }] }),
  ],
  [
    '/apis/coordination.k8s.io/v1/leases',
    (i) => ({ spec: { holderIdentity: `holder-${i}`, leaseDurationSeconds: 9 } }),
  ],
  [
    '/apis/discovery.k8s.io/v1/endpointslices',
    () => ({ addressType: 'IPv4', endpoints: [{ addresses: ['10.1.2.3'] }], ports: [{ port: 80 }] }),
  ],
  [
    '/apis/storage.k8s.io/v1/csistoragecapacities',
    () => ({ storageClassName: 'none', nodeTopology: SELECTOR, capacity: '1Gi' }),
  ],
  [
    '/apis/verify.example.com/v1/plains',
    (i) => custom('Plain', { spec: { size: i, 'odd key': [1, null, { a: 'ü' }] } }),
  ],
  [
    '/apis/verify.example.com/v1/selectables',
    (i) => custom('Selectable', { spec: { color: i % 2 === 0 ? 'red' : 'blue', size: i } }),
  ],
  ['/apis/verify.example.com/v1/manies', (i) => custom('Many', { spec: { size: i } })],
  [
    '/apis/verify.example.com/v1/printeds',
    (i) => custom('Printed', { spec: { size: i, when: '2026-01-02T03:04:05Z' } }),
  ],
];

const CLUSTER_SCOPED: readonly (readonly [path: string, body: (i: number) => Body])[] = [
  ['/api/v1/nodes', (i) => ({ spec: { unschedulable: i % 2 === 1 } })],
  [
    '/api/v1/persistentvolumes',
    (i) => ({
      spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], hostPath: { path: `/never/${i}` } },
    }),
  ],
  ['/apis/storage.k8s.io/v1/storageclasses', () => ({ provisioner: 'never.example.com' })],
  ['/apis/storage.k8s.io/v1/csidrivers', () => ({ spec: {} })],
  ['/apis/storage.k8s.io/v1/csinodes', () => ({ spec: { drivers: [] } })],
  [
    '/apis/storage.k8s.io/v1/volumeattributesclasses',
    () => ({ driverName: 'never.example.com', parameters: { a: 'b' } }),
  ],
  [
    '/apis/storage.k8s.io/v1/volumeattachments',
    () => ({ spec: { attacher: 'never.example.com', nodeName: 'n', source: { persistentVolumeName: 'p' } } }),
  ],
  ['/apis/node.k8s.io/v1/runtimeclasses', () => ({ handler: 'never' })],
  ['/apis/networking.k8s.io/v1/ingressclasses', () => ({ spec: { controller: 'example.com/never' } })],
  ['/apis/scheduling.k8s.io/v1/priorityclasses', (i) => ({ value: i })],
  ['/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations', () => ({ webhooks: [WEBHOOK] })],
  ['/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations', () => ({ webhooks: [WEBHOOK] })],
  ['/apis/verify.example.com/v1/wides', (i) => custom('Wide', { spec: { size: i } })],
];

/** The CustomResourceDefinitions: plain, selectable, of several versions, printed in columns, and cluster-scoped. */
const DEFINITIONS: readonly Body[] = [
  definition({ kind: 'Plain', plural: 'plains' }),
  definition({
    kind: 'Selectable',
    plural: 'selectables',
    version: { selectableFields: [{ jsonPath: '.spec.color' }] },
  }),
  definition({ kind: 'Many', plural: 'manies', more: ['v1beta1', 'v1alpha1'] }),
  definition({
    kind: 'Printed',
    plural: 'printeds',
    version: {
      additionalPrinterColumns: [
        { name: 'Size', type: 'integer', jsonPath: '.spec.size' },
        { name: 'When', type: 'date', jsonPath: '.spec.when' },
      ],
    },
  }),
  definition({ kind: 'Wide', plural: 'wides', scope: 'Cluster' }),
];

interface Definition {
  readonly kind: string;
  readonly plural: string;
  readonly scope?: 'Cluster';
  readonly version?: Body;
  /** Further versions; the last is deprecated, with a warning of its own. */
  readonly more?: readonly string[];
}

function definition({ kind, plural, scope, version, more = [] }: Definition): Body {
  const schema = {
    openAPIV3Schema: {
      type: 'object',
      properties: {
        spec: {
          type: 'object',
          'x-kubernetes-preserve-unknown-fields': true,
          properties: { size: { type: 'integer' }, color: { type: 'string' }, when: { type: 'string' } },
        },
      },
    },
  };
  const served = { served: true, storage: false, schema };
  const versions = [
    { name: 'v1', ...served, storage: true, ...version },
    ...more.map((name, i) => ({
      name,
      ...served,
      ...(i === more.length - 1 ? { deprecated: true, deprecationWarning: `${kind} ${name} is "old" \\ news` } : {}),
    })),
  ];
  return {
    metadata: { name: `${plural}.verify.example.com` },
    spec: {
      group: 'verify.example.com',
      scope: scope ?? 'Namespaced',
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions,
    },
  };
}

/** Objects of over 40 resources, labelled and selectable in several ways. `ready` says when a path can be listed. */
export async function populate(admin: KubeClient, ready: (path: string) => Promise<unknown>): Promise<void> {
  for (const body of DEFINITIONS) await admin.create('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', body);
  for (const name of NAMESPACES) await admin.create('/api/v1/namespaces', { metadata: { name, labels: { name } } });
  for (const [path, body] of [...NAMESPACED, ...CLUSTER_SCOPED]) {
    await ready(path);
    const namespaced = NAMESPACED.some(([known]) => known === path);
    for (let i = 0; i < 8; i++) {
      const target = namespaced ? inNamespace(path, NAMESPACES[i % NAMESPACES.length] ?? '') : path;
      await admin.create(target, { metadata: metadata(path, i), ...body(i) });
    }
  }
  await populateOdd(admin);
}

async function populateOdd(admin: KubeClient): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await admin.create('/api/v1/namespaces/alpha/configmaps', {
      metadata: { name: `large-${i}`, labels: { large: 'true' } },
      data: { text: LARGE_TEXT },
    });
  }
  const rbac = '/apis/rbac.authorization.k8s.io/v1/namespaces/alpha';
  const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'some-0' };
  await admin.create(`${rbac}/rolebindings`, { metadata: { name: 'some-0' }, roleRef, subjects: [] });
  for (const [i, name] of NAMESPACES.entries()) {
    await admin.create(`/api/v1/namespaces/${name}/events`, {
      metadata: { name: `event-${i}`, labels: { app: 'x' } },
      involvedObject: { kind: 'Pod', namespace: name, name: 'some-0' },
      reason: i % 2 === 0 ? 'Started' : 'Failed',
      type: i % 2 === 0 ? 'Normal' : 'Warning',
      message: 'as it happens',
      source: { component: 'verify' },
      firstTimestamp: '2026-01-02T03:04:05Z',
      lastTimestamp: '2026-01-02T03:04:05Z',
    });
  }
}

function metadata(path: string, i: number): Body {
  // Others take one label.
  const between = /\/(configmaps|secrets|leases|plains|nodes)$/.test(path) ? '.' : '-';
  return {
    name: `${['some', 'some-other', `some${between}more`, 'z'][i % 4]}-${i < 4 ? 0 : i}`,
    labels: { app: i % 2 === 0 ? 'x' : 'y', 'example.com/index': String(i), empty: '' },
    annotations: { 'example.com/odd': '"\\\u0000\u001f<>&ü'.replace('\u0000', '\t') },
    ...(i === 3 ? { finalizers: ['example.com/stays'] } : {}),
  };
}

function inNamespace(path: string, namespace: string): string {
  const at = path.lastIndexOf('/');
  return `${path.slice(0, at)}/namespaces/${namespace}${path.slice(at)}`;
}
