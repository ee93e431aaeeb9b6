import { encodeContinue, inconsistentContinue } from '@dogwatch/kube/continue-token.ts';
import { isCachedUpstream } from '@dogwatch/kube/lane.ts';
import { type ListHead, frameList } from '@dogwatch/kube/list-framer.ts';
import { prettyJson } from '@dogwatch/kube/pretty-json.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { StatusError, continueExpired, notFound, tooOldToList } from '@dogwatch/kube/status.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { LaneView } from '@dogwatch/watch/lane-view.ts';
import type { ListPage } from '@dogwatch/watch/list-page.ts';
import { PastState } from '@dogwatch/watch/past-state.ts';
import { THRESHOLD_BYTES, streamBody } from './compression.ts';
import type { Exchange } from './exchange.ts';
import { whenFresh } from './freshness.ts';
import { isSelectable, laneHeaders } from './lane-answer.ts';
import type { GetPlan, ListPlan } from './plan.ts';
import type { UpstreamShards } from './upstream-shards.ts';

/** A first page is proved fresh together with all that follows it up to so many pages, or objects. */
const FEW_PAGES = 4;
const FEW_OBJECTS = 2_000;
/**
 * Upstream forgets a version once its store is compacted, and says so; by default that is not before five minutes. What
 * is older than this, in ms, is asked of upstream, which knows.
 */
const PAST_MS = 60_000;

/** What became of a read: `forward` if only upstream can answer it. */
export type ReadOutcome = 'done' | 'forward';

/** What an answer is made of: the lane, and whether the answer has become too late while it was waited for. */
export interface ReadContext {
  readonly view: LaneView;
  readonly clock: Clock;
  readonly deadline: { readonly passed: boolean };
  readonly upstreamShards: Pick<UpstreamShards, 'knows'>;
}

/** Answers a GET from the lane. Rejects with StatusError (404, 503, 504). */
export async function answerGet(exchange: Exchange, plan: GetPlan, context: ReadContext): Promise<ReadOutcome> {
  const { interest, lane } = plan;
  const { view } = context;
  const request = { ...context, freshness: plan.freshness, extent: { interest, limit: 0 } };
  const object = await whenFresh(request, () => view.cache.get(interest.keyPrefix + interest.name));
  if (context.deadline.passed) return 'done';
  if (object === undefined) throw new StatusError(notFound(lane, interest.name));
  const parts = [...bodyOf(plan, lane.encoding === 'json' ? [object.bytes, NEWLINE] : [object.bytes])];
  const body = Buffer.concat(parts);
  const headers = laneHeaders(exchange, view, plan.contentType);
  if (body.length <= THRESHOLD_BYTES) exchange.respond(200, headers, body);
  else streamBody(exchange, headers, parts.values());
  return 'done';
}

const NEWLINE = Buffer.from('\n');

/** Answers a LIST from the lane, streamed from stored bytes at the client's pace. Rejects with StatusError (503, 504). */
export async function answerList(exchange: Exchange, plan: ListPlan, context: ReadContext): Promise<ReadOutcome> {
  const { view } = context;
  if (!isSelectable(view, plan.interest)) return 'forward';
  const found = await findPage(plan, context);
  if (context.deadline.passed) return 'done';
  if (found === undefined) return await notHeld(plan, context);
  const { rv, page } = found;
  const objects = page.objects.map(({ bytes }) => bytes);
  const parts = frameList(plan.lane.encoding, listHead(plan, view, { rv, page }), objects);
  streamBody(exchange, laneHeaders(exchange, view, plan.contentType), bodyOf(plan, parts)[Symbol.iterator]());
  return 'done';
}

/** A part is not asked of an upstream that knows no shards, for it would give everything (row G2). */
async function notHeld({ interest, range: { start } }: ListPlan, { upstreamShards }: ReadContext): Promise<'forward'> {
  if (interest.shards === undefined || (await upstreamShards.knows())) return 'forward';
  throw new StatusError(start === undefined ? tooOldToList() : continueExpired(inconsistentContinue(start)));
}

interface FoundPage {
  readonly rv: ResourceVersion;
  readonly page: ListPage;
}

/** Undefined where what it is to show is not held. */
async function findPage(plan: ListPlan, context: ReadContext): Promise<FoundPage | undefined> {
  const { range, interest } = plan;
  const { state: freshness, start, limit } = range;
  if (freshness.kind === 'exact') {
    const past = await stateAt(plan, context, freshness.rv);
    return past === undefined ? undefined : { rv: past.rv, page: past.page(interest, { start: start ?? '', limit }) };
  }
  const { view } = context;
  const extent = { interest, limit: provedLimit(plan, view) };
  return await whenFresh({ ...context, freshness, extent }, (rv) => {
    const { cache } = view;
    // Only where a first page begins upstream looks into its indexes.
    const page =
      start === undefined
        ? cache.select(interest).page(limit)
        : new PastState(rv, cache.schema, { snapshot: cache.snapshot() }).page(interest, { start, limit });
    // For the pages that follow.
    if (page.last !== undefined && extent.limit === 0) cache.keep(rv, interest);
    return { rv, page };
  });
}

/**
 * How many objects to prove fresh, 0 for all: all that are paged through where that is not much more than the page, so
 * that the pages that follow can be shown at the version of the proof.
 */
function provedLimit({ range, interest }: ListPlan, { cache }: LaneView): number {
  const { limit, start } = range;
  if (start !== undefined || limit === Number.POSITIVE_INFINITY) return 0;
  return cache.snapshot().count(interest.keyPrefix) <= Math.max(limit * FEW_PAGES, FEW_OBJECTS) ? 0 : limit;
}

/** The state at `rv`, waited for as upstream waits for what is to come (rows L5, L10). */
async function stateAt(
  { interest, lane }: ListPlan,
  context: ReadContext,
  rv: ResourceVersion,
): Promise<PastState | undefined> {
  const { view } = context;
  if (view.ageOf(rv) > PAST_MS) return undefined;
  const held = view.cache.at(rv, interest);
  if (held !== undefined || rv <= view.cache.watermark) return held;
  // Upstream's store says at once that it has not come so far; a part is not asked of it.
  if (!isCachedUpstream(lane) && interest.shards === undefined) return undefined;
  const request = { ...context, freshness: { kind: 'not-older-than', rv }, extent: { interest, limit: 0 } } as const;
  // Proof of a later version is none of what was before: something may have come and gone.
  return await whenFresh(request, (proved) =>
    proved === rv ? view.cache.keep(rv, interest) : view.cache.at(rv, interest),
  );
}

function listHead({ lane, interest }: ListPlan, { facts }: LaneView, { rv, page }: FoundPage): ListHead {
  const { shards } = interest;
  const { apiVersion, layout, listKind: kind } = facts;
  const { last, remaining } = page;
  return {
    kind,
    apiVersion,
    layout,
    resourceVersion: rv,
    ...(last === undefined ? {} : { continue: encodeContinue(last, rv, isCachedUpstream(lane)) }),
    ...(remaining === undefined ? {} : { remainingItemCount: remaining }),
    ...(shards === undefined ? {} : { shards: shards.text }),
  };
}

function bodyOf({ pretty }: { readonly pretty: boolean }, parts: Iterable<Buffer>): Iterable<Buffer> {
  return pretty ? prettyJson(parts) : parts;
}
