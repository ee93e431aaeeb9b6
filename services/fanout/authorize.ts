import type { Clock } from '@dogwatch/process/clock.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { ExpiringCache } from './expiring-cache.ts';
import { Reviewer } from './reviewer.ts';
import { SingleFlight } from './single-flight.ts';
import type { User } from './user.ts';

/** What a SubjectAccessReview asks; an ApiRequest is one. Strings that do not apply are "". */
export interface AccessAttributes {
  readonly isResourceRequest: boolean;
  readonly verb: string;
  /** Without a resource. */
  readonly path: string;
  readonly group: string;
  /** As in the request, not the one that is served or stored. */
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  /** Raw: what upstream cannot parse it ignores, and then answers the wider question, which is the safe side. */
  readonly fieldSelector: string;
  readonly labelSelector: string;
}

/** `reason` is upstream's own and goes to the client (row G5). */
export type AccessDecision = { readonly allowed: true } | { readonly allowed: false; readonly reason: string };

export interface Authorizer {
  /** Asks upstream. Rejects with ReviewUnavailable if it cannot say: never a guess. */
  authorize(user: User, attributes: AccessAttributes): Promise<AccessDecision>;
  readonly counters: AuthorizationCounters;
}

/** Since the start. */
export interface AuthorizationCounters {
  readonly fromCache: number;
  readonly asked: number;
  readonly failed: number;
}

export interface AuthorizerOptions {
  readonly upstream: Upstream;
  /** How long an answer is used. */
  readonly cacheTtlMs: number;
  readonly clock: Clock;
}

const MAX_CONCURRENT_REVIEWS = 96;
/** A thousand kubelets that come back at once ask 18,000 questions. */
const MAX_WAITING_REVIEWS = 32_768;
const CACHE = { maxEntries: 100_000, maxBytes: 64 * 1024 * 1024 };
/** Longer questions bypass the cache, so that a few clients cannot fill it (as in upstream's webhook authorizer). */
const MAX_KEY_LENGTH = 10_000;
/** What a node may not read it may the moment a pod that names it is bound to it, of which it may hear before upstream. */
const NODE_DENIAL_TTL_MS = 0;
const NODE_PREFIX = 'system:node:';

export function createAuthorizer(options: AuthorizerOptions): Authorizer {
  return new UpstreamAuthorizer(options);
}

class UpstreamAuthorizer implements Authorizer {
  readonly #options: AuthorizerOptions;
  readonly #reviewer: Reviewer;
  readonly #decisions: ExpiringCache<AccessDecision>;
  readonly #flights = new SingleFlight<AccessDecision>();
  #fromCache = 0;

  constructor(options: AuthorizerOptions) {
    this.#options = options;
    const now = () => options.clock.now();
    this.#reviewer = new Reviewer({
      upstream: options.upstream,
      kind: 'SubjectAccessReview',
      maxConcurrent: MAX_CONCURRENT_REVIEWS,
      maxWaiting: MAX_WAITING_REVIEWS,
      now,
    });
    this.#decisions = new ExpiringCache({ ...CACHE, now });
  }

  get counters(): AuthorizationCounters {
    return { fromCache: this.#fromCache, asked: this.#reviewer.asked, failed: this.#reviewer.failed };
  }

  async authorize(user: User, attributes: AccessAttributes): Promise<AccessDecision> {
    // No rule grants it, but a wildcard might.
    if (attributes.verb === '') return { allowed: false, reason: 'no verb' };
    const spec = specOf(user, attributes);
    const key = JSON.stringify(spec);
    const known = this.#decisions.get(key);
    if (known !== undefined) {
      this.#fromCache += 1;
      return known;
    }
    return this.#flights.run(key, async () => {
      const decision = await this.#review(spec);
      const { cacheTtlMs } = this.#options;
      const nodeDenied = !decision.allowed && user.name.startsWith(NODE_PREFIX);
      const ttlMs = nodeDenied ? Math.min(cacheTtlMs, NODE_DENIAL_TTL_MS) : cacheTtlMs;
      const bytes = decision.allowed ? 0 : decision.reason.length;
      if (key.length <= MAX_KEY_LENGTH) this.#decisions.set(key, decision, { ttlMs, bytes });
      return decision;
    });
  }

  async #review(spec: object): Promise<AccessDecision> {
    const { allowed, denied, reason, evaluationError } = await this.#reviewer.review(spec);
    if (typeof allowed !== 'boolean') throw this.#reviewer.unavailable('malformed');
    if (allowed && denied !== true) return { allowed: true };
    // Allowed and denied at once is no answer; nor is a no because upstream's authorizer failed, where it answers 500.
    if (allowed) throw this.#reviewer.unavailable('malformed');
    if (denied !== true && isFailure(evaluationError)) {
      throw this.#reviewer.unavailable(
        'unreachable',
        new Error(`kube-apiserver could not decide: ${String(evaluationError)}`),
      );
    }
    return { allowed: false, reason: typeof reason === 'string' ? reason : '' };
  }
}

/** Whether the authorizer failed. That a selector was ignored is no failure: the question without it was answered. */
function isFailure(evaluationError: unknown): boolean {
  if (typeof evaluationError !== 'string' || evaluationError === '') return false;
  return !evaluationError
    .split('; ')
    .every((part) =>
      /^spec\.resourceAttributes\.(field|label)Selector (partially )?ignored due to parse error/.test(part),
    );
}

/** The spec of a SubjectAccessReview with its fields, groups and extras in one order, so that it is its own cache key. */
function specOf({ name, uid, groups, extra }: User, attributes: AccessAttributes): object {
  const extras = Object.entries(extra).toSorted(([left], [right]) => (left < right ? -1 : 1));
  return {
    user: name,
    uid,
    groups: groups.toSorted(),
    extra: Object.fromEntries(extras),
    ...(attributes.isResourceRequest
      ? { resourceAttributes: resourceAttributesOf(attributes) }
      : { nonResourceAttributes: { path: attributes.path, verb: attributes.verb } }),
  };
}

function resourceAttributesOf(attributes: AccessAttributes): object {
  const { verb, group, version, resource, subresource, namespace, name, fieldSelector, labelSelector } = attributes;
  return {
    verb,
    group,
    version,
    resource,
    subresource,
    namespace,
    name,
    ...(fieldSelector === '' ? {} : { fieldSelector: { rawSelector: fieldSelector } }),
    ...(labelSelector === '' ? {} : { labelSelector: { rawSelector: labelSelector } }),
  };
}
