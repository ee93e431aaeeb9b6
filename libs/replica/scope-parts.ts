import type { Scope } from './scope.ts';
import type { WholeState } from './track-feed.ts';

/** What of `state` belongs to a scope, found without looking through it for each. */
export function partsOf(state: WholeState): (scope: Scope) => WholeState {
  const objects = Map.groupBy(state.listing.objects, ({ indexed }) => indexed);
  const named = new Map(state.listing.objects.map((object) => [object.key, object]));
  const tombstones = Map.groupBy(state.tombstones, ({ object }) => object.indexed);
  const namedTombstones = Map.groupBy(state.tombstones, ({ object }) => object.key);
  return (scope) => {
    const own =
      scope.kind === 'indexed' ? objects.get(scope.value) : [named.get(scope.key)].filter((it) => it !== undefined);
    const deletes = scope.kind === 'indexed' ? tombstones.get(scope.value) : namedTombstones.get(scope.key);
    return { ...state, listing: { rv: state.listing.rv, objects: own ?? [] }, tombstones: deletes ?? [] };
  };
}
