import { type ApiRequest, parseApiRequest } from '@dogwatch/kube/api-request.ts';
import { laneKey } from '@dogwatch/kube/lane.ts';
import { StatusError, forbidden } from '@dogwatch/kube/status.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Discovery } from '@dogwatch/upstream/discovery.ts';
import type { LaneSource } from '@dogwatch/watch/lane-view.ts';
import { answerStatus, answerUpgrade } from './answer.ts';
import type { Exchange, UpgradeExchange } from './exchange.ts';
import { type GetPlan, type ListPlan, type WatchPlan, planOf } from './plan.ts';
import { ExpiringCache } from './expiring-cache.ts';
import { FailureLog } from './proxy-failure.ts';
import { answerGet, answerList } from './read-handler.ts';
import type { Rights } from './rights.ts';
import type { ReverseProxy } from './reverse-proxy.ts';
import type { TokenBucket } from './token-bucket.ts';
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
  readonly log: Log;
}

/** How long a resource that dogwatch may not read, or that is not there (yet), is left to upstream unasked. */
const UNREADABLE_MS = 10_000;

/**
 * The API edge: serves LIST, WATCH and GET from lanes where that is sure to be right, and hands everything else to
 * upstream. The order of checks is upstream's: who is it, may they, then everything else.
 */
export class ApiHandler {
  readonly #deps: ApiHandlerDependencies;
  readonly #failures: FailureLog;
  readonly #unreadable = new ExpiringCache<true>({
    maxEntries: 1_000,
    maxBytes: 1024 * 1024,
    now: () => performance.now(),
  });

  constructor(deps: ApiHandlerDependencies) {
    this.#deps = deps;
    this.#failures = new FailureLog(deps.log);
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
        answerStatus(exchange, error.status);
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
        return await this.#read(exchange, plan, async (view) => await answerList(exchange, plan, view));
      case 'get':
        return await this.#read(exchange, plan, async (view) => {
          await answerGet(exchange, plan, view);
          return 'done';
        });
    }
  }

  async #authorize(user: User, request: ApiRequest): Promise<void> {
    const decision = await this.#deps.rights.mayRead(user, request);
    if (!decision.allowed) throw new StatusError(forbidden(request, user.name, decision.reason));
  }

  async #watch(exchange: Exchange, request: ApiRequest, plan: WatchPlan, caller: Caller): Promise<void> {
    const { watches, forwardBucket } = this.#deps;
    const lane = await this.#acquire(plan);
    if (lane === undefined) return this.#forward(exchange);
    const laneWatches = watches.of(lane);
    const letGo = laneWatches.hold();
    let outcome;
    try {
      outcome = await openWatch(exchange, plan, { watches: laneWatches, forwardBucket });
    } finally {
      letGo();
    }
    if (outcome.kind === 'forward') return this.#forward(exchange);
    if (outcome.kind === 'open') watches.opened(outcome.stream, laneWatches, { plan, request, user: caller.user });
  }

  async #read(
    exchange: Exchange,
    plan: ListPlan | GetPlan,
    answer: (view: Awaited<ReturnType<LaneSource['acquire']>>['view']) => Promise<'done' | 'forward'>,
  ): Promise<void> {
    const lane = await this.#acquire(plan);
    if (lane === undefined) return this.#forward(exchange);
    try {
      if ((await answer(lane.view)) === 'forward') return await this.#forward(exchange);
    } finally {
      lane.release();
    }
  }

  /** Undefined where dogwatch itself may not read the resource: then only upstream can serve it. */
  async #acquire({
    lane,
    interest,
  }: Pick<WatchPlan, 'lane' | 'interest'>): Promise<Awaited<ReturnType<LaneSource['acquire']>> | undefined> {
    const key = laneKey(lane);
    if (this.#unreadable.get(key) === true) return undefined;
    try {
      return await this.#deps.lanes.acquire(lane, interest);
    } catch (error) {
      const code = error instanceof StatusError ? (error.status.code ?? 500) : 0;
      if (code < 400 || code >= 500 || code === 429) throw error;
      this.#unreadable.set(key, true, { ttlMs: UNREADABLE_MS, bytes: 0 });
      this.#deps.log.warn({ lane: key, err: error }, 'dogwatch may not read this resource, forwarding');
      return undefined;
    }
  }

  async #forward(exchange: Exchange): Promise<void> {
    const { rights, proxy } = this.#deps;
    proxy.proxy(exchange, await rights.callerToForward(exchange));
  }
}
