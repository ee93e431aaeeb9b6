import { StatusError, serviceUnavailable } from '@dogwatch/kube/status.ts';
import { describe, expect, test } from 'vitest';
import { systemClock } from '@dogwatch/process/clock.ts';
import { parseApiRequest } from '@dogwatch/kube/api-request.ts';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import { LaneWatches } from './lane-watches.ts';
import { type WatchPlan, planOf } from './plan.ts';
import { Pumps } from './pumps.ts';
import { TestExchange } from './test-exchange.ts';
import { TestLaneView } from './test-lane-view.ts';
import { knowingShards } from './test-upstream.ts';
import { TokenBucket } from './token-bucket.ts';
import { type WatchOutcome, openWatch } from './watch-handler.ts';

const POD = { kind: 'Pod', namespaced: true, watchable: true, local: true, custom: false };
const INITIAL = 'watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan';

function turns(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}

function asked(view: TestLaneView, query: string, { tokens = 1, shardsUpstream = false } = {}) {
  const exchange = new TestExchange(`/api/v1/pods?${query}`, { 'audit-id': 'a1' });
  const request = parseApiRequest('GET', exchange.url);
  const plan = planOf(request, { accept: undefined, userAgent: undefined }, POD) as WatchPlan;
  expect(plan.kind).toBe('watch');
  const watches = new LaneWatches(view, { pumps: new Pumps(), release: () => {}, onWatchEnd: () => {} });
  const forwardBucket = new TokenBucket({ perSecond: 1, burst: tokens, now: () => 0 });
  const outcome: Promise<WatchOutcome> = openWatch(exchange, plan, {
    watches,
    forwardBucket,
    upstreamShards: knowingShards(shardsUpstream),
    clock: systemClock,
  });
  return { exchange, outcome, watches, events: exchange.client.events };
}

describe('with the objects first', () => {
  test('W4: they, the end bookmark and what comes then, from a moment proved fresh', async () => {
    const view = new TestLaneView(10, [pod('b', 5), pod('a', 7)]);
    const proof = Promise.withResolvers<number>();
    view.proof = proof.promise;
    const { exchange, outcome, events } = asked(view, `${INITIAL}&resourceVersion=`);
    await turns();
    expect(exchange.started, 'nothing is sent before the proof').toBe(false);
    view.change(change('MODIFIED', pod('a', 11)));
    proof.resolve(11);
    expect((await outcome).kind).toBe('open');
    view.change(change('ADDED', pod('c', 12)));
    await turns();
    expect(events).toEqual(['ADDED a@11', 'ADDED b@5', 'BOOKMARK @11 end', 'ADDED c@12']);
    expect(exchange.status).toBe(200);
    expect(exchange.answer).toMatchObject({
      'content-type': 'application/json',
      'audit-id': 'a1',
      warning: ['299 - "old"'],
    });
  });

  test('from a proof above what is held, what comes up to it is hidden', async () => {
    const view = new TestLaneView(10, [pod('a', 5)]);
    view.proof = Promise.resolve(15);
    const { outcome, events } = asked(view, `${INITIAL}&resourceVersion=`);
    await outcome;
    view.change(change('ADDED', pod('flash', 12)), change('DELETED', pod('flash', 13)), change('ADDED', pod('c', 16)));
    await turns();
    expect(events).toEqual(['ADDED a@5', 'BOOKMARK @15 end', 'ADDED c@16']);
  });

  test('a proof that fails is answered as it says, with nothing sent', async () => {
    const view = new TestLaneView(10);
    view.proof = Promise.reject(new Error('no proof'));
    const { exchange, outcome } = asked(view, `${INITIAL}&resourceVersion=`);
    await expect(outcome).rejects.toThrow('no proof');
    expect(exchange.started).toBe(false);
  });

  test('W5: not older than a version waits for it', async () => {
    const view = new TestLaneView(10, [pod('a', 5)]);
    const { outcome, events } = asked(view, `${INITIAL}&resourceVersion=12`);
    await turns();
    view.change(change('MODIFIED', pod('a', 12)));
    await outcome;
    await turns();
    expect(events).toEqual(['ADDED a@12', 'BOOKMARK @12 end']);
  });

  test('W5: a version that does not come is a 504 in the stream', async () => {
    const view = new TestLaneView(10);
    const { exchange, outcome, events, watches } = asked(view, `${INITIAL}&resourceVersion=12`);
    await turns();
    view.timeOut();
    expect((await outcome).kind).toBe('gone');
    expect(exchange.status).toBe(200);
    expect(events).toEqual(['ERROR 504']);
    expect(exchange.client.text).toContain('Too large resource version: 12, current: 10');
    expect(exchange.client.ended).toBe(true);
    expect(watches.size).toBe(0);
  });

  test('W5: where upstream keeps no cache, it says so itself, and when to come again', async () => {
    const view = new (class extends TestLaneView {
      override readonly lane = { ...new TestLaneView(10).lane, resource: 'events' };
    })(10);
    const { outcome } = asked(view, `${INITIAL}&resourceVersion=12`);
    view.timeOut();
    expect((await outcome).kind).toBe('forward');
  });
});

