import { setImmediate } from 'node:timers/promises';
import { type ApiRequest, parseApiRequest } from '@dogwatch/kube/api-request.ts';
import { laneKey } from '@dogwatch/kube/lane.ts';
import { StatusError, forbidden } from '@dogwatch/kube/status.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Discovery } from '@dogwatch/upstream/discovery.ts';
import type { LaneSource } from '@dogwatch/watch/lane-view.ts';
import { answerStatus, answerUpgrade } from './answer.ts';
import type { Exchange, UpgradeExchange } from './exchange.ts';
import { type GetPlan, type ListPlan, type WatchPlan, planOf } from './plan.ts';
import { ExpiringCache } from './expiring-cache.ts';
import { FirstReads } from './first-reads.ts';
import { ResourceGone } from './freshness.ts';
import { LaneRefusal, hasScopeOf, refusalOf } from './lane-answer.ts';
import { FailureLog } from './proxy-failure.ts';
import { type ReadContext, type ReadOutcome, answerGet, answerList } from './read-handler.ts';
import { RequestDeadline } from './request-deadline.ts';
import type { Rights } from './rights.ts';
import type { ReverseProxy } from './reverse-proxy.ts';
import type { TokenBucket } from './token-bucket.ts';
import type { UpstreamShards } from './upstream-shards.ts';
import type { Caller, User } from './user.ts';
import { openWatch } from './watch-handler.ts';
import type { Watches } from './watches.ts';

export interface ApiHandlerDependencies {
  readonly discovery: Discovery;
  readonly rights: Rights;
  readonly lanes: LaneSource;
  readonly proxy: ReverseProxy;
  readonly watches: Watches;
  readonly forwardBucket: TokenBucket;
  readonly upstreamShards: Pick<UpstreamShards, 'knows'>;
  readonly clock: Clock;
  readonly log: Log;
}

type AcquiredLane = Awaited<ReturnType<LaneSource['acquire']>>;

/** How long a resource that dogwatch may not read, or that is not there (yet), is left to upstream unasked. */
const UNREADABLE_MS = 10_000;

/**
 * The API edge: serves LIST, WATCH and GET from lanes where that is sure to be right, and hands everything else to
 * upstream. The order of checks is upstream's: who is it, may they, then everything else.
 */
