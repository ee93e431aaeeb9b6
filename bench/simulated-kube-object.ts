import { apiVersionOf } from '@dogwatch/kube/group-resource.ts';
import type { ObjectFacts } from './simulated-object.ts';
import type { SimulatedResource } from './simulated-resources.ts';

/** An object as clients send it. */
export interface KubeObject {
  kind?: string;
  apiVersion?: string;
  metadata: {
    name?: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
    creationTimestamp?: string;
    labels?: Record<string, string>;
    [field: string]: unknown;
  };
  [field: string]: unknown;
}

/** What upstream adds to an object that it is sent. */
export interface ObjectIdentity {
  readonly object: KubeObject;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly creationTimestamp: string;
}

/** The whole object in upstream's key order. */
export function objectJson(resource: SimulatedResource, of: ObjectIdentity, resourceVersion: string): string {
  const { object, namespace, name, uid, creationTimestamp } = of;
  const {
    name: _name,
    namespace: _namespace,
    uid: _uid,
    resourceVersion: _version,
    creationTimestamp: _created,
    ...more
  } = object.metadata;
  const { kind: _kind, apiVersion: _apiVersion, metadata: _metadata, ...rest } = object;
  const place = { name, ...(namespace === '' ? {} : { namespace }), uid };
  return JSON.stringify({
    kind: resource.kind,
    apiVersion: apiVersionOf(resource),
    metadata: { ...place, resourceVersion, creationTimestamp, ...more },
    ...rest,
  });
}

/** What keys and selectors see of the object. */
export function objectFacts(resource: SimulatedResource, of: ObjectIdentity): ObjectFacts {
  const { object, namespace, name, uid } = of;
  return { namespace, name, uid, labels: object.metadata.labels ?? {}, fields: selectableFields(object, resource) };
}

function selectableFields(object: KubeObject, { fields }: SimulatedResource): Record<string, string> {
  const values: Record<string, string> = {};
  for (const path of fields) {
    let value: unknown = object;
    for (const step of path.split('.')) {
      value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[step] : undefined;
    }
    if (typeof value === 'string' || typeof value === 'boolean') values[path] = String(value);
    else if (path === 'spec.unschedulable') values[path] = 'false';
  }
  return values;
}
