import type { Field, FieldType, MessageSchema } from './simulated-protobuf.ts';

// Field numbers and order of k8s.io/api v0.37 and k8s.io/apimachinery: what the simulated objects and the cases have of them.

const TEXT: FieldType = { kind: 'text' };
const INT: FieldType = { kind: 'int' };
const BOOL: FieldType = { kind: 'bool' };
const TIME: FieldType = { kind: 'time' };
const QUANTITY: FieldType = { kind: 'quantity' };

const always = (number: number, type: FieldType): Field => ({ number, type });
const optional = (number: number, type: FieldType): Field => ({ number, type, optional: true });
const message = (schema: MessageSchema): FieldType => ({ kind: 'message', schema });
const list = (number: number, of: FieldType): Field => optional(number, { kind: 'list', of });
const map = (number: number, of: FieldType): Field => optional(number, { kind: 'map', of });
const inline = (number: number, schema: MessageSchema): Field => always(number, { kind: 'inline', schema });

const OWNER_REFERENCE: MessageSchema = {
  kind: always(1, TEXT),
  name: always(3, TEXT),
  uid: always(4, TEXT),
  apiVersion: always(5, TEXT),
  controller: optional(6, BOOL),
  blockOwnerDeletion: optional(7, BOOL),
};

const MANAGED_FIELDS_ENTRY: MessageSchema = {
  manager: always(1, TEXT),
  operation: always(2, TEXT),
  apiVersion: always(3, TEXT),
  time: optional(4, TIME),
  fieldsType: always(6, TEXT),
  fieldsV1: optional(7, { kind: 'raw' }),
  subresource: always(8, TEXT),
};

const OBJECT_META: MessageSchema = {
  name: always(1, TEXT),
  generateName: always(2, TEXT),
  namespace: always(3, TEXT),
  selfLink: always(4, TEXT),
  uid: always(5, TEXT),
  resourceVersion: always(6, TEXT),
  generation: always(7, INT),
  creationTimestamp: always(8, TIME),
  deletionTimestamp: optional(9, TIME),
  deletionGracePeriodSeconds: optional(10, INT),
  labels: map(11, TEXT),
  annotations: map(12, TEXT),
  ownerReferences: list(13, message(OWNER_REFERENCE)),
  finalizers: list(14, TEXT),
  managedFields: list(17, message(MANAGED_FIELDS_ENTRY)),
};

const METADATA = always(1, message(OBJECT_META));

export const CONFIG_MAP: MessageSchema = {
  metadata: METADATA,
  data: map(2, TEXT),
  immutable: optional(4, BOOL),
};

export const LEASE: MessageSchema = {
  metadata: METADATA,
  spec: always(
    2,
    message({
      holderIdentity: optional(1, TEXT),
      leaseDurationSeconds: optional(2, INT),
      acquireTime: optional(3, TIME),
      renewTime: optional(4, TIME),
      leaseTransitions: optional(5, INT),
    }),
  ),
};

const RESOURCES = always(8, message({ limits: map(1, QUANTITY), requests: map(2, QUANTITY) }));

const CONTAINER: MessageSchema = {
  name: always(1, TEXT),
  image: always(2, TEXT),
  command: list(3, TEXT),
  args: list(4, TEXT),
  workingDir: always(5, TEXT),
  ports: list(
    6,
    message({
      name: always(1, TEXT),
      hostPort: always(2, INT),
      containerPort: always(3, INT),
      protocol: always(4, TEXT),
      hostIP: always(5, TEXT),
    }),
  ),
  env: list(7, message({ name: always(1, TEXT), value: always(2, TEXT) })),
  resources: RESOURCES,
  volumeMounts: list(
    9,
    message({
      name: always(1, TEXT),
      readOnly: always(2, BOOL),
      mountPath: always(3, TEXT),
      subPath: always(4, TEXT),
      mountPropagation: optional(5, TEXT),
      subPathExpr: always(6, TEXT),
    }),
  ),
  terminationMessagePath: always(13, TEXT),
  imagePullPolicy: always(14, TEXT),
  stdin: always(16, BOOL),
  stdinOnce: always(17, BOOL),
  tty: always(18, BOOL),
  terminationMessagePolicy: always(20, TEXT),
};

