import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import type { Interest } from '@dogwatch/watch/interest.ts';

/** The part of a lane that few clients want, and each of them alone: one object, or those of one value of the index. */
export type Scope =
  | { readonly kind: 'name'; readonly namespace: string; readonly name: string; readonly key: string }
  | { readonly kind: 'indexed'; readonly value: string };

/** Keyed resources: kubelets want their own of these. All others are copied whole (ARCHITECTURE.md, Decisions). */
const BY_NAME: ReadonlySet<string> = new Set(['/pods', '/configmaps', '/nodes', 'coordination.k8s.io/leases']);
const CLUSTER_SCOPED: ReadonlySet<string> = new Set(['/nodes']);
const BY_INDEX: ReadonlyMap<string, string> = new Map([['/pods', 'spec.nodeName']]);

/** The scope that holds all that `interest` can select, if it is one; undefined: the whole lane is needed. */
export function scopeOf(lane: Lane, interest: Interest): Scope | undefined {
  const resource = `${lane.group}/${lane.resource}`;
  const { namespace, name } = interest;
  if (BY_NAME.has(resource) && name !== '' && (namespace !== '') !== CLUSTER_SCOPED.has(resource)) {
    return { kind: 'name', namespace, name, key: interest.keyPrefix + name };
  }
  const field = lane.view === 'object' ? BY_INDEX.get(resource) : undefined;
  const value = field === undefined ? '' : (interest.fields.exactValue(field) ?? '');
  return value === '' ? undefined : { kind: 'indexed', value };
}

/** Equal for equal scopes of a lane, and no lane's own key. */
export function scopeKey(lane: Lane, scope: Scope): string {
  return `${laneKey(lane)} ${scope.kind}=${scope.kind === 'name' ? scope.key : scope.value}`;
}
