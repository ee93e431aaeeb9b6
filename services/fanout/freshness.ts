import { isCachedUpstream } from '@dogwatch/kube/lane.ts';
import { type ResourceVersion, parseResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { StatusError, tooLargeResourceVersion } from '@dogwatch/kube/status.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Extent, LaneView } from '@dogwatch/watch/lane-view.ts';

/** Upstream waits this long, in ms, for its cache to get to a version (protocol rows L10, W5). */
export const FRESHNESS_TIMEOUT_MS = 3_000;
/** A lane on which much happens gets to a version by itself so soon that upstream need not be asked. */
const HEAD_START_MS = 20;

/** How old the state may be that an answer is made of. */
export type Freshness =
  /** Not older than the request: resourceVersion "". */
  | { readonly kind: 'fresh' }
  /** Whatever is held: resourceVersion "0". */
  | { readonly kind: 'any' }
  | { readonly kind: 'not-older-than'; readonly rv: ResourceVersion };

/** What a resourceVersion asks for; undefined if that is upstream's to judge. */
export function freshnessOf(resourceVersion: string): Freshness | undefined {
  if (resourceVersion === '') return { kind: 'fresh' };
  if (resourceVersion === '0') return { kind: 'any' };
  const rv = parseResourceVersion(resourceVersion);
  // Zeros written otherwise than "0" mean different things to different checks upstream.
  return rv === undefined || rv === 0 ? undefined : { kind: 'not-older-than', rv };
}

/** What a state is asked of, and how old it may be. */
export interface FreshState {
  readonly view: LaneView;
  readonly clock: Clock;
  readonly freshness: Freshness;
  /** Nothing else is read of the view. */
  readonly extent: Extent;
}

/** The resource is not there any more: upstream answered the question for proof with 404 (protocol row W19). */
export class ResourceGone extends Error {
  readonly code = 'RESOURCE_GONE';
}

/**
 * Calls `use` in a turn in which the view's objects are those of the version it is given, and resolves with what it
 * gives. Rejects with StatusError: 504 if the version asked for does not come in time (row L10), 503 if upstream
 * cannot be asked; and with ResourceGone, where only upstream can answer.
 */
export async function whenFresh<T>(state: FreshState, use: (rv: ResourceVersion) => T): Promise<T> {
  const { view, freshness } = state;
  switch (freshness.kind) {
    case 'any':
      return use(view.cache.watermark);
    case 'fresh':
      return await proved(state, use);
    case 'not-older-than':
      return await whenReached(state, freshness.rv, use);
  }
}

async function proved<T>({ view, extent }: FreshState, use: (rv: ResourceVersion) => T): Promise<T> {
  try {
    return await view.fresh(FRESHNESS_TIMEOUT_MS, use, extent);
  } catch (error) {
    if (!(error instanceof StatusError) || error.status.code !== 404) throw error;
    throw new ResourceGone('the resource is gone upstream, which is to say so itself', { cause: error });
  }
}

/**
 * A version above the watermark may be one of another resource, of which a quiet lane hears when it is proved fresh:
 * upstream asks its store for progress, too, before it waits. Once at first, and once more when the time is over. Where
 * upstream keeps no cache it asks its store, and does not wait.
 */
async function whenReached<T>(state: FreshState, rv: ResourceVersion, use: (rv: ResourceVersion) => T): Promise<T> {
  const { view, clock } = state;
  const deadline = clock.now() + FRESHNESS_TIMEOUT_MS;
  let current: ResourceVersion = 0;
  const atLeast = (found: ResourceVersion): { readonly used: T } | undefined => {
    current = found;
    return found >= rv ? { used: use(found) } : undefined;
  };
  if (await view.reached(rv, HEAD_START_MS)) return use(view.cache.watermark);
  const soon = await proved(state, atLeast);
  if (soon !== undefined) return soon.used;
  // Upstream's store does not say when to come again.
  if (!isCachedUpstream(view.lane)) throw new StatusError(tooLargeResourceVersion(String(rv), String(current), 0));
  if (await view.reached(rv, deadline - clock.now())) return use(view.cache.watermark);
  const late = await proved(state, atLeast);
  if (late !== undefined) return late.used;
  throw new StatusError(tooLargeResourceVersion(String(rv), String(current)));
}
