import type { ApiRequest } from '@dogwatch/kube/api-request.ts';
import { contentType, negotiate, prettyRequested } from '@dogwatch/kube/content-negotiation.ts';
import type { Encoding, Lane } from '@dogwatch/kube/lane.ts';
import {
  type ListOptions,
  nameConflict,
  parseGetOptions,
  parseListOptions,
  requestTimeoutSeconds,
  validateListOptions,
  wantsWatch,
} from '@dogwatch/kube/list-options.ts';
import { nameSelector, parseLabelSelector } from '@dogwatch/kube/selector.ts';
import { type ShardSelector, parseShardSelector } from '@dogwatch/kube/shard-selector.ts';
import { ShardSelectorError } from '@dogwatch/kube/shard-selector-grammar.ts';
import { StatusError } from '@dogwatch/kube/status.ts';
import type { ResourceInfo } from '@dogwatch/upstream/discovery.ts';
import { Interest } from '@dogwatch/watch/interest.ts';
import { type Freshness, freshnessOf } from './freshness.ts';
import { type ListRange, listRange } from './list-range.ts';

interface Common {
  readonly lane: Lane;
  readonly interest: Interest;
  readonly contentType: string;
}

interface ReadPlan extends Common {
  /** The body is to be indented (row N4). */
  readonly pretty: boolean;
  /** After so many seconds an answer is too late (rows L22, G12). */
  readonly timeoutSeconds: number;
}

export interface WatchPlan extends Common {
  readonly kind: 'watch';
  /** `initial`: the objects first. `resume`: only what comes after a version. `recent`: only what comes from now on. */
  readonly start: 'initial' | 'resume' | 'recent';
  readonly freshness: Freshness;
  /** Whether the annotated bookmark ends the initial events. */
  readonly endBookmark: boolean;
  readonly allowBookmarks: boolean;
  readonly timeoutSeconds: number | undefined;
}

export interface ListPlan extends ReadPlan {
  readonly kind: 'list';
  readonly range: ListRange;
}

export interface GetPlan extends ReadPlan {
  readonly kind: 'get';
  readonly freshness: Freshness;
}

/** What to do with a request: serve it from a lane, or hand it to upstream. */
export type Plan = WatchPlan | ListPlan | GetPlan | { readonly kind: 'forward' };

const FORWARD: Plan = { kind: 'forward' };

interface Headers {
  readonly accept: string | undefined;
  readonly userAgent: string | undefined;
}

/**
 * Decides what becomes of a request, from what it says alone. Whatever upstream would refuse is forwarded: upstream
 * refuses it in its own words and its own order of checks (protocol section 1.1), having asked for rights first.
 */
export function planOf(request: ApiRequest, headers: Headers, info: ResourceInfo | undefined): Plan {
  if (!request.cacheable || info === undefined || !info.watchable || !info.local) return FORWARD;
  // A namespaced path of a cluster-scoped resource, or the other way round, is a 404 upstream (CVE-2019-11247).
  if (request.namespace !== '' && !info.namespaced && request.resource !== 'namespaces') return FORWARD;
  if (namesInNoNamespace(request, info)) return FORWARD;
  try {
    return planServed(request, headers, info);
  } catch (error) {
    if (error instanceof StatusError || error instanceof ShardSelectorError) return FORWARD;
    throw error;
  }
}

/** True for the path of one object of a namespaced resource without a namespace; a selector may well ask for a name. */
function namesInNoNamespace(request: ApiRequest, info: ResourceInfo): boolean {
  const inPath = request.name !== '' && (request.verb === 'get' || request.legacyWatchPrefix);
  return inPath && info.namespaced && request.namespace === '';
}

