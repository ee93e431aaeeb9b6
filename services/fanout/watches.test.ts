import { describe, expect, onTestFinished, test } from 'vitest';
import { parseApiRequest } from '@dogwatch/kube/api-request.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import { type WatchPlan, planOf } from './plan.ts';
import type { Rights } from './rights.ts';
import { TestExchange } from './test-exchange.ts';
import { TestLaneView } from './test-lane-view.ts';
import { knowingShards } from './test-upstream.ts';
import { TokenBucket } from './token-bucket.ts';
import { openWatch } from './watch-handler.ts';
import { Watches } from './watches.ts';

const POD = { kind: 'Pod', namespaced: true, watchable: true, local: true, custom: false };
const USER = { name: 'u', uid: '', groups: [], extra: {} };
const BOOKMARK_MS = 60_000;
const CHECK_MS = 300_000;

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function started(random = () => 0) {
  const clock = createFakeClock();
  const decision = { of: (): ReturnType<Rights['mayRead']> => Promise.resolve({ allowed: true }), asked: 0 };
  const rights = { mayRead: () => (decision.asked++, decision.of()) } as unknown as Rights;
  const watches = new Watches(
    { clock, log: createLogger({ level: 'error', pretty: false, destination: { write: () => {} } }), rights, random },
    { bookmarkIntervalMs: BOOKMARK_MS, reauthorizeIntervalMs: CHECK_MS, drainMs: 5_000 },
  );
  const abort = new AbortController();
  const running = watches.run(abort.signal);
  const stop = async (): Promise<void> => {
    abort.abort();
    await running;
    expect(clock.pending).toBe(0);
  };
  onTestFinished(stop);
  const open = async (view: TestLaneView, query = 'watch=true&resourceVersion=10&allowWatchBookmarks=true') => {
    const exchange = new TestExchange(`/api/v1/pods?${query}`);
    const request = parseApiRequest('GET', exchange.url);
    const plan = planOf(request, { accept: undefined, userAgent: undefined }, POD) as WatchPlan;
    const begunAt = clock.now();
    const of = watches.of(view.acquired());
    const letGo = of.hold();
    const forwardBucket = new TokenBucket({ perSecond: 1, burst: 1, now: () => 0 });
    const outcome = await openWatch(exchange, plan, {
      watches: of,
      forwardBucket,
      upstreamShards: knowingShards(false),
      clock,
    });
    letGo();
    if (outcome.kind === 'open') watches.opened(outcome.stream, of, { plan, request, user: USER, begunAt });
    return exchange.client;
  };
  return { clock, watches, decision, open, stop };
}

describe('deadlines', () => {
  test('W5, W12: the time in which a watch waited for its version counts; late, it ends behind its first events', async () => {
    const { clock, open } = started();
    const view = new TestLaneView();
    const query = 'watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true';
    const opening = open(view, `${query}&resourceVersion=11&timeoutSeconds=1`);
    await clock.advanceAsync(2_500);
    view.change(change('ADDED', pod('a', 11)));
    const client = await opening;
    await turn();
    expect(client.events).toEqual(['ADDED a@11', 'BOOKMARK @11 end']);
    await clock.advanceAsync(1_000);
    expect(client.ended).toBe(true);
  });

  test('W12: a watch ends cleanly at the time it asked for, behind a last bookmark', async () => {
    const { clock, watches, open } = started();
    const view = new TestLaneView();
    const client = await open(view, 'watch=true&resourceVersion=10&allowWatchBookmarks=true&timeoutSeconds=5');
    view.cache.advance(20, view.cache.position);
    await clock.advanceAsync(4_000);
    expect(client.ended).toBe(false);
    await clock.advanceAsync(1_000);
    expect(client.events).toEqual(['BOOKMARK @20']);
    expect(client.ended).toBe(true);
    expect(watches.ended.get('timeout')).toBe(1);
  });

  test.each([0, 0.5])('W12: unasked, after half an hour times a random number in [1, 2): %d', async (random) => {
    const { clock, open } = started(() => random);
    const client = await open(new TestLaneView());
    await clock.advanceAsync(1_800_000 * (1 + random) - 1_000);
    expect(client.ended).toBe(false);
    await clock.advanceAsync(1_000);
    expect(client.ended).toBe(true);
  });
});

