import { createHmac, randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { StatusError, unauthorized } from '@dogwatch/kube/status.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import { requestJson } from '@dogwatch/upstream/request-json.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { expiryOfToken, MalformedToken, tokenOfAuthorization, tokenOfWebSocket } from './bearer-token.ts';
import { CertificateError } from './certificate-chain.ts';
import type { CertificateAuthenticator } from './client-certificate.ts';
import type { Connection } from './exchange.ts';
import { ExpiringCache } from './expiring-cache.ts';
import { isRecord, Reviewer } from './reviewer.ts';
import { SingleFlight } from './single-flight.ts';
import type { Caller, User } from './user.ts';

/** A credential was offered and is not good (row G4). The cause, for the log, never holds it. */
export class Unauthorized extends StatusError {
  override readonly name = 'Unauthorized';

  constructor(cause: Error) {
    super(unauthorized(), { cause });
  }
}

export interface CallerHeaders {
  readonly headers: IncomingHttpHeaders;
  readonly connection: Connection;
}

export interface Authenticator {
  /**
   * Who asks: by client certificate, else by bearer token, else anonymous, as in kube-apiserver. A bad certificate
   * does not spoil a good token. Rejects with Unauthorized, or ReviewUnavailable if upstream cannot be asked.
   */
  authenticate(request: CallerHeaders): Promise<Caller>;
  /** Whether upstream serves anonymous callers; asked at most once an hour. Rejects with ReviewUnavailable. */
  anonymousAllowed(): Promise<boolean>;
  readonly counters: AuthenticationCounters;
}

/** Since the start. */
export interface AuthenticationCounters {
  readonly tokensFromCache: number;
  readonly tokensAsked: number;
  readonly tokensRefused: number;
  readonly tokenReviewsFailed: number;
}

export interface AuthenticatorOptions {
  readonly upstream: Upstream;
  /** Absent: no client certificates. */
  readonly certificates?: CertificateAuthenticator | undefined;
  /** How long a TokenReview's answer is used, good or bad; a token's own expiry goes before. */
  readonly cacheTtlMs: number;
  readonly clock: Clock;
}

export const ANONYMOUS: User = { name: 'system:anonymous', uid: '', groups: ['system:unauthenticated'], extra: {} };

const MAX_TOKEN_LENGTH = 64 * 1024;
const MAX_CONCURRENT_REVIEWS = 16;
const MAX_WAITING_REVIEWS = 1024;
/** Refusals have a cache of their own, so that junk tokens push out no good ones. */
const ACCEPTED_CACHE = { maxEntries: 20_000, maxBytes: 32 * 1024 * 1024 };
const REFUSED_CACHE = { maxEntries: 10_000, maxBytes: 2 * 1024 * 1024 };
/** Upstream says no but may mean that it could not find out (its own webhook is down, say). */
const UNCERTAIN_REFUSAL_TTL_MS = 1_000;
const ANONYMOUS_TTL_MS = 3_600_000;

export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  return new UpstreamAuthenticator(options);
}