const KEY_TO_PATH: MessageSchema = { key: always(1, TEXT), path: always(2, TEXT), mode: optional(3, INT) };

const VOLUME_PROJECTION: MessageSchema = {
  configMap: optional(
    3,
    message({ reference: inline(1, { name: always(1, TEXT) }), items: list(2, message(KEY_TO_PATH)) }),
  ),
  serviceAccountToken: optional(
    4,
    message({ audience: always(1, TEXT), expirationSeconds: optional(2, INT), path: always(3, TEXT) }),
  ),
};

const VOLUME: MessageSchema = {
  name: always(1, TEXT),
  source: inline(2, {
    emptyDir: optional(2, message({ medium: always(1, TEXT) })),
    projected: optional(26, message({ sources: list(1, message(VOLUME_PROJECTION)), defaultMode: optional(2, INT) })),
  }),
};

const POD_SPEC: MessageSchema = {
  volumes: list(1, message(VOLUME)),
  containers: list(2, message(CONTAINER)),
  restartPolicy: always(3, TEXT),
  terminationGracePeriodSeconds: optional(4, INT),
  activeDeadlineSeconds: optional(5, INT),
  dnsPolicy: always(6, TEXT),
  nodeSelector: map(7, TEXT),
  serviceAccountName: always(8, TEXT),
  serviceAccount: always(9, TEXT),
  nodeName: always(10, TEXT),
  hostNetwork: always(11, BOOL),
  hostPID: always(12, BOOL),
  hostIPC: always(13, BOOL),
  securityContext: optional(14, message({})),
  hostname: always(16, TEXT),
  subdomain: always(17, TEXT),
  schedulerName: always(19, TEXT),
  automountServiceAccountToken: optional(21, BOOL),
  tolerations: list(
    22,
    message({
      key: always(1, TEXT),
      operator: always(2, TEXT),
      value: always(3, TEXT),
      effect: always(4, TEXT),
      tolerationSeconds: optional(5, INT),
    }),
  ),
  priorityClassName: always(24, TEXT),
  priority: optional(25, INT),
  enableServiceLinks: optional(30, BOOL),
  preemptionPolicy: optional(31, TEXT),
};

const CONTAINER_STATE = message({
  waiting: optional(1, message({ reason: always(1, TEXT), message: always(2, TEXT) })),
  running: optional(2, message({ startedAt: always(1, TIME) })),
});

const POD_STATUS: MessageSchema = {
  phase: always(1, TEXT),
  conditions: list(
    2,
    message({
      type: always(1, TEXT),
      status: always(2, TEXT),
      lastProbeTime: always(3, TIME),
      lastTransitionTime: always(4, TIME),
      reason: always(5, TEXT),
      message: always(6, TEXT),
      observedGeneration: always(7, INT),
    }),
  ),
  message: always(3, TEXT),
  reason: always(4, TEXT),
  hostIP: always(5, TEXT),
  podIP: always(6, TEXT),
  startTime: optional(7, TIME),
  containerStatuses: list(
    8,
    message({
      name: always(1, TEXT),
      state: always(2, CONTAINER_STATE),
      lastState: always(3, CONTAINER_STATE),
      ready: always(4, BOOL),
      restartCount: always(5, INT),
      image: always(6, TEXT),
      imageID: always(7, TEXT),
      containerID: always(8, TEXT),
      started: optional(9, BOOL),
    }),
  ),
  qosClass: always(9, TEXT),
  nominatedNodeName: always(11, TEXT),
  podIPs: list(12, message({ ip: always(1, TEXT) })),
  resize: always(14, TEXT),
  hostIPs: list(16, message({ ip: always(1, TEXT) })),
  observedGeneration: always(17, INT),
};

export const POD: MessageSchema = {
  metadata: METADATA,
  spec: always(2, message(POD_SPEC)),
  status: always(3, message(POD_STATUS)),
};
