import { type StatusBody, serviceUnavailable, StatusError, tooManyRequests } from '@dogwatch/kube/status.ts';
import { requestJson } from '@dogwatch/upstream/request-json.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { UpstreamBusy, UpstreamInterrupted } from '@dogwatch/upstream/upstream-error.ts';
import { ConcurrencyLimit, LimitReached } from './concurrency-limit.ts';

export type ReviewKind = 'TokenReview' | 'SubjectAccessReview';

/** Upstream could not be asked, so nothing is known: 429 when it or dogwatch is busy, 503 otherwise. Never cached. */
export class ReviewUnavailable extends StatusError {
  override readonly name = 'ReviewUnavailable';
}

export interface ReviewerOptions {
  readonly upstream: Upstream;
  readonly kind: ReviewKind;
  readonly maxConcurrent: number;
  readonly maxWaiting: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

const API_VERSIONS = {
  TokenReview: 'authentication.k8s.io/v1',
  SubjectAccessReview: 'authorization.k8s.io/v1',
} as const;
const PLURALS = { TokenReview: 'tokenreviews', SubjectAccessReview: 'subjectaccessreviews' } as const;
/** For the wait and the request each; upstream's own delegating servers wait 10 s as well. */
const TIMEOUT_MS = 10_000;
const RETRY_AFTER_SECONDS = 1;

/** Posts reviews to kube-apiserver with dogwatch's own credential, so many at a time. */
export class Reviewer {
  /** Since the start: asked, and of those without an answer. */
  asked = 0;
  failed = 0;
  readonly #options: ReviewerOptions;
  readonly #limit: ConcurrencyLimit;

  constructor(options: ReviewerOptions) {
    this.#options = options;
    const { maxConcurrent, maxWaiting, now } = options;
    this.#limit = new ConcurrencyLimit({ maxRunning: maxConcurrent, maxWaiting, maxWaitMs: TIMEOUT_MS, now });
  }

  /** The `status` of the review of `spec`. Rejects with ReviewUnavailable. */
  async review(spec: object): Promise<Readonly<Record<string, unknown>>> {
    this.asked += 1;
    try {
      return await this.#limit.run(() => this.#ask(spec));
    } catch (cause) {
      this.failed += 1;
      if (cause instanceof ReviewUnavailable) throw cause;
      const busy = cause instanceof LimitReached || cause instanceof UpstreamBusy;
      throw this.unavailable(busy ? 'busy' : 'unreachable', cause);
    }
  }

  /** What clients are told; the reasons are for the log. */
  unavailable(why: 'busy' | 'unreachable' | 'refused' | 'malformed', cause?: unknown): ReviewUnavailable {
    const { kind } = this.#options;
    const status: StatusBody =
      why === 'busy'
        ? tooManyRequests('too many requests to verify, please try again later', RETRY_AFTER_SECONDS)
        : serviceUnavailable(`dogwatch cannot verify the request: ${kind} ${why}`, RETRY_AFTER_SECONDS);
    return new ReviewUnavailable(status, { cause });
  }

  /** Asks once more where the connection was lost under the question: it changes nothing upstream, and many may wait. */
  async #ask(spec: object): Promise<Readonly<Record<string, unknown>>> {
    try {
      return await this.#post(spec);
    } catch (error) {
      if (!(error instanceof UpstreamInterrupted)) throw error;
      return await this.#post(spec);
    }
  }

  async #post(spec: object): Promise<Readonly<Record<string, unknown>>> {
    const { upstream, kind } = this.#options;
    const apiVersion = API_VERSIONS[kind];
    const { status: code, body } = await requestJson(upstream, {
      method: 'POST',
      path: `/apis/${apiVersion}/${PLURALS[kind]}`,
      body: { apiVersion, kind, spec },
      signal: new AbortController().signal,
      timeoutMs: TIMEOUT_MS,
    });
    if (code === 429) throw this.unavailable('busy', new Error('kube-apiserver answered 429'));
    if (code !== 200 && code !== 201)
      throw this.unavailable(code < 500 ? 'refused' : 'unreachable', refusal(kind, code));
    const status = isRecord(body) ? body['status'] : undefined;
    if (!isRecord(status)) throw this.unavailable('malformed');
    return status;
  }
}

function refusal(kind: ReviewKind, code: number): Error {
  const advice = code === 401 || code === 403 ? ': bind dogwatch to the cluster role system:auth-delegator' : '';
  return new Error(`kube-apiserver answered a ${kind} with ${code}${advice}`);
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
