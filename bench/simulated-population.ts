import { createHash } from 'node:crypto';
import { GROUP_VERSIONS } from './simulated-discovery.ts';
import type { SimulatedStore } from './simulated-store.ts';
import type { KubeObject } from './simulated-kube-object.ts';
import { writeOptions } from './simulated-writes.ts';
import { WRITTEN_ANNOTATION } from './written-stamp.ts';

export interface Population {
  readonly nodes: number;
  readonly podsPerNode: number;
  /** Namespaces that hold the pods. */
  readonly namespaces: number;
  /** Objects of about 1 KB in namespace `demo`, which the writer updates. */
  readonly configMaps: number;
}

/** What the demo and the tests start from. */
export const SMALL_CLUSTER: Population = { nodes: 200, podsPerNode: 20, namespaces: 10, configMaps: 50 };

export const CREATED = '2026-01-01T00:00:00Z';
const STAMP = { [WRITTEN_ANNOTATION]: '0' };
const SYSTEM_NAMESPACES = ['default', 'demo', 'kube-node-lease', 'kube-public', 'kube-system'];

/** Fills an empty store with a cluster as a fresh kube-apiserver would find it in etcd: objects, no events. */
export function populate(store: SimulatedStore, population: Population): void {
  const add = loader(store);
  const namespaces = [...SYSTEM_NAMESPACES, ...range(population.namespaces).map((index) => `app-${index}`)];
  for (const { group, version } of GROUP_VERSIONS)
    add('apiregistration.k8s.io', 'apiservices', apiService(group, version));
  for (const name of namespaces) addNamespace(add, name);
  for (const index of range(population.namespaces)) {
    add('', 'services', service(`app-${index}`, index));
    add('discovery.k8s.io', 'endpointslices', endpointSlice(`app-${index}`, population.podsPerNode));
  }
  for (const index of range(population.configMaps)) {
    add('', 'configmaps', configMap('demo', `settings-${index}`, { 'settings.yaml': 'x'.repeat(640) }));
  }
  for (const index of range(population.nodes)) addNode(add, index, population);
  add('node.k8s.io', 'runtimeclasses', { metadata: { name: 'runc' }, handler: 'runc' });
  add('scheduling.k8s.io', 'priorityclasses', {
    metadata: { name: 'system-node-critical' },
    value: 2000001000,
    preemptionPolicy: 'PreemptLowerPriority',
  });
  add('storage.k8s.io', 'csidrivers', {
    metadata: { name: 'disk.csi.example.com' },
    spec: { attachRequired: true, podInfoOnMount: true },
  });
  store.forget();
}

/** Loads one object. */
type Add = (group: string, resource: string, object: KubeObject) => void;

/** Loads objects as a fresh kube-apiserver would find them. */
export function loader(store: SimulatedStore): Add {
  return (group, resource, object) => {
    const { namespace = '', name = '' } = object.metadata;
    const uid = uidOf(`${group}/${resource}/${namespace}/${name}`);
    const collection = store.collection(group, resource);
    store.load(writeOptions(collection, { object, namespace, name, uid, creationTimestamp: CREATED }));
  };
}

/** A namespace with what every namespace has in it. */
export function addNamespace(add: Add, name: string): void {
  add('', 'namespaces', namespaceObject(name));
  add('', 'serviceaccounts', { metadata: { name: 'default', namespace: name } });
  add('', 'configmaps', configMap(name, 'kube-root-ca.crt', { 'ca.crt': 'x'.repeat(1100) }));
}

function addNode(add: Add, index: number, population: Population): void {
  const name = `node-${index}`;
  add('', 'nodes', node(name, index));
  add('coordination.k8s.io', 'leases', lease(name));
  add('storage.k8s.io', 'csinodes', { metadata: { name }, spec: { drivers: null } });
  for (const slot of range(population.podsPerNode)) {
    const namespace = `app-${(index + slot) % Math.max(1, population.namespaces)}`;
    add('', 'pods', pod({ namespace, name: `web-${index}-${slot}`, nodeName: name, index, slot }));
  }
}

