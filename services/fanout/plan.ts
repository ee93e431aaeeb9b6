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
import { type ResourceVersion, parseResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { nameSelector, parseLabelSelector } from '@dogwatch/kube/selector.ts';
import { StatusError } from '@dogwatch/kube/status.ts';
import type { ResourceInfo } from '@dogwatch/upstream/discovery.ts';
import { Interest } from '@dogwatch/watch/interest.ts';

/** How old the state may be that an answer is made of. */
export type Freshness =
  /** Not older than the request: resourceVersion "". */
  | { readonly kind: 'fresh' }
  /** Whatever is held: resourceVersion "0". */
  | { readonly kind: 'any' }
  | { readonly kind: 'not-older-than'; readonly rv: ResourceVersion };

interface Common {
  readonly lane: Lane;
  readonly interest: Interest;
  readonly contentType: string;
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

export interface ListPlan extends Common {
  readonly kind: 'list';
  readonly freshness: Freshness;
}

export interface GetPlan extends Common {
  readonly kind: 'get';
  readonly freshness: Freshness;
}

/** What to do with a request: serve it from a lane, or hand it to upstream. */
export type Plan = WatchPlan | ListPlan | GetPlan | { readonly kind: 'forward' };

const FORWARD: Plan = { kind: 'forward' };

/**
 * Decides what becomes of a request, from what it says alone. Whatever upstream would refuse is forwarded: upstream
 * refuses it in its own words and its own order of checks (protocol section 1.1), having asked for rights first.
 */
export function planOf(
  request: ApiRequest,
  headers: { readonly accept: string | undefined; readonly userAgent: string | undefined },
  info: ResourceInfo | undefined,
): Plan {
  if (!request.cacheable || info === undefined || !info.watchable || !info.local) return FORWARD;
  // A namespaced path of a cluster-scoped resource, or the other way round, is a 404 upstream (CVE-2019-11247).
  if (request.namespace !== '' && !info.namespaced && request.resource !== 'namespaces') return FORWARD;
  try {
    return planServed(request, headers, info);
  } catch (error) {
    if (error instanceof StatusError) return FORWARD;
    throw error;
  }
}

function planServed(
  request: ApiRequest,
  headers: { readonly accept: string | undefined; readonly userAgent: string | undefined },
  info: ResourceInfo,
): Plan {
  const verb = request.verb as 'get' | 'list' | 'watch';
  const common = commonOf(request, headers.accept, info);
  if (common === undefined) return FORWARD;
  // Only JSON is ever indented, and never in a watch (row N4).
  const pretty = common.lane.encoding === 'json' && prettyRequested(request.query, headers.userAgent);
  if (verb !== 'watch') requestTimeoutSeconds(request.query);
  if (verb === 'get') return pretty ? FORWARD : planGet(request, common, info);
  const options = parseListOptions(request.query);
  if (validateListOptions(options) !== undefined || options.shardSelector !== '') return FORWARD;
  if (nameConflict(options, request.name) !== undefined) return FORWARD;
  const namespace = info.namespaced ? request.namespace : '';
  const interest = new Interest({
    namespace,
    name: request.name,
    labels: options.labelSelector,
    fields: options.fieldSelector,
  });
  const plan = { ...common, interest };
  if (verb === 'watch') return planWatch(request, options, plan);
  return pretty ? FORWARD : planList(options, plan);
}

function commonOf(
  request: ApiRequest,
  accept: string | undefined,
  info: ResourceInfo,
): Omit<Common, 'interest'> | undefined {
  const verb = request.verb as 'get' | 'list' | 'watch';
  const negotiated = negotiate(accept, { verb, customResource: info.custom });
  if (negotiated === undefined || negotiated.mediaType === 'yaml' || negotiated.pretty) return undefined;
  const transform = verb === 'list' ? 'PartialObjectMetadataList' : 'PartialObjectMetadata';
  if (negotiated.as !== undefined && (negotiated.as !== transform || negotiated.asVersion !== 'v1')) return undefined;
  const encoding: Encoding = negotiated.mediaType;
  const { group, version, resource } = request;
  return {
    lane: { group, version, resource, encoding, view: negotiated.as === undefined ? 'object' : 'metadata' },
    contentType: contentType(encoding, verb === 'watch'),
  };
}

function freshnessOf(resourceVersion: string): Freshness | undefined {
  if (resourceVersion === '') return { kind: 'fresh' };
  if (resourceVersion === '0') return { kind: 'any' };
  const rv = parseResourceVersion(resourceVersion);
  // Zeros written otherwise than "0" mean different things to different checks upstream.
  return rv === undefined || rv === 0 ? undefined : { kind: 'not-older-than', rv };
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

/** Consistent, exact and paged lists are upstream's to answer: they need proof, or history by version. */
function planList(options: ListOptions, common: Common): Plan {
  const freshness = freshnessOf(options.resourceVersion);
  if (freshness === undefined || freshness.kind === 'fresh') return FORWARD;
  if (options.continue !== '' || options.resourceVersionMatch === 'Exact') return FORWARD;
  // A limit is ignored at "0" (row L2), exact without a match (L4), and pages otherwise.
  if (options.limit > 0 && freshness.kind !== 'any') return FORWARD;
  return { ...common, kind: 'list', freshness };
}

function planGet(request: ApiRequest, common: Omit<Common, 'interest'>, info: ResourceInfo): Plan {
  // A named object with `?watch`: only upstream knows which of the two it takes it for.
  if (wantsWatch(request.query)) return FORWARD;
  const freshness = freshnessOf(parseGetOptions(request.query).resourceVersion);
  if (freshness === undefined || freshness.kind === 'fresh') return FORWARD;
  if (info.namespaced && request.namespace === '') return FORWARD;
  const interest = new Interest({
    namespace: info.namespaced ? request.namespace : '',
    name: request.name,
    labels: parseLabelSelector(''),
    fields: nameSelector(request.name),
  });
  return { ...common, kind: 'get', freshness, interest };
}