export class ApiHandler {
  /** Requests so far, by who answered them; `refused`: by dogwatch itself, or told to come again. */
  readonly answers = { served: 0, forwarded: 0, refused: 0 };
  readonly #deps: ApiHandlerDependencies;
  readonly #failures: FailureLog;
  readonly #firstReads: FirstReads;
  readonly #unreadable = new ExpiringCache<true>({
    maxEntries: 1_000,
    maxBytes: 1024 * 1024,
    now: () => performance.now(),
  });

  constructor(deps: ApiHandlerDependencies) {
    this.#deps = deps;
    this.#failures = new FailureLog(deps.log);
    this.#firstReads = new FirstReads(() => deps.clock.now());
  }

  async onRequest(exchange: Exchange): Promise<void> {
    try {
      await this.#serve(exchange);
    } catch (error) {
      if (exchange.started) {
        this.#deps.log.warn({ err: error }, 'an answer broke off');
        exchange.abort();
      } else if (error instanceof StatusError) {
        this.#failures.record(error, exchange.method);
        this.answers.refused += 1;
        answerStatus(exchange, error.status, error instanceof LaneRefusal ? error.warnings : []);
      } else {
        throw error;
      }
    }
  }

  async onUpgrade(exchange: UpgradeExchange): Promise<void> {
    const { rights, proxy } = this.#deps;
    let caller;
    try {
      caller = await rights.callerToForward(exchange);
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      this.#failures.record(error, exchange.method);
      answerUpgrade(exchange, error.status);
      return;
    }
    proxy.upgrade(exchange, caller);
  }

  async #serve(exchange: Exchange): Promise<void> {
    const { discovery, rights } = this.#deps;
    const request = parseApiRequest(exchange.method, exchange.url);
    if (!request.cacheable) return this.#forward(exchange);
    const headers = { accept: exchange.headers.accept, userAgent: exchange.headers['user-agent'] };
    const plan = planOf(request, headers, await discovery.lookup(request));
    if (plan.kind === 'forward') return this.#forward(exchange);
    const caller = await rights.callerToServe(exchange);
    // Anonymous where upstream has none: upstream says so.
    if (caller === undefined) return this.#forward(exchange);
    await this.#authorize(caller.user, request);
    switch (plan.kind) {
      case 'watch':
        return await this.#watch(exchange, request, plan, caller);
      case 'list':
        return await this.#read(exchange, plan, (context) => answerList(exchange, plan, context));
      case 'get':
        return await this.#read(exchange, plan, (context) => answerGet(exchange, plan, context));
    }
  }

  async #authorize(user: User, request: ApiRequest): Promise<void> {
    const decision = await this.#deps.rights.mayRead(user, request);
    if (!decision.allowed) throw new StatusError(forbidden(request, user.name, decision.reason));
  }

  async #watch(exchange: Exchange, request: ApiRequest, plan: WatchPlan, caller: Caller): Promise<void> {
    const { watches, forwardBucket, upstreamShards, clock } = this.#deps;
    const begunAt = clock.now();
    const lane = await this.#acquire(plan);
    if (lane === undefined) return this.#forward(exchange);
    const laneWatches = watches.of(lane);
    const letGo = laneWatches.hold();
    let outcome;
    try {
      outcome = await openWatch(exchange, plan, { watches: laneWatches, forwardBucket, upstreamShards, clock });
    } catch (error) {
      if (!(error instanceof ResourceGone)) throw refusalOf(laneWatches.view, error);
      this.#leaveToUpstream(plan, error);
      outcome = { kind: 'forward' } as const;
    } finally {
      letGo();
    }
    if (outcome.kind === 'forward') return this.#forward(exchange);
    this.answers.served += 1;
    if (outcome.kind === 'open')
      watches.opened(outcome.stream, laneWatches, { plan, request, user: caller.user, begunAt });
  }

  async #read(
    exchange: Exchange,
    plan: ListPlan | GetPlan,
    answer: (context: ReadContext) => Promise<ReadOutcome>,
  ): Promise<void> {
    const { clock, upstreamShards } = this.#deps;
    const deadline = new RequestDeadline(exchange, clock, plan.timeoutSeconds);
    let outcome: ReadOutcome = 'forward';
    try {
      const lane = await this.#acquireToRead(plan);
      try {
        if (lane !== undefined) outcome = await answer({ view: lane.view, clock, deadline, upstreamShards });
      } catch (error) {
        if (!(error instanceof ResourceGone)) throw lane === undefined ? error : refusalOf(lane.view, error);
        this.#leaveToUpstream(plan, error);
      } finally {
        lane?.release();
      }
    } catch (error) {
      if (deadline.passed) return;
      throw error;
    }
    if (outcome === 'done') this.answers.served += 1;
    if (outcome === 'done' || deadline.passed) return;
    deadline.cancel();
    await this.#forward(exchange);
  }

  /** Undefined where dogwatch itself may not read the resource: then only upstream can serve it. */
  async #acquire({ lane, interest }: Pick<WatchPlan, 'lane' | 'interest'>): Promise<AcquiredLane | undefined> {
    const { discovery, lanes } = this.#deps;
    const key = laneKey(lane);
    if (this.#unreadable.get(key) === true) return undefined;
    try {
      const info = await discovery.lookup(lane);
      const acquired = await lanes.acquire(lane, interest);
      if (info === undefined || hasScopeOf(acquired.view, info)) return acquired;
      acquired.release();
      discovery.doubt();
      return undefined;
    } catch (error) {
      const code = error instanceof StatusError ? (error.status.code ?? 500) : 0;
      if (code < 400 || code >= 500 || code === 429) throw error;
      this.#leaveToUpstream({ lane }, error);
      return undefined;
    }
  }

  /** Also what is gone: upstream ends its watches of it a second later, and until then the lane is open. */
  #leaveToUpstream({ lane }: Pick<WatchPlan, 'lane'>, reason: unknown): void {
    const key = laneKey(lane);
    this.#unreadable.set(key, true, { ttlMs: UNREADABLE_MS, bytes: 0 });
    this.#deps.log.warn({ lane: key, err: reason }, 'dogwatch may not read this resource, or it is gone: forwarding');
  }

  /** Undefined also where the lane is not open, and is not to be opened for this read alone. */
  async #acquireToRead(plan: ListPlan | GetPlan): Promise<AcquiredLane | undefined> {
    if (!this.#deps.lanes.isOpen(plan.lane, plan.interest) && !this.#firstReads.opens(plan)) return undefined;
    return await (isForStoreWhileCold(plan) ? this.#acquireIfOpen(plan) : this.#acquire(plan));
  }

  /** Undefined also where the lane is not open yet: it is opened for those who come later. */
  async #acquireIfOpen(plan: ListPlan): Promise<AcquiredLane | undefined> {
    const opening = this.#acquire(plan);
    const cold = Symbol('cold');
    const lane = await Promise.race([opening, setImmediate(cold)]);
    if (lane !== cold) return lane;
    opening.then(
      (opened) => opened?.release(),
      (error: unknown) => this.#deps.log.debug({ lane: laneKey(plan.lane), err: error }, 'lane did not open'),
    );
    return undefined;
  }

  async #forward(exchange: Exchange): Promise<void> {
    const { rights, proxy } = this.#deps;
    this.answers.forwarded += 1;
    proxy.proxy(exchange, await rights.callerToForward(exchange));
  }
}

/** Row L23: what upstream reads from its store while its cache is not ready, and everything else waits for that. */
function isForStoreWhileCold(plan: ListPlan | GetPlan): plan is ListPlan {
  return plan.kind === 'list' && plan.range.limit < Number.POSITIVE_INFINITY && plan.interest.selectsWholeScope;
}