describe('bookmarks', () => {
  test('W13: two seconds before a watch ends, for its client may end it by a clock that is ahead', async () => {
    const { clock, open } = started();
    const view = new TestLaneView();
    const client = await open(view, 'watch=true&resourceVersion=10&allowWatchBookmarks=true&timeoutSeconds=9');
    await clock.advanceAsync(2_000);
    view.cache.advance(20, view.cache.position);
    await clock.advanceAsync(4_000);
    expect(client.events).toEqual([]);
    await clock.advanceAsync(1_000);
    expect(client.events).toEqual(['BOOKMARK @20']);
    view.cache.advance(30, view.cache.position);
    await clock.advanceAsync(2_000);
    expect(client.events).toEqual(['BOOKMARK @20', 'BOOKMARK @30']);
    expect(client.ended).toBe(true);
  });

  test('W13: on a lane that moves all the time, behind what was sent', async () => {
    const { clock, open } = started();
    const view = new TestLaneView();
    const client = await open(view, 'watch=true&resourceVersion=10&allowWatchBookmarks=true&timeoutSeconds=3');
    await clock.advanceAsync(900);
    view.appliedAt = clock.now() + 99;
    view.change(change('ADDED', pod('a', 11)));
    await clock.advanceAsync(100);
    await turn();
    expect(client.events).toEqual(['ADDED a@11']);
    view.change(change('ADDED', pod('b', 11)), change('ADDED', pod('c', 12)));
    await turn();
    expect(client.events).toEqual(['ADDED a@11', 'ADDED b@11', 'BOOKMARK @11', 'ADDED c@12']);
  });

  test('W13: on a lane that moved just before, as soon as it is quiet', async () => {
    const { clock, open } = started();
    const view = new TestLaneView();
    const client = await open(view, 'watch=true&resourceVersion=10&allowWatchBookmarks=true&timeoutSeconds=4');
    await clock.advanceAsync(1_990);
    view.appliedAt = clock.now();
    view.change(change('ADDED', pod('a', 11)));
    await clock.advanceAsync(10);
    await turn();
    expect(client.events).toEqual(['ADDED a@11']);
    await clock.advanceAsync(1_000);
    expect(client.events).toEqual(['ADDED a@11', 'BOOKMARK @11']);
  });

  test('W13: about every minute where asked for, and only where there is something to say', async () => {
    const { clock, open } = started();
    const view = new TestLaneView();
    const asked = await open(view);
    const unasked = await open(view, 'watch=true&resourceVersion=10');
    await clock.advanceAsync(2_000);
    expect(asked.events).toEqual([]);
    view.cache.advance(20, view.cache.position);
    await clock.advanceAsync(BOOKMARK_MS);
    expect(asked.events).toEqual(['BOOKMARK @20']);
    await clock.advanceAsync(BOOKMARK_MS);
    expect(asked.events).toEqual(['BOOKMARK @20']);
    expect(unasked.events).toEqual([]);
  });
});

describe('I7: rights of open watches', () => {
  test('are asked for again; who has lost them is cut off', async () => {
    const { clock, watches, decision, open } = started();
    const client = await open(new TestLaneView());
    await clock.advanceAsync(CHECK_MS);
    expect(decision.asked).toBe(1);
    expect(client.ended).toBe(false);
    decision.of = () => Promise.resolve({ allowed: false, reason: 'no more' });
    await clock.advanceAsync(CHECK_MS);
    expect(client.ended).toBe(true);
    expect(watches.ended.get('rights-withdrawn')).toBe(1);
    await clock.advanceAsync(CHECK_MS * 2);
    expect(decision.asked).toBe(2);
  });

  test('that cannot be asked for are asked for later, and nothing crashes', async () => {
    const { clock, decision, open } = started();
    const client = await open(new TestLaneView());
    decision.of = () => Promise.reject(new Error('away'));
    await clock.advanceAsync(CHECK_MS * 3);
    expect(decision.asked).toBeGreaterThanOrEqual(3);
    expect(client.ended).toBe(false);
  });

  test('of a watch that ends while they are asked for are of no interest any more', async () => {
    const { clock, watches, decision, open } = started();
    const answer = Promise.withResolvers<{ allowed: false; reason: string }>();
    decision.of = () => answer.promise;
    const client = await open(new TestLaneView());
    await clock.advanceAsync(CHECK_MS);
    client.leave();
    answer.resolve({ allowed: false, reason: 'no' });
    await clock.advanceAsync(CHECK_MS * 2);
    expect(decision.asked).toBe(1);
    expect([...watches.ended]).toEqual([['client-gone', 1]]);
  });
});