function planServed(request: ApiRequest, headers: Headers, info: ResourceInfo): Plan {
  const found = negotiated(request, headers, info);
  if (found === undefined) return FORWARD;
  const { lane, pretty } = found;
  const verb = request.verb as 'get' | 'list' | 'watch';
  const common = { lane, contentType: contentType(lane.encoding, verb === 'watch') };
  if (verb === 'get') {
    return planGet(request, { ...common, pretty, timeoutSeconds: requestTimeoutSeconds(request.query) }, info);
  }
  const options = parseListOptions(request.query);
  if (validateListOptions(options) !== undefined) return FORWARD;
  if (nameConflict(options, request.name) !== undefined) return FORWARD;
  const shards = shardsOf(options);
  const interest = new Interest({
    namespace: info.namespaced ? request.namespace : '',
    name: request.name,
    labels: options.labelSelector,
    fields: options.fieldSelector,
    ...(shards === undefined ? {} : { shards }),
  });
  if (verb === 'watch') return planWatch(request, options, { ...common, interest });
  const timeoutSeconds = requestTimeoutSeconds(request.query);
  const range = listRange(options, { lane, interest, namespaced: info.namespaced });
  return range === undefined ? FORWARD : { ...common, kind: 'list', interest, pretty, timeoutSeconds, range };
}

/** In which lane the answer is; undefined where it is in none. */
function negotiated(
  request: ApiRequest,
  { accept, userAgent }: Headers,
  info: ResourceInfo,
): { lane: Lane; pretty: boolean } | undefined {
  const { group, version, resource, query } = request;
  const verb = request.verb as 'get' | 'list' | 'watch';
  const found = negotiate(accept, { verb, customResource: info.custom });
  if (found === undefined || found.mediaType === 'yaml') return undefined;
  const transform = verb === 'list' ? 'PartialObjectMetadataList' : 'PartialObjectMetadata';
  if (found.as !== undefined && (found.as !== transform || found.asVersion !== 'v1')) return undefined;
  const encoding: Encoding = found.mediaType;
  return {
    lane: { group, version, resource, encoding, view: found.as === undefined ? 'object' : 'metadata' },
    // Only JSON is ever indented.
    pretty: encoding === 'json' && (found.pretty || prettyRequested(query, userAgent)),
  };
}

/** Throws ShardSelectorError, for upstream to refuse it or to ignore it. */
function shardsOf({ shardSelector }: ListOptions): ShardSelector | undefined {
  return shardSelector === '' ? undefined : parseShardSelector(shardSelector);
}

function planWatch(request: ApiRequest, options: ListOptions, common: Common): Plan {
  const freshness = freshnessOf(options.resourceVersion);
  const { sendInitialEvents, allowWatchBookmarks: allowBookmarks, timeoutSeconds } = options;
  if (freshness === undefined || (timeoutSeconds ?? 0) < 0) return FORWARD;
  const plan = { ...common, kind: 'watch', freshness, allowBookmarks, timeoutSeconds, endBookmark: false } as const;
  if (sendInitialEvents === true) return { ...plan, start: 'initial', endBookmark: allowBookmarks };
  if (freshness.kind === 'not-older-than') return { ...plan, start: 'resume' };
  if (sendInitialEvents === false) return { ...plan, start: 'recent' };
  // Only the deprecated prefix escapes the default of row W2; it means any state, with no bookmark at its end.
  return request.legacyWatchPrefix ? { ...plan, start: 'initial', freshness: { kind: 'any' } } : FORWARD;
}

function planGet(request: ApiRequest, common: Omit<ReadPlan, 'interest'>, info: ResourceInfo): Plan {
  // A named object with `?watch`: only upstream knows which of the two it takes it for.
  if (wantsWatch(request.query)) return FORWARD;
  const freshness = freshnessOf(parseGetOptions(request.query).resourceVersion);
  if (freshness === undefined) return FORWARD;
  // Row O1: upstream reads these from its store, however many ask. A fenced GET needs no more than to go on here.
  if (freshness.kind === 'fresh') return FORWARD;
  const interest = new Interest({
    namespace: info.namespaced ? request.namespace : '',
    name: request.name,
    labels: parseLabelSelector(''),
    fields: nameSelector(request.name),
  });
  return { ...common, kind: 'get', freshness, interest };
}
