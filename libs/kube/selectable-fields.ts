import type { FieldPath, FieldStep } from './field-path.ts';
import { goQuote } from './go-strconv.ts';
import type { GroupVersionResource } from './group-resource.ts';

/** What upstream says of a label it cannot select by (protocol section 1.5); ResourceSlice and Job have their own. */
type Refusal = 'label not supported' | 'not a known field selector' | 'job' | 'resource slice';

interface SelectableResource {
  /** Served versions whose field numbers were checked; in any other version upstream answers. */
  readonly versions: readonly string[];
  readonly fields: Readonly<Record<string, FieldPath>>;
  /** False: upstream refuses metadata.namespace. */
  readonly namespaceLabel: boolean;
  readonly refusal: Refusal;
  /** Labels upstream takes but which are no field of the object. */
  readonly unevaluated: readonly string[];
}

/** Protobuf numbers are those of generated.proto in k8s.io/api v0.37. */
function path(json: string, numbers: readonly number[], type: FieldStep['type'] = 'string'): FieldPath {
  const last = numbers.length - 1;
  return {
    json: json.split('.'),
    protobuf: numbers.map((field, index) => ({ field, type: index === last ? type : 'message' })),
  };
}

const METADATA_NAME = path('metadata.name', [1, 1]);
const METADATA_NAMESPACE = path('metadata.namespace', [1, 3]);

function references(prefix: string, number: number): Record<string, FieldPath> {
  const parts = ['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'];
  return Object.fromEntries(
    parts.map((part, index) => [`${prefix}.${part}`, path(`${prefix}.${part}`, [number, index + 1])]),
  );
}

function resource(
  fields: Readonly<Record<string, FieldPath>>,
  options: Partial<Omit<SelectableResource, 'fields'>> = {},
): SelectableResource {
  return {
    versions: ['v1'],
    namespaceLabel: true,
    refusal: 'label not supported',
    unevaluated: [],
    ...options,
    fields,
  };
}

const SIGNER = path('spec.signerName', [2, 1]);

/** By `GROUP/RESOURCE`. Types that are not here select by metadata.name and metadata.namespace only. */
const RESOURCES: ReadonlyMap<string, SelectableResource> = new Map([
  [
    '/pods',
    resource(
      {
        'spec.nodeName': path('spec.nodeName', [2, 10]),
        'spec.host': path('spec.nodeName', [2, 10]),
        'spec.restartPolicy': path('spec.restartPolicy', [2, 3]),
        'spec.schedulerName': path('spec.schedulerName', [2, 19]),
        'spec.serviceAccountName': path('spec.serviceAccountName', [2, 8]),
        'spec.hostNetwork': path('spec.hostNetwork', [2, 11], 'bool'),
        'status.phase': path('status.phase', [3, 1]),
        'status.podIP': path('status.podIP', [3, 6]),
        'status.nominatedNodeName': path('status.nominatedNodeName', [3, 11]),
      },
      { unevaluated: ['status.podIPs'] },
    ),
  ],
  ['/nodes', resource({ 'spec.unschedulable': path('spec.unschedulable', [2, 4], 'bool') }, { namespaceLabel: false })],
  ['/namespaces', resource({ 'status.phase': path('status.phase', [3, 1]) }, { namespaceLabel: false })],
  ['/secrets', resource({ type: path('type', [3]) })],
  ['/services', resource({ 'spec.clusterIP': path('spec.clusterIP', [2, 3]), 'spec.type': path('spec.type', [2, 4]) })],
  ['/replicationcontrollers', resource({ 'status.replicas': path('status.replicas', [3, 1], 'int') })],
  [
    '/events',
    resource(
      {
        ...references('involvedObject', 2),
        reason: path('reason', [3]),
        reportingComponent: path('reportingComponent', [14]),
        type: path('type', [9]),
      },
      // `source` is source.component or, where that is empty, reportingComponent: no single field.
      { unevaluated: ['source'] },
    ),
  ],
  [
    'events.k8s.io/events',
    resource({
      ...references('regarding', 8),
      reason: path('reason', [7]),
      reportingController: path('reportingController', [4]),
      type: path('type', [11]),
    }),
  ],
  ['batch/jobs', resource({ 'status.successful': path('status.succeeded', [3, 5], 'int') }, { refusal: 'job' })],
  [
    'certificates.k8s.io/certificatesigningrequests',
    resource({ 'spec.signerName': path('spec.signerName', [2, 7]) }, { namespaceLabel: false }),
  ],
  [
    'certificates.k8s.io/clustertrustbundles',
    resource({ 'spec.signerName': SIGNER }, { versions: ['v1', 'v1beta1', 'v1alpha1'], namespaceLabel: false }),
  ],
  [
    'certificates.k8s.io/podcertificaterequests',
    resource(
      {
        'spec.signerName': SIGNER,
        'spec.podName': path('spec.podName', [2, 2]),
        'spec.nodeName': path('spec.nodeName', [2, 6]),
      },
      { versions: ['v1', 'v1beta1'], namespaceLabel: false },
    ),
  ],
  [
    'resource.k8s.io/resourceslices',
    resource(
      {
        'spec.nodeName': path('spec.nodeName', [2, 3]),
        'spec.driver': path('spec.driver', [2, 1]),
        'spec.pool.name': path('spec.pool.name', [2, 2, 1]),
      },
      { versions: ['v1', 'v1beta1', 'v1beta2'], namespaceLabel: false, refusal: 'resource slice' },
    ),
  ],
]);

