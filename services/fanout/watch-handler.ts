import { frameBookmark, frameStatusEvent } from '@dogwatch/kube/event-framer.ts';
import { isCachedUpstream } from '@dogwatch/kube/lane.ts';
import { type StatusBody, StatusError, storageInitializing, tooManyRequests } from '@dogwatch/kube/status.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { LaneView } from '@dogwatch/watch/lane-view.ts';
import type { SinceResult } from '@dogwatch/watch/watch-cache.ts';
import type { WatchStart } from '@dogwatch/watch/watcher.ts';
import { acceptsGzip, GZIP_HEADERS } from './compression.ts';
import type { ClientStream, Exchange } from './exchange.ts';
import { gzipStream } from './gzip-members.ts';
import type { LaneWatches } from './lane-watches.ts';
import type { WatchPlan } from './plan.ts';
import { whenFresh } from './freshness.ts';
import { isSelectable, laneHeaders, tooOld } from './lane-answer.ts';
import type { TokenBucket } from './token-bucket.ts';
import type { UpstreamShards } from './upstream-shards.ts';
import { WatchStream } from './watch-stream.ts';

/** What became of a watch request. */
export type WatchOutcome =
  | { readonly kind: 'open'; readonly stream: WatchStream }
  /** The client went while it waited. */
  | { readonly kind: 'gone' }
  /** Only upstream can answer it. */
  | { readonly kind: 'forward' };

/** Where a watch starts, or the status its stream consists of. */
type Start =
  | { readonly kind: 'start'; readonly start: WatchStart }
  | { readonly kind: 'error'; readonly status: StatusBody };

/**
 * Attaches a watch to its lane: finds where it starts, sends the head, and hands it to the pumps. Rejects with
 * StatusError before anything is sent.
 */
export async function openWatch(
  exchange: Exchange,
  plan: WatchPlan,
  context: {
    watches: LaneWatches;
    forwardBucket: TokenBucket;
    upstreamShards: Pick<UpstreamShards, 'knows'>;
    clock: Clock;
  },
): Promise<WatchOutcome> {
  const { watches } = context;
  let gone = false;
  exchange.onClose(() => (gone = true));
  if (!isSelectable(watches.view, plan.interest)) return { kind: 'forward' };
  let outcome: WatchOutcome | undefined;
  const attach = (found: Start): void => {
    // It ended while this watch was being opened: whoever comes again finds out anew what there is.
    if (watches.over) throw new StatusError(storageInitializing(0));
    outcome = gone ? { kind: 'gone' } : attachTo(exchange, plan, { watches, found });
  };
  const needsUpstream = await findStart(plan, { view: watches.view, clock: context.clock }, attach);
  // Row G2: a part is not asked of an upstream that knows no shards, for it would give everything.
  if (needsUpstream && plan.interest.shards !== undefined && !(await context.upstreamShards.knows()))
    attach(tooOldStart(plan, watches.view));
  if (outcome !== undefined) return outcome;
  if (!needsUpstream) throw new Error('a watch has neither a start nor a reason');
  if (context.forwardBucket.take()) return { kind: 'forward' };
  throw new StatusError(tooManyRequests('too many watches from before dogwatch started, please try again later', 1));
}

/** Calls `attach` in the turn in which the start it gives is true; resolves true if only upstream has the history. */
async function findStart(
  plan: WatchPlan,
  { view, clock }: { view: LaneView; clock: Clock },
  attach: (start: Start) => void,
): Promise<boolean> {
  const { freshness } = plan;
  if (plan.start === 'resume' && freshness.kind === 'not-older-than') return await resume(plan, view, attach);
  try {
    const extent = { interest: plan.interest, limit: 0 };
    await whenFresh({ view, clock, freshness, extent }, (rv) =>
      attach({ kind: 'start', start: startAt(plan, view, rv) }),
    );
  } catch (error) {
    // Row W5: the version did not come in time.
    if (!(error instanceof StatusError) || error.status.code !== 504) throw error;
    // Where upstream keeps no cache, it says so at once, and when to come again: after one to three seconds, at random.
    if (!isCachedUpstream(view.lane)) return true;
    attach({ kind: 'error', status: error.status });
  }
  return false;
}