function range(length: number): number[] {
  return Array.from({ length }, (_, index) => index);
}

/** The same cluster has the same uids, so that two runs can be compared. */
function uidOf(text: string): string {
  const hex = createHash('sha1').update(text).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

function managedFields(fields: object): object[] {
  return [
    {
      manager: 'kubelet',
      operation: 'Update',
      apiVersion: 'v1',
      time: CREATED,
      fieldsType: 'FieldsV1',
      fieldsV1: fields,
      subresource: 'status',
    },
  ];
}

function apiService(group: string, version: string): KubeObject {
  return {
    metadata: { name: `${version}.${group}`, labels: { 'kube-aggregator.kubernetes.io/automanaged': 'onstart' } },
    spec: { ...(group === '' ? {} : { group }), version, groupPriorityMinimum: 18000, versionPriority: 1 },
    status: {
      conditions: [
        {
          type: 'Available',
          status: 'True',
          lastTransitionTime: CREATED,
          reason: 'Local',
          message: 'Local APIServices are always available',
        },
      ],
    },
  };
}

function namespaceObject(name: string): KubeObject {
  return {
    metadata: { name, labels: { 'kubernetes.io/metadata.name': name } },
    spec: { finalizers: ['kubernetes'] },
    status: { phase: 'Active' },
  };
}

function configMap(namespace: string, name: string, data: Record<string, string>): KubeObject {
  const fields = { 'f:data': { '.': {}, 'f:settings.yaml': {} }, 'f:metadata': { 'f:annotations': { '.': {} } } };
  return { metadata: { name, namespace, annotations: STAMP, managedFields: managedFields(fields) }, data };
}

function service(namespace: string, index: number): KubeObject {
  const clusterIP = `10.0.${index >> 8}.${(index & 255) + 1}`;
  return {
    metadata: { name: 'web', namespace, labels: { app: 'web' } },
    spec: {
      ports: [{ name: 'http', protocol: 'TCP', port: 80, targetPort: 8080 }],
      selector: { app: 'web' },
      clusterIP,
      clusterIPs: [clusterIP],
      type: 'ClusterIP',
      sessionAffinity: 'None',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      internalTrafficPolicy: 'Cluster',
    },
    status: { loadBalancer: {} },
  };
}

function endpointSlice(namespace: string, endpoints: number): KubeObject {
  return {
    metadata: { name: 'web-abcde', namespace, labels: { 'kubernetes.io/service-name': 'web' }, annotations: STAMP },
    addressType: 'IPv4',
    endpoints: range(endpoints).map((index) => ({
      addresses: [`10.1.0.${index + 1}`],
      conditions: { ready: true, serving: true, terminating: false },
    })),
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  };
}

export function node(name: string, index: number): KubeObject {
  const address = `10.2.${index >> 8}.${index & 255}`;
  return {
    metadata: {
      name,
      labels: {
        'kubernetes.io/hostname': name,
        'kubernetes.io/os': 'linux',
        'topology.kubernetes.io/zone': `zone-${index % 3}`,
      },
      annotations: STAMP,
    },
    spec: { podCIDR: `10.1.${index & 255}.0/24` },
    status: {
      capacity: { cpu: '8', memory: '32Gi', pods: '110' },
      conditions: [
        {
          type: 'Ready',
          status: 'True',
          lastHeartbeatTime: CREATED,
          lastTransitionTime: CREATED,
          reason: 'KubeletReady',
          message: 'kubelet is posting ready status',
        },
      ],
      addresses: [
        { type: 'InternalIP', address },
        { type: 'Hostname', address: name },
      ],
      daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
      nodeInfo: {
        machineID: name,
        systemUUID: name,
        bootID: name,
        kernelVersion: '6.12',
        osImage: 'simulated',
        containerRuntimeVersion: 'containerd://2.1',
        kubeletVersion: 'v1.37.2',
        kubeProxyVersion: '',
        operatingSystem: 'linux',
        architecture: 'amd64',
      },
    },
  };
}

/** About 800 bytes, as a kubelet's lease with its managed fields. */
export function lease(name: string): KubeObject {
  const fields = {
    'f:metadata': { 'f:ownerReferences': { '.': {}, 'k:{"uid":""}': {} } },
    'f:spec': { 'f:holderIdentity': {}, 'f:leaseDurationSeconds': {}, 'f:renewTime': {} },
  };
  return {
    metadata: {
      name,
      namespace: 'kube-node-lease',
      annotations: STAMP,
      ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name, uid: uidOf(`/nodes//${name}`) }],
      managedFields: managedFields(fields),
    },
    spec: { holderIdentity: name, leaseDurationSeconds: 40, renewTime: '2026-01-01T00:00:00.000000Z' },
  };
}