describe('without them', () => {
  test('W6: only what comes from now on', async () => {
    const view = new TestLaneView(10, [pod('a', 5)]);
    const query = 'watch=true&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=0';
    const { outcome, events } = asked(view, query);
    await outcome;
    view.change(change('ADDED', pod('b', 11)));
    await turns();
    expect(events).toEqual(['ADDED b@11']);
  });

  test('W7: what comes after a version', async () => {
    const view = new TestLaneView(10);
    view.change(change('ADDED', pod('a', 11)), change('ADDED', pod('b', 12)));
    const { outcome, events } = asked(view, 'watch=true&resourceVersion=11');
    await outcome;
    await turns();
    expect(events).toEqual(['ADDED b@12']);
  });

  test('W7: what comes after a version that is not reached yet', async () => {
    const view = new TestLaneView(10);
    const { outcome, events } = asked(view, 'watch=true&resourceVersion=12');
    await outcome;
    view.change(change('ADDED', pod('a', 11)), change('ADDED', pod('b', 13)));
    await turns();
    expect(events).toEqual(['ADDED b@13']);
  });

  test('W8: a version that the window has passed is a 410 in the stream', async () => {
    const view = new TestLaneView(10, [], { windowBytesMax: 2_000 });
    for (let rv = 11; rv < 40; rv++) view.change(change('MODIFIED', pod('a', rv)));
    const { exchange, outcome, events } = asked(view, 'watch=true&resourceVersion=11&labelSelector=app%21%3Dx');
    expect((await outcome).kind).toBe('gone');
    expect(events).toEqual(['ERROR 410']);
    expect(exchange.client.text).toContain(`too old resource version: 11 (${view.cache.window.start})`);
    expect(exchange.client.ended).toBe(true);
    expect(view.backfills).toEqual([]);
  });
});

describe('from below the window', () => {
  function passed(limits = {}): TestLaneView {
    const view = new TestLaneView(10, [pod('a', 3), pod('gone', 4)], { windowBytesMax: 2_000, ...limits });
    view.change(change('DELETED', pod('gone', 11)), change('ADDED', pod('b', 12)));
    for (let rv = 13; rv < 40; rv++) view.change(change('MODIFIED', pod('a', rv)));
    return view;
  }

  test('the state and what went since, then what comes', async () => {
    const view = passed();
    const { outcome, events, watches } = asked(view, 'watch=true&resourceVersion=10');
    expect((await outcome).kind).toBe('open');
    view.change(change('ADDED', pod('c', 40)));
    await turns();
    expect(events).toEqual(['DELETED gone@11', 'ADDED b@12', 'MODIFIED a@39', 'ADDED c@40']);
    expect(watches.pumps.stateDiffs).toBe(1);
    expect(view.backfills).toEqual([]);
  });

  test('W8: where a delete was forgotten, or every change counts, it is a 410', async () => {
    for (const view of [passed({ tombstoneBytesMax: 0 }), passed({ stateDiff: false })]) {
      const { outcome, events } = asked(view, 'watch=true&resourceVersion=10');
      await outcome;
      expect(events).toEqual(['ERROR 410']);
    }
  });
});

