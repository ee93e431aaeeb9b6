import { parseContinue } from '@dogwatch/kube/continue-token.ts';
import { type Lane, isCachedUpstream } from '@dogwatch/kube/lane.ts';
import type { ListOptions } from '@dogwatch/kube/list-options.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Interest } from '@dogwatch/watch/interest.ts';
import { type Freshness, freshnessOf } from './freshness.ts';

/** What of a resource a LIST shows, and as of when. */
export interface ListRange {
  readonly state: Freshness | { readonly kind: 'exact'; readonly rv: ResourceVersion };
  /** Lowest key below the interest's scope; undefined for the first page. */
  readonly start: string | undefined;
  /** Objects at most; infinity for all. */
  readonly limit: number;
}

interface ListScope {
  readonly lane: Lane;
  readonly interest: Interest;
  readonly namespaced: boolean;
}

/**
 * What a LIST with valid options asks for (protocol rows L1 to L5), or undefined where only upstream can tell: what it
 * refuses, and the corners in which its watch cache and its store differ.
 */
export function listRange(options: ListOptions, scope: ListScope): ListRange | undefined {
  const limit = options.limit > 0 ? options.limit : Number.POSITIVE_INFINITY;
  if (options.continue !== '') return nextPage(options, scope, limit);
  if (limit < Number.POSITIVE_INFINITY && !isPageable(scope)) return undefined;
  const state = freshnessOf(options.resourceVersion);
  if (state === undefined) return undefined;
  const cached = isCachedUpstream(scope.lane);
  switch (state.kind) {
    case 'fresh':
      return { state, start: undefined, limit };
    case 'any':
      // Row L2. The store knows no "any": it pages through the newest state.
      if (cached) return { state, start: undefined, limit: Number.POSITIVE_INFINITY };
      return { state: options.limit > 0 ? { kind: 'fresh' } : state, start: undefined, limit };
    case 'not-older-than': {
      const { rv } = state;
      const match = options.resourceVersionMatch;
      if (match === 'Exact' || (match === '' && options.limit > 0)) {
        // A single key is not read from the watch cache then, and without a match not at that version either.
        if (readsOneKey(scope) || (options.limit > 0 && isNarrow(scope))) return undefined;
        return { state: { kind: 'exact', rv }, start: undefined, limit };
      }
      return cached || options.limit <= 0 ? { state, start: undefined, limit } : undefined;
    }
  }
}

/** Row L13; of what else such a request says, upstream has checked that it says nothing (rows L6, L7). */
function nextPage(options: ListOptions, scope: ListScope, limit: number): ListRange | undefined {
  const token = parseContinue(options.continue);
  // With version "0" it depends on where upstream reads whether there is a limit.
  if (token === undefined || options.resourceVersion !== '' || !isPageable(scope)) return undefined;
  if (limit < Number.POSITIVE_INFINITY && isNarrow(scope)) return undefined;
  const { rv, start } = token;
  return { state: rv < 0 ? { kind: 'fresh' } : { kind: 'exact', rv }, start, limit };
}

/**
 * False where pages follow from what dogwatch does not have: upstream's index of ResourceSlices, and a namespace in the
 * field selector, by which its tokens are relative to that namespace and read as if they were not.
 */
function isPageable({ lane, interest, namespaced }: ListScope): boolean {
  const { fields, namespace } = interest;
  if (namespaced && namespace === '' && fields.exactValue('metadata.namespace') !== undefined) return false;
  if (lane.resource === 'resourceslices') return fields.exactValue('spec.nodeName') === undefined;
  return lane.resource !== 'pods' || fields.exactValue('spec.host') === undefined;
}

/**
 * True for what an index narrows down to a few objects. But for a first page of the newest state upstream looks at all
 * there are, and says that a page follows where there are others: which a view of those few does not know.
 */
function isNarrow(scope: ListScope): boolean {
  const { lane, interest } = scope;
  return readsOneKey(scope) || (lane.resource === 'pods' && interest.fields.exactValue('spec.nodeName') !== undefined);
}

function readsOneKey({ interest, namespaced }: ListScope): boolean {
  return interest.name !== '' && (interest.namespace !== '' || !namespaced);
}
