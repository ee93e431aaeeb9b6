import type { AuditEvent } from './control-plane-users.ts';

/** Of a listing's pages; see PAGE_OBJECTS in services/ingest/listing.ts. */
const PAGE = '500';

/** A reading of all objects of a lane that dogwatch asked kube-apiserver for: a page of a LIST, or a watch-list. */
export interface Listing {
  readonly path: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/**
 * dogwatch's listings since `since` (ms since 1970), by lane; the pages of one count once. Names and versions asked for
 * to prove that what is held is fresh (a LIST with another limit, 1 or none) are no listings.
 */
export function listingsSince(audit: readonly AuditEvent[], since: number): Listing[] {
  return audit.flatMap(({ stage, verb, requestURI, requestReceivedTimestamp }): Listing[] => {
    const { pathname, searchParams } = new URL(requestURI, 'https://kube-apiserver');
    const at = Date.parse(requestReceivedTimestamp);
    const listed = verb === 'list' && stage === 'ResponseComplete' && searchParams.get('limit') === PAGE;
    const watched = verb === 'watch' && stage === 'ResponseStarted' && searchParams.get('sendInitialEvents') === 'true';
    const isFirstPage = !searchParams.has('continue') && !searchParams.has('fieldSelector');
    return at >= since && isFirstPage && (listed || watched) ? [{ path: pathname, at }] : [];
  });
}

/** How often each lane was listed. */
export function byLane(listings: readonly Listing[]): Record<string, number> {
  const lanes = Map.groupBy(listings, ({ path }) => path);
  return Object.fromEntries([...lanes].map(([path, found]) => [path, found.length]));
}