/** API groups of kube-apiserver itself, as of v1.37: types of any other group are custom resources or aggregated. */
const BUILT_IN_GROUPS: ReadonlySet<string> = new Set([
  '',
  'apps',
  'autoscaling',
  'batch',
  'policy',
  'admissionregistration.k8s.io',
  'apiextensions.k8s.io',
  'apiregistration.k8s.io',
  'authentication.k8s.io',
  'authorization.k8s.io',
  'certificates.k8s.io',
  'coordination.k8s.io',
  'discovery.k8s.io',
  'events.k8s.io',
  'flowcontrol.apiserver.k8s.io',
  'internal.apiserver.k8s.io',
  'networking.k8s.io',
  'node.k8s.io',
  'rbac.authorization.k8s.io',
  'resource.k8s.io',
  'scheduling.k8s.io',
  'storage.k8s.io',
  'storagemigration.k8s.io',
]);

/**
 * The field labels of a built-in type that can be evaluated here, aliases included (protocol section 1.5). A field
 * that is absent counts as "" (string), "false" (bool) or "0" (int). Any other label is upstream's to answer.
 */
export function selectableFields(gvr: GroupVersionResource, namespaced: boolean): ReadonlyMap<string, FieldPath> {
  const found = RESOURCES.get(`${gvr.group}/${gvr.resource}`);
  const fields = new Map([['metadata.name', METADATA_NAME]]);
  if (namespaced && found?.namespaceLabel !== false) fields.set('metadata.namespace', METADATA_NAMESPACE);
  if (found?.versions.includes(gvr.version) === true) {
    for (const [label, fieldPath] of Object.entries(found.fields)) fields.set(label, fieldPath);
  }
  return fields;
}

/** What kubectl's JSONPath reads as one name after the other; any other path means something else to it, or nothing. */
const SIMPLE_PATH = /^(\.(?!\*(\.|$))[^\s.,[\]{}$@\\]+)+$/;

/**
 * The field labels of one served version of a custom resource, from its `selectableFields[].jsonPath` (protocol section
 * 1.5; at most 8, checked upstream): the path without its leading dot. A field that is absent counts as "", any other
 * value as Go prints it. Paths that are more than names are left out: such labels are upstream's to answer.
 */
export function customSelectableFields(
  jsonPaths: readonly string[],
  namespaced: boolean,
): ReadonlyMap<string, FieldPath> {
  const fields = new Map([['metadata.name', METADATA_NAME]]);
  if (namespaced) fields.set('metadata.namespace', METADATA_NAMESPACE);
  for (const jsonPath of jsonPaths) {
    const label = jsonPath.slice(1);
    if (SIMPLE_PATH.test(jsonPath)) fields.set(label, { json: label.split('.'), protobuf: [] });
  }
  return fields;
}

/** The field label by which watchers of this resource are indexed upstream and here: most ask for one value of it. */
export function indexedField(gvr: GroupVersionResource): string | undefined {
  return gvr.group === '' && gvr.resource === 'pods' ? 'spec.nodeName' : undefined;
}

/** The label that upstream turns `label` into: pods take `spec.host` for `spec.nodeName`. */
export function canonicalFieldLabel(gvr: GroupVersionResource, label: string): string {
  return gvr.group === '' && gvr.resource === 'pods' && label === 'spec.host' ? 'spec.nodeName' : label;
}

/**
 * Upstream's text (400) for a label that is not among the type's selectable fields, or undefined if upstream takes the
 * label or its text is not known for this version: such a request is upstream's to answer.
 */
export function unknownFieldLabelMessage(gvr: GroupVersionResource, label: string): string | undefined {
  const found = RESOURCES.get(`${gvr.group}/${gvr.resource}`);
  if (found !== undefined && !found.versions.includes(gvr.version)) return undefined;
  if (found?.unevaluated.includes(label) === true) return undefined;
  switch (found?.refusal ?? (BUILT_IN_GROUPS.has(gvr.group) ? 'not a known field selector' : 'label not supported')) {
    case 'label not supported':
      return `field label not supported: ${label}`;
    case 'job':
      return `field label ${goQuote(label)} not supported for Job`;
    case 'resource slice':
      return `field label not supported for ${gvr.group}/${gvr.version}, Kind=ResourceSlice: ${label}`;
    case 'not a known field selector':
      // Cluster-scoped types take metadata.namespace too; only "" ever equals it.
      if (label === 'metadata.namespace') return undefined;
      return `${goQuote(label)} is not a known field selector: only "metadata.name", "metadata.namespace"`;
  }
}
