import type { ApiRequest } from '@dogwatch/kube/api-request.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Metrics } from '@dogwatch/process/metrics.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { type Authenticator, type CallerHeaders, createAuthenticator } from './authenticate.ts';
import { type AccessDecision, type Authorizer, createAuthorizer } from './authorize.ts';
import { createCertificateAuthenticator } from './client-certificate.ts';
import { ImpersonationForbidden, authorizeImpersonation } from './impersonation.ts';
import { registerRightsMetrics } from './rights-metrics.ts';
import type { Caller, User } from './user.ts';

/** What is asked of upstream about a caller, and about what they may see. */
export interface Rights {
  /** How a request of this caller reaches upstream, which then decides itself. Rejects with StatusError. */
  callerToForward(request: CallerHeaders): Promise<Caller>;
  /**
   * As whom the caller is served from the cache, impersonation included; undefined where only upstream can say what
   * becomes of them, and the request is to be forwarded. Rejects with StatusError.
   */
  callerToServe(request: CallerHeaders): Promise<Caller | undefined>;
  /** Whether upstream would let this user read what is asked, selectors included. Rejects with StatusError. */
  mayRead(user: User, request: ApiRequest): Promise<AccessDecision>;
}

export interface RightsDependencies {
  readonly upstream: Upstream;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface RightsConfig {
  /** PEM bundle; undefined: client certificates name nobody. */
  readonly clientCaFile: string | undefined;
  readonly reviewCacheTtlMs: number;
}

/** Whose a forwarded token is, is upstream's to find out: asking twice would double its work. */
const NOT_ASKED: User = { name: '', uid: '', groups: [], extra: {} };

/** Rejects with ClientCaError if the bundle cannot be used. */
export async function createRights(deps: RightsDependencies, config: RightsConfig): Promise<Rights> {
  const { upstream, clock, log, metrics } = deps;
  const caFile = config.clientCaFile;
  const certificates = caFile === undefined ? undefined : await createCertificateAuthenticator({ caFile, clock, log });
  const cacheTtlMs = config.reviewCacheTtlMs;
  const authenticator = createAuthenticator({ upstream, certificates, cacheTtlMs, clock });
  const authorizer = createAuthorizer({ upstream, cacheTtlMs, clock });
  registerRightsMetrics(metrics, authenticator, authorizer);
  return new UpstreamRights(authenticator, authorizer);
}

class UpstreamRights implements Rights {
  readonly #authenticator: Authenticator;
  readonly #authorizer: Authorizer;

  constructor(authenticator: Authenticator, authorizer: Authorizer) {
    this.#authenticator = authenticator;
    this.#authorizer = authorizer;
  }

  async callerToForward(request: CallerHeaders): Promise<Caller> {
    const { authorization } = request.headers;
    // A certificate goes before a token, as upstream has it, and only dogwatch can have verified it.
    if (authorization === undefined || request.connection.peerCertificates().length > 0) {
      return await this.#authenticator.authenticate(request);
    }
    return { user: NOT_ASKED, credential: { kind: 'bearer', token: authorization.replace(/^Bearer /i, '') } };
  }

  async callerToServe(request: CallerHeaders): Promise<Caller | undefined> {
    const caller = await this.#authenticator.authenticate(request);
    if (caller.credential.kind === 'none' && !(await this.#authenticator.anonymousAllowed())) return undefined;
    try {
      const { headers } = request;
      const user = await authorizeImpersonation({ user: caller.user, headers, authorizer: this.#authorizer });
      return user === undefined ? caller : { ...caller, user };
    } catch (error) {
      // Upstream knows narrower rights to impersonate (KEP-5284): it decides, and says no in its own words.
      if (error instanceof ImpersonationForbidden) return undefined;
      throw error;
    }
  }

  mayRead(user: User, request: ApiRequest): Promise<AccessDecision> {
    return this.#authorizer.authorize(user, request);
  }
}
