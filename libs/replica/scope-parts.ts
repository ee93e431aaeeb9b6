import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { Scope } from './scope.ts';
import type { WholeState } from './track-feed.ts';

/** What of `state` belongs to a scope, found without looking through it for each. */
export function partsOf(state: WholeState): (scope: Scope) => WholeState {
  const { rv } = state.listing;
  const objects = groups(state.listing.objects, (object) => object);
  const tombstones = groups(state.tombstones, ({ object }) => object);
  const changes = groups(state.changes, ({ object }) => object);
  return (scope) => ({
    ...state,
    listing: { rv, objects: objects(scope) },
    tombstones: tombstones(scope),
    changes: changes(scope),
  });
}

/** Those of `all` that are of a scope, in their order. */
function groups<T>(all: readonly T[], objectOf: (item: T) => KubeObject): (scope: Scope) => readonly T[] {
  const byKey = Map.groupBy(all, (item) => objectOf(item).key);
  const byIndexed = Map.groupBy(all, (item) => objectOf(item).indexed);
  return (scope) => (scope.kind === 'indexed' ? byIndexed.get(scope.value) : byKey.get(scope.key)) ?? [];
}
