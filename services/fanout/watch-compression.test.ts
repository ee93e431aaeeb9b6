import { gunzipSync } from 'node:zlib';
import { parseApiRequest } from '@dogwatch/kube/api-request.ts';
import { systemClock } from '@dogwatch/process/clock.ts';
import { change, eventsIn, pod } from '@dogwatch/watch/test-objects.ts';
import { describe, expect, test } from 'vitest';
import { LaneWatches } from './lane-watches.ts';
import { type WatchPlan, planOf } from './plan.ts';
import { Pumps } from './pumps.ts';
import { BytesExchange } from './test-bytes-exchange.ts';
import { TestLaneView } from './test-lane-view.ts';
import { knowingShards } from './test-upstream.ts';
import { TokenBucket } from './token-bucket.ts';
import { openWatch } from './watch-handler.ts';

const POD = { kind: 'Pod', namespaced: true, watchable: true, local: true, custom: false };
const INITIAL = 'watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0';
const GZIP = { 'content-encoding': 'gzip', vary: 'Accept-Encoding' };

function opened(query: string, acceptEncoding: string, names: readonly string[] = ['a']) {
  const objects = names.map((name) => pod(name, 5));
  const view = new TestLaneView(10, objects);
  const exchange = new BytesExchange(`/api/v1/pods?${query}`, { 'accept-encoding': acceptEncoding });
  const request = parseApiRequest('GET', exchange.url);
  const plan = planOf(request, { accept: undefined, userAgent: undefined }, POD) as WatchPlan;
  const watches = new LaneWatches(view, { pumps: new Pumps(), release: () => {}, onWatchEnd: () => {} });
  const forwardBucket = new TokenBucket({ perSecond: 1, burst: 1, now: () => 0 });
  return {
    exchange,
    view,
    outcome: openWatch(exchange, plan, {
      watches,
      forwardBucket,
      upstreamShards: knowingShards(false),
      clock: systemClock,
    }),
  };
}

/** What a watch was sent until its lane was lost. */
async function watched(query: string, acceptEncoding: string, names?: readonly string[]) {
  const { exchange, view, outcome } = opened(query, acceptEncoding, names);
  await outcome;
  await new Promise(setImmediate);
  view.change(change('ADDED', pod('new', 11)));
  await new Promise(setImmediate);
  view.end('expired');
  await exchange.bytes.ended;
  return { answer: exchange.answer, writes: exchange.bytes.writes };
}

describe('N6 compressed watches', () => {
  test('a watch-list whose end bookmark is asked for is a stream of gzip members, each whole', async () => {
    const { answer, writes } = await watched(`${INITIAL}&allowWatchBookmarks=true`, 'deflate, gzip');
    expect(answer).toMatchObject(GZIP);
    const [initial, added, error] = writes.map((bytes) => gunzipSync(bytes));
    expect(eventsIn(initial!)).toEqual(['ADDED a@5', 'BOOKMARK @10']);
    expect(eventsIn(added!)).toEqual(['ADDED new@11']);
    expect(JSON.parse(error!.toString())).toMatchObject({ type: 'ERROR', object: { code: 410 } });
    expect(writes.length).toBe(3);
  });

  test('initial events are compressed', async () => {
    const names = Array.from({ length: 200 }, (_, index) => `pod-${index}`);
    const { writes } = await watched(`${INITIAL}&allowWatchBookmarks=true`, 'gzip', names);
    const plain = gunzipSync(Buffer.concat(writes));
    expect(plain.toString().split('\n').length).toBeGreaterThan(200);
    expect(Buffer.concat(writes).length).toBeLessThan(plain.length / 4);
  });

  test.each([
    ['without bookmarks', INITIAL, 'gzip'],
    ['from a version on', 'watch=true&allowWatchBookmarks=true&resourceVersion=10', 'gzip'],
    ['by who does not ask for it', `${INITIAL}&allowWatchBookmarks=true`, 'gzip;q=1.0'],
  ])('a watch %s is plain', async (_, query, acceptEncoding) => {
    const { answer, writes } = await watched(query, acceptEncoding);
    expect(answer).not.toHaveProperty('content-encoding');
    expect(answer).not.toHaveProperty('vary');
    expect(Buffer.concat(writes).toString()).toContain('"ADDED"');
  });

  test('W8: one that cannot begin is compressed too', async () => {
    const { exchange, view, outcome } = opened(`${INITIAL.replace('=0', '=99')}&allowWatchBookmarks=true`, 'gzip');
    const timeOut = setInterval(() => view.timeOut(), 1);
    await outcome;
    clearInterval(timeOut);
    await exchange.bytes.ended;
    expect(exchange.answer).toMatchObject(GZIP);
    expect(gunzipSync(Buffer.concat(exchange.bytes.writes)).toString()).toContain('Too large resource version');
  });
});
