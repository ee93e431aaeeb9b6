import { apiVersionOf } from '@dogwatch/kube/group-resource.ts';
import type { GroupVersionResource } from '@dogwatch/kube/group-resource.ts';
import type { MessageSchema } from './simulated-protobuf.ts';
import { CONFIG_MAP, LEASE, POD } from './simulated-protobuf-schemas.ts';

/** A resource the simulated upstream serves, with what its wire form needs. */
export interface SimulatedResource extends GroupVersionResource {
  readonly kind: string;
  readonly singular: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  /** What follows `metadata` in an empty typed object: the required fields a bookmark shows (protocol W14). */
  readonly emptyTail: string;
  /** Selectable fields besides metadata.name and metadata.namespace, as paths into the object (protocol 1.5). */
  readonly fields: readonly string[];
  /** Undefined: served in JSON alone. */
  readonly protobuf: MessageSchema | undefined;
}

interface Row {
  readonly protobuf?: MessageSchema;
  readonly tail?: string;
  readonly short?: readonly string[];
  readonly fields?: readonly string[];
}

const NODE_INFO =
  '{"machineID":"","systemUUID":"","bootID":"","kernelVersion":"","osImage":"","containerRuntimeVersion":"",' +
  '"kubeletVersion":"","kubeProxyVersion":"","operatingSystem":"","architecture":""}';

const POD_FIELDS = [
  'spec.nodeName',
  'spec.restartPolicy',
  'spec.schedulerName',
  'spec.serviceAccountName',
  'status.phase',
  'status.podIP',
  'status.nominatedNodeName',
];

function row(
  groupVersion: string,
  resource: string,
  kind: string,
  extra: Row & { cluster?: true } = {},
): SimulatedResource {
  const [group, version] = groupVersion.includes('/') ? groupVersion.split('/') : ['', groupVersion];
  return {
    group: group ?? '',
    version: version ?? '',
    resource,
    kind,
    singular: kind.toLowerCase(),
    namespaced: extra.cluster !== true,
    shortNames: extra.short ?? [],
    emptyTail: extra.tail ?? '',
    fields: extra.fields ?? [],
    protobuf: extra.protobuf,
  };
}

/**
 * Every resource served; the tails were read from the bookmarks of kube-apiserver 1.37.2.
 * More than eighteen, so that a simulated kubelet can hold eighteen different watches.
 */
export const SIMULATED_RESOURCES: readonly SimulatedResource[] = [
  row('v1', 'configmaps', 'ConfigMap', { short: ['cm'], protobuf: CONFIG_MAP }),
  row('v1', 'events', 'Event', {
    short: ['ev'],
    tail: ',"involvedObject":{},"source":{},"firstTimestamp":null,"lastTimestamp":null,"eventTime":null,"reportingComponent":"","reportingInstance":""',
    fields: [
      'involvedObject.kind',
      'involvedObject.namespace',
      'involvedObject.name',
      'involvedObject.uid',
      'reason',
      'type',
    ],
  }),
  row('v1', 'namespaces', 'Namespace', {
    cluster: true,
    short: ['ns'],
    tail: ',"spec":{},"status":{}',
    fields: ['status.phase'],
  }),
  row('v1', 'nodes', 'Node', {
    cluster: true,
    short: ['no'],
    tail: `,"spec":{},"status":{"daemonEndpoints":{"kubeletEndpoint":{"Port":0}},"nodeInfo":${NODE_INFO}}`,
    fields: ['spec.unschedulable'],
  }),
  row('v1', 'persistentvolumeclaims', 'PersistentVolumeClaim', {
    short: ['pvc'],
    tail: ',"spec":{"resources":{}},"status":{}',
  }),
  row('v1', 'persistentvolumes', 'PersistentVolume', { cluster: true, short: ['pv'], tail: ',"spec":{},"status":{}' }),
  row('v1', 'pods', 'Pod', {
    short: ['po'],
    tail: ',"spec":{"containers":null},"status":{}',
    fields: POD_FIELDS,
    protobuf: POD,
  }),
  row('v1', 'secrets', 'Secret', { fields: ['type'] }),
  row('v1', 'serviceaccounts', 'ServiceAccount', { short: ['sa'] }),
  row('v1', 'services', 'Service', {
    short: ['svc'],
    tail: ',"spec":{},"status":{"loadBalancer":{}}',
    fields: ['spec.clusterIP', 'spec.type'],
  }),
  row('apiregistration.k8s.io/v1', 'apiservices', 'APIService', {
    cluster: true,
    tail: ',"spec":{"groupPriorityMinimum":0,"versionPriority":0},"status":{}',
  }),
  row('apiextensions.k8s.io/v1', 'customresourcedefinitions', 'CustomResourceDefinition', {
    cluster: true,
    short: ['crd', 'crds'],
    tail:
      ',"spec":{"group":"","names":{"plural":"","kind":""},"scope":"","versions":null},' +
      '"status":{"conditions":null,"acceptedNames":{"plural":"","kind":""},"storedVersions":null}',
  }),
  row('coordination.k8s.io/v1', 'leases', 'Lease', { tail: ',"spec":{}', protobuf: LEASE }),
  row('discovery.k8s.io/v1', 'endpointslices', 'EndpointSlice', {
    tail: ',"addressType":"","endpoints":null,"ports":null',
  }),
  row('networking.k8s.io/v1', 'ingressclasses', 'IngressClass', { cluster: true, tail: ',"spec":{}' }),
  row('networking.k8s.io/v1', 'networkpolicies', 'NetworkPolicy', {
    short: ['netpol'],
    tail: ',"spec":{"podSelector":{}}',
  }),
  row('node.k8s.io/v1', 'runtimeclasses', 'RuntimeClass', { cluster: true, tail: ',"handler":""' }),
  row('policy/v1', 'poddisruptionbudgets', 'PodDisruptionBudget', {
    short: ['pdb'],
    tail: ',"spec":{},"status":{"disruptionsAllowed":0,"currentHealthy":0,"desiredHealthy":0,"expectedPods":0}',
  }),
  row('scheduling.k8s.io/v1', 'priorityclasses', 'PriorityClass', { cluster: true, short: ['pc'], tail: ',"value":0' }),
  row('storage.k8s.io/v1', 'csidrivers', 'CSIDriver', { cluster: true, tail: ',"spec":{}' }),
  row('storage.k8s.io/v1', 'csinodes', 'CSINode', { cluster: true, tail: ',"spec":{"drivers":null},"status":{}' }),
  row('storage.k8s.io/v1', 'storageclasses', 'StorageClass', {
    cluster: true,
    short: ['sc'],
    tail: ',"provisioner":""',
  }),
  row('storage.k8s.io/v1', 'volumeattachments', 'VolumeAttachment', {
    cluster: true,
    tail: ',"spec":{"attacher":"","source":{},"nodeName":""},"status":{"attached":false}',
  }),
];

/** `"kind":"Pod","apiVersion":"v1",`: how every stored object of the resource begins, after its brace. */
export function typePrefix(resource: SimulatedResource): string {
  return `"kind":"${resource.kind}","apiVersion":"${apiVersionOf(resource)}",`;
}

/** Finds a served resource by group, version and plural name. */
export function findResource(wanted: GroupVersionResource): SimulatedResource | undefined {
  return SIMULATED_RESOURCES.find(
    ({ group, version, resource }) =>
      resource === wanted.resource && group === wanted.group && version === wanted.version,
  );
}