describe('from before the lane was opened', () => {
  test('the window is filled from upstream for those whose interest cannot be left', async () => {
    const view = new TestLaneView(10, [pod('a', 7)]);
    view.backfill = async (rv) => {
      view.cache.backfill(rv, [change('ADDED', pod('a', 7))]);
      return true;
    };
    const { outcome, events } = asked(view, 'watch=true&resourceVersion=5&fieldSelector=spec.nodeName%3D');
    expect((await outcome).kind, 'a pod without a node may get one').toBe('forward');
    const whole = asked(view, 'watch=true&resourceVersion=5');
    await whole.outcome;
    await turns();
    expect(whole.events).toEqual(['ADDED a@7']);
    expect(events).toEqual([]);
  });

  test("upstream's own 410 is passed on", async () => {
    const { outcome, events } = asked(new TestLaneView(10), 'watch=true&resourceVersion=5');
    await outcome;
    expect(events).toEqual(['ERROR 410']);
  });

  test('where upstream does not give its history to dogwatch in time, the client is handed to it, at a bounded rate', async () => {
    const view = new TestLaneView(10);
    view.backfill = () => Promise.reject(new StatusError(serviceUnavailable('not in time', 1)));
    expect((await asked(view, 'watch=true&resourceVersion=5').outcome).kind).toBe('forward');
    const denied = asked(view, 'watch=true&resourceVersion=5', { tokens: 0 });
    await expect(denied.outcome).rejects.toMatchObject({ status: { code: 429 } });
  });

  test('others are handed to upstream, at a bounded rate', async () => {
    const view = new TestLaneView(10);
    expect((await asked(view, 'watch=true&resourceVersion=5&labelSelector=app').outcome).kind).toBe('forward');
    const denied = asked(view, 'watch=true&resourceVersion=5&labelSelector=app', { tokens: 0 });
    await expect(denied.outcome).rejects.toMatchObject({ status: { code: 429 } });
    expect(view.backfills).toEqual([]);
  });

  test('also when the window was filled for somebody else: what left their interest is not in it', async () => {
    const view = new TestLaneView(10);
    view.cache.backfill(3, [change('MODIFIED', pod('a', 7))]);
    expect((await asked(view, 'watch=true&resourceVersion=5&labelSelector=app').outcome).kind).toBe('forward');
  });

  test('G2: a part of the objects too, but not of an upstream that knows no shards', async () => {
    const view = new TestLaneView(10);
    view.backfill = () => Promise.reject(new StatusError(serviceUnavailable('not in time', 1)));
    const shards = "shardRange(object.metadata.uid, '0x0000000000000000', '0x8000000000000000')";
    const query = `watch=true&resourceVersion=5&shardSelector=${encodeURIComponent(shards)}`;
    expect((await asked(view, query, { shardsUpstream: true }).outcome).kind).toBe('forward');
    const { outcome, events } = asked(view, query);
    expect((await outcome).kind).toBe('gone');
    expect(events).toEqual(['ERROR 410']);
  });

  test('a version inside a repaired interval is for upstream, which may hold it', async () => {
    const view = new TestLaneView(10);
    view.cache.repair({ rv: 20, objects: [] });
    expect((await asked(view, 'watch=true&resourceVersion=15').outcome).kind).toBe('forward');
    expect(view.backfills).toEqual([]);
  });
});

describe('races', () => {
  test('a client that goes while its watch is opened is let go', async () => {
    const view = new TestLaneView(10);
    const proof = Promise.withResolvers<number>();
    view.proof = proof.promise;
    const { exchange, outcome, watches } = asked(view, `${INITIAL}&resourceVersion=`);
    await turns();
    exchange.leave();
    proof.resolve(10);
    expect((await outcome).kind).toBe('gone');
    expect(exchange.started).toBe(false);
    expect(watches.size).toBe(0);
  });

  test('a lane that ends while a watch is opened on it takes it no further', async () => {
    const view = new TestLaneView(10);
    const proof = Promise.withResolvers<number>();
    view.proof = proof.promise;
    const { exchange, outcome, watches } = asked(view, `${INITIAL}&resourceVersion=`);
    await turns();
    view.end('ended');
    proof.resolve(10);
    await expect(outcome).rejects.toMatchObject({ status: { code: 429 } });
    expect(exchange.started).toBe(false);
    expect(watches.size).toBe(0);
  });

  test('a field that the lane cannot evaluate is for upstream', async () => {
    const { exchange, outcome } = asked(new TestLaneView(10), 'watch=true&fieldSelector=spec.unknown%3Dx');
    expect((await outcome).kind).toBe('forward');
    expect(exchange.started).toBe(false);
  });
});