class UpstreamAuthenticator implements Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #reviewer: Reviewer;
  readonly #accepted: ExpiringCache<User>;
  readonly #refused: ExpiringCache<true>;
  readonly #flights = new SingleFlight<User | undefined>();
  readonly #anonymous = new SingleFlight<boolean>();
  // Tokens are known by a keyed hash only, so that a heap dump holds none and nobody can prepare collisions.
  readonly #hashKey = randomBytes(32);
  #anonymousAnswer: { readonly allowed: boolean; readonly expiresAt: number } | undefined;
  #fromCache = 0;
  #refusals = 0;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
    const now = () => options.clock.now();
    this.#reviewer = new Reviewer({
      upstream: options.upstream,
      kind: 'TokenReview',
      maxConcurrent: MAX_CONCURRENT_REVIEWS,
      maxWaiting: MAX_WAITING_REVIEWS,
      now,
    });
    this.#accepted = new ExpiringCache({ ...ACCEPTED_CACHE, now });
    this.#refused = new ExpiringCache({ ...REFUSED_CACHE, now });
  }

  get counters(): AuthenticationCounters {
    return {
      tokensFromCache: this.#fromCache,
      tokensAsked: this.#reviewer.asked,
      tokensRefused: this.#refusals,
      tokenReviewsFailed: this.#reviewer.failed,
    };
  }

  async authenticate({ headers, connection }: CallerHeaders): Promise<Caller> {
    let refusal: Error | undefined;
    try {
      const user = await this.#options.certificates?.authenticate(connection);
      if (user !== undefined) return { user, credential: { kind: 'impersonate' } };
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error;
      refusal = error;
    }
    for (const tokenOf of [tokenOfAuthorization, tokenOfWebSocket]) {
      try {
        const token = tokenOf(headers);
        if (token === undefined) continue;
        return { user: await this.#userOfToken(token), credential: { kind: 'bearer', token } };
      } catch (error) {
        if (!(error instanceof MalformedToken) && !(error instanceof RefusedToken)) throw error;
        refusal ??= error;
      }
    }
    if (refusal !== undefined) throw new Unauthorized(refusal);
    return { user: ANONYMOUS, credential: { kind: 'none' } };
  }

  async anonymousAllowed(): Promise<boolean> {
    const { clock } = this.#options;
    if (this.#anonymousAnswer !== undefined && clock.now() < this.#anonymousAnswer.expiresAt) {
      return this.#anonymousAnswer.allowed;
    }
    return this.#anonymous.run('', async () => {
      const allowed = await this.#askAnonymously();
      this.#anonymousAnswer = { allowed, expiresAt: clock.now() + ANONYMOUS_TTL_MS };
      return allowed;
    });
  }

  async #userOfToken(token: string): Promise<User> {
    if (token.length > MAX_TOKEN_LENGTH || !/^[\x21-\x7e]+$/.test(token))
      throw new MalformedToken('no token looks like this');
    const key = createHmac('sha256', this.#hashKey).update(token).digest('base64');
    const known = this.#accepted.get(key);
    if (known !== undefined || this.#refused.get(key) === true) this.#fromCache += 1;
    const user =
      known ??
      (this.#refused.get(key) === true ? undefined : await this.#flights.run(key, () => this.#review(key, token)));
    if (user !== undefined) return user;
    this.#refusals += 1;
    throw new RefusedToken('kube-apiserver does not know the bearer token');
  }

  async #review(key: string, token: string): Promise<User | undefined> {
    // No audiences: upstream then checks for its own.
    const status = await this.#reviewer.review({ token });
    const { cacheTtlMs, clock } = this.#options;
    if (status['authenticated'] === true) {
      const user = userOf(status['user']);
      if (user === undefined) throw this.#reviewer.unavailable('malformed');
      const ttlMs = Math.min(cacheTtlMs, (expiryOfToken(token) ?? Infinity) - clock.wall());
      this.#accepted.set(key, user, { ttlMs, bytes: JSON.stringify(user).length });
      return user;
    }
    const error = status['error'];
    const certain = typeof error !== 'string' || error === '' || error.includes('invalid bearer token');
    this.#refused.set(key, true, {
      ttlMs: certain ? cacheTtlMs : Math.min(cacheTtlMs, UNCERTAIN_REFUSAL_TTL_MS),
      bytes: 0,
    });
    return undefined;
  }

  async #askAnonymously(): Promise<boolean> {
    let status: number;
    try {
      const { upstream } = this.#options;
      const request = { path: '/api', ownCredential: false, timeoutMs: 10_000, signal: new AbortController().signal };
      ({ status } = await requestJson(upstream, request));
    } catch (cause) {
      throw this.#reviewer.unavailable('unreachable', cause);
    }
    if (status === 401) return false;
    // Known as anonymous, whether that may read /api or not.
    if (status === 200 || status === 403) return true;
    throw this.#reviewer.unavailable(
      status === 429 ? 'busy' : 'unreachable',
      new Error(`kube-apiserver answered ${status}`),
    );
  }
}

class RefusedToken extends Error {
  override readonly name = 'RefusedToken';
  readonly code = 'refused_token';
}

/** UserInfo of a TokenReview; undefined if it is not one. */
function userOf(info: unknown): User | undefined {
  if (!isRecord(info)) return undefined;
  const { username, uid = '', groups = [], extra = {} } = info;
  if (typeof username !== 'string' || username === '' || typeof uid !== 'string') return undefined;
  if (!isStrings(groups) || !isRecord(extra)) return undefined;
  if (!isExtra(extra)) return undefined;
  return { name: username, uid, groups, extra };
}

function isExtra(extra: Readonly<Record<string, unknown>>): extra is User['extra'] {
  return Object.values(extra).every(isStrings);
}

function isStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