interface PodPlace {
  readonly namespace: string;
  readonly name: string;
  readonly nodeName: string;
  readonly index: number;
  readonly slot: number;
}

/** About 3 KB, as a running pod of a Deployment. */
export function pod({ namespace, name, nodeName, index, slot }: PodPlace): KubeObject {
  const podIP = `10.1.${index & 255}.${(slot % 250) + 2}`;
  const mounts = [
    { name: 'kube-api-access', readOnly: true, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' },
  ];
  const condition = (type: string) => ({ type, status: 'True', lastProbeTime: null, lastTransitionTime: CREATED });
  return {
    metadata: {
      name,
      namespace,
      labels: { app: 'web', tier: slot % 2 === 0 ? 'front' : 'back', 'pod-template-hash': '5d59d67564' },
      annotations: STAMP,
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: 'web-5d59d67564',
          uid: uidOf(namespace),
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
      managedFields: managedFields({
        'f:status': {
          'f:conditions': Object.fromEntries(
            ['Initialized', 'Ready', 'ContainersReady'].map((type) => [
              `k:{"type":"${type}"}`,
              { '.': {}, 'f:lastProbeTime': {}, 'f:lastTransitionTime': {}, 'f:status': {}, 'f:type': {} },
            ]),
          ),
          'f:containerStatuses': {},
          'f:hostIP': {},
          'f:phase': {},
          'f:podIP': {},
          'f:podIPs': { '.': {} },
          'f:startTime': {},
        },
      }),
    },
    spec: {
      volumes: [
        {
          name: 'kube-api-access',
          projected: {
            sources: [
              { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
              { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
            ],
            defaultMode: 420,
          },
        },
      ],
      containers: [
        {
          name: 'web',
          image: 'registry.example.com/web:1.2.3',
          ports: [{ containerPort: 8080, protocol: 'TCP' }],
          resources: { limits: { cpu: '500m', memory: '256Mi' }, requests: { cpu: '100m', memory: '128Mi' } },
          volumeMounts: mounts,
          terminationMessagePath: '/dev/termination-log',
          terminationMessagePolicy: 'File',
          imagePullPolicy: 'IfNotPresent',
        },
      ],
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: 30,
      dnsPolicy: 'ClusterFirst',
      serviceAccountName: 'default',
      serviceAccount: 'default',
      nodeName,
      securityContext: {},
      schedulerName: 'default-scheduler',
      tolerations: ['not-ready', 'unreachable'].map((key) => ({
        key: `node.kubernetes.io/${key}`,
        operator: 'Exists',
        effect: 'NoExecute',
        tolerationSeconds: 300,
      })),
      priority: 0,
      enableServiceLinks: true,
      preemptionPolicy: 'PreemptLowerPriority',
    },
    status: {
      phase: 'Running',
      conditions: ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map(
        condition,
      ),
      hostIP: `10.2.${index >> 8}.${index & 255}`,
      podIP,
      podIPs: [{ ip: podIP }],
      startTime: CREATED,
      containerStatuses: [
        {
          name: 'web',
          state: { running: { startedAt: CREATED } },
          lastState: {},
          ready: true,
          restartCount: 0,
          image: 'registry.example.com/web:1.2.3',
          imageID: `registry.example.com/web@sha256:${createHash('sha256').update('web').digest('hex')}`,
          containerID: `containerd://${createHash('sha256').update(name).digest('hex')}`,
          started: true,
        },
      ],
      qosClass: 'Burstable',
    },
  };
}