function startAt(plan: WatchPlan, view: LaneView, rv: ResourceVersion): WatchStart {
  const { cache, bookmark } = view;
  if (plan.start === 'recent') return { kind: 'resume', sequence: cache.window.end, rv };
  const end = plan.endBookmark ? frameBookmark(bookmark, rv, true) : undefined;
  return { kind: 'initial', objects: cache.select(plan.interest), rv, end };
}

async function resume(plan: WatchPlan, view: LaneView, attach: (start: Start) => void): Promise<boolean> {
  const { interest } = plan;
  const rv = plan.freshness.kind === 'not-older-than' ? plan.freshness.rv : 0;
  let since = view.cache.since(rv, interest);
  // Neither every change nor the state since then is held. Nothing was evicted: it is from before the lane was opened, as after a restart, or from an interval that a repair
  // passed over. Upstream may still hold what is missing here.
  if (since.kind === 'expired' && view.cache.window.complete) {
    if (!interest.cannotBeLeft(view.facts.schema) || view.cache.severed(rv)) return true;
    const filled = await backfilled(view, rv);
    if (filled === undefined) return true;
    if (filled) since = view.cache.since(rv, interest);
  }
  attach(continuation(view, plan, { since, rv }));
  return false;
}

function continuation(
  view: LaneView,
  { interest }: WatchPlan,
  { since, rv }: { since: SinceResult; rv: ResourceVersion },
): Start {
  const { cache } = view;
  switch (since.kind) {
    case 'from':
      return { kind: 'start', start: { kind: 'resume', sequence: since.sequence, rv } };
    case 'diff':
      return { kind: 'start', start: { kind: 'diff', events: cache.diff(rv, interest), rv } };
    case 'expired':
      return { kind: 'error', status: tooOld(view, rv, since.oldest + 1) };
  }
}

function tooOldStart({ freshness }: WatchPlan, view: LaneView): Start {
  const rv = freshness.kind === 'not-older-than' ? freshness.rv : 0;
  return { kind: 'error', status: tooOld(view, rv, view.cache.window.start + 1) };
}

/** Undefined where upstream did not give its history to dogwatch in time: then the client has to ask for it itself. */
async function backfilled(view: LaneView, rv: ResourceVersion): Promise<boolean | undefined> {
  try {
    return await view.backfill(rv);
  } catch (error) {
    if (error instanceof StatusError) return undefined;
    throw error;
  }
}

function attachTo(
  exchange: Exchange,
  plan: WatchPlan,
  { watches, found }: { watches: LaneWatches; found: Start },
): WatchOutcome {
  const client = streamTo(exchange, plan, watches);
  const stream = new WatchStream(watches, client);
  if (found.kind === 'error') {
    // Row W8: a watch that cannot begin where it was asked to is a 200 with one ERROR event.
    client.write(frameStatusEvent(plan.lane.encoding, found.status));
    client.end();
    return { kind: 'gone' };
  }
  watches.open(stream, plan.interest, { start: found.start, allowBookmarks: plan.allowBookmarks });
  return { kind: 'open', stream };
}

/** Sends the head. Row N6: a watch-list that asks for the bookmark behind its initial events is compressed. */
function streamTo(exchange: Exchange, plan: WatchPlan, { view, pumps }: LaneWatches): ClientStream {
  const headers = laneHeaders(exchange, view, plan.contentType);
  const gzip = plan.endBookmark && acceptsGzip(exchange.headers['accept-encoding']);
  const client = exchange.stream(200, gzip ? { ...headers, ...GZIP_HEADERS } : headers);
  return gzip ? gzipStream(client, pumps.gzipMembers) : client;
}