describe('lanes', () => {
  test('are shared by their watches, and given back when the last is gone', async () => {
    const { clock, watches, open } = started();
    const view = new TestLaneView();
    const [first, second] = [await open(view), await open(view)];
    expect(view.released, 'one hold is enough').toBe(1);
    expect([...watches]).toHaveLength(1);
    expect(watches.size).toBe(2);
    first.leave();
    await clock.advanceAsync(2_000);
    expect(view.released).toBe(1);
    second.leave();
    await clock.advanceAsync(2_000);
    expect(view.released).toBe(2);
    expect(view.listeners).toBe(0);
    expect([...watches]).toHaveLength(0);
  });

  test('are not given back while a watch is being opened', async () => {
    const { clock, open } = started();
    const view = new TestLaneView();
    const proof = Promise.withResolvers<number>();
    view.proof = proof.promise;
    const opening = open(view, 'watch=true');
    await clock.advanceAsync(10_000);
    expect(view.released).toBe(0);
    proof.resolve(10);
    const client = await opening;
    view.change(change('ADDED', pod('a', 11)));
    await clock.advanceAsync(1_000);
    expect(client.events).toEqual(['ADDED a@11']);
  });

  test('that ended and were opened anew are followed anew', async () => {
    const { clock, open } = started();
    const [before, after] = [new TestLaneView(), new TestLaneView()];
    const first = await open(before);
    before.end('ended');
    expect(first.ended).toBe(true);
    const second = await open(after);
    expect(before.released).toBe(1);
    after.change(change('ADDED', pod('a', 11)));
    await clock.advanceAsync(500);
    expect(second.events).toEqual(['ADDED a@11']);
    expect(after.released).toBe(0);
  });
});

describe('a watch that is over before it is put on the wheel', () => {
  test('leaves nothing behind', async () => {
    const { clock, watches, decision } = started();
    const view = new TestLaneView();
    const exchange = new TestExchange('/api/v1/pods?watch=true&resourceVersion=10');
    const request = parseApiRequest('GET', exchange.url);
    const plan = planOf(request, { accept: undefined, userAgent: undefined }, POD) as WatchPlan;
    const begunAt = clock.now();
    const of = watches.of(view.acquired());
    const letGo = of.hold();
    const forwardBucket = new TokenBucket({ perSecond: 1, burst: 1, now: () => 0 });
    const outcome = await openWatch(exchange, plan, {
      watches: of,
      forwardBucket,
      upstreamShards: knowingShards(false),
      clock,
    });
    exchange.leave();
    letGo();
    if (outcome.kind === 'open') watches.opened(outcome.stream, of, { plan, request, user: USER, begunAt });
    await clock.advanceAsync(CHECK_MS * 2);
    expect(decision.asked).toBe(0);
    expect(watches.ended.get('timeout')).toBeUndefined();
  });
});

describe('draining', () => {
  test('ends every watch cleanly behind a last bookmark, and opens no more', async () => {
    const { watches, open, stop } = started();
    const view = new TestLaneView();
    const client = await open(view);
    view.cache.advance(20, view.cache.position);
    await stop();
    expect(client.events).toEqual(['BOOKMARK @20']);
    expect(client.ended).toBe(true);
    expect(watches.ended.get('draining')).toBe(1);
    const late = new TestLaneView();
    await expect(open(late)).rejects.toMatchObject({ status: { code: 429 } });
    expect(late.released).toBe(1);
  });

  test('ends many watches by and by, and follows events for those that are left', async () => {
    const { clock, watches, open, stop } = started();
    const view = new TestLaneView();
    const clients = [];
    for (let n = 0; n < 120; n++) clients.push(await open(view));
    const stopped = stop();
    await clock.advanceAsync(0);
    expect(watches.size).toBe(70);
    view.change(change('ADDED', pod('new', 11)));
    await clock.advanceAsync(50);
    await clock.advanceAsync(50);
    await stopped;
    expect(clients.every(({ ended }) => ended)).toBe(true);
    expect(clients[0]?.events).toEqual([]);
    expect(clients[119]?.events[0]).toBe('ADDED new@11');
    expect(watches.ended.get('draining')).toBe(120);
  });

  test('ends the watch that was being opened, too', async () => {
    const { open, stop } = started();
    const view = new TestLaneView();
    const proof = Promise.withResolvers<number>();
    view.proof = proof.promise;
    const opening = open(view, 'watch=true');
    await stop();
    proof.resolve(10);
    expect((await opening).ended).toBe(true);
  });
});
