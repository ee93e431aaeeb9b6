import type { IncomingHttpHeaders } from 'node:http';
import { describe, expect, test } from 'vitest';
import { parseApiRequest } from '@dogwatch/kube/api-request.ts';
import { systemClock } from '@dogwatch/process/clock.ts';
import type { Extent } from '@dogwatch/watch/lane-view.ts';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import { type GetPlan, type ListPlan, planOf } from './plan.ts';
import { answerGet, answerList } from './read-handler.ts';
import { TestExchange, rejection } from './test-exchange.ts';
import { TestLaneView } from './test-lane-view.ts';
import { knowingShards } from './test-upstream.ts';

const context = (of: TestLaneView, { passed = false, shardsUpstream = false } = {}) => ({
  view: of,
  clock: systemClock,
  deadline: { passed },
  upstreamShards: knowingShards(shardsUpstream),
});
const POD = { kind: 'Pod', namespaced: true, watchable: true, local: true, custom: false };

function asked<P extends GetPlan | ListPlan>(
  url: string,
  headers: IncomingHttpHeaders = {},
): { exchange: TestExchange; plan: P } {
  const exchange = new TestExchange(url, headers);
  const plan = planOf(parseApiRequest('GET', url), { accept: undefined, userAgent: undefined }, POD);
  return { exchange, plan: plan as P };
}

interface List {
  readonly kind: string;
  readonly metadata: {
    readonly resourceVersion: string;
    readonly continue?: string;
    readonly remainingItemCount?: number;
  };
  readonly items: readonly {
    readonly kind?: string;
    readonly metadata: { readonly name: string; readonly resourceVersion: string };
  }[];
}

const view = new TestLaneView(10, [
  pod('a', 3, { labels: { app: 'web' }, node: 'n1' }),
  pod('b', 4, { labels: { app: 'db' } }),
  pod('c', 5, { namespace: 'other', labels: { app: 'web' } }),
]);

describe('LIST', () => {
  const list = async (url: string): Promise<{ exchange: TestExchange; body: List }> => {
    const { exchange, plan } = asked<ListPlan>(url);
    expect(await answerList(exchange, plan, context(view))).toBe('done');
    expect(exchange.client.ended).toBe(true);
    return { exchange, body: JSON.parse(exchange.client.text) as List };
  };

  test('L19, L21: what is held, at the version it is held at', async () => {
    const { exchange, body } = await list('/api/v1/pods?resourceVersion=0');
    expect(body.kind).toBe('PodList');
    expect(body.metadata).toEqual({ resourceVersion: '10' });
    expect(body.items.map(({ metadata }) => metadata.name)).toEqual(['a', 'b', 'c']);
    expect(body.items[0]!.kind).toBeUndefined();
    expect(exchange.answer).toMatchObject({ 'cache-control': 'no-cache, private', warning: ['299 - "old"'] });
  });

  test.each([
    ['/api/v1/namespaces/other/pods?resourceVersion=0', ['c']],
    ['/api/v1/pods?resourceVersion=0&labelSelector=app%3Dweb', ['a', 'c']],
    ['/api/v1/pods?resourceVersion=0&fieldSelector=spec.nodeName%3Dn1', ['a']],
    ['/api/v1/namespaces/other/pods?resourceVersion=0&fieldSelector=spec.nodeName%3Dn1', []],
    ['/api/v1/pods?resourceVersion=0&fieldSelector=spec.nodeName%3D', ['b', 'c']],
    ['/api/v1/pods?resourceVersion=0&fieldSelector=metadata.name%3Db', ['b']],
    ['/api/v1/namespaces/default/pods?resourceVersion=0&fieldSelector=metadata.name%3Db', ['b']],
    // L16: empty, never null.
    ['/api/v1/namespaces/none/pods?resourceVersion=0', []],
    ['/api/v1/namespaces/oth/pods?resourceVersion=0', []],
  ])('%s is %j', async (url, names) => {
    expect((await list(url)).body.items.map(({ metadata }) => metadata.name)).toEqual(names);
  });

  test('is written at the pace of the client, and let go with it', async () => {
    const big = new TestLaneView(
      10,
      Array.from({ length: 400 }, (_, i) => pod(`p${i}`, 5, { labels: { filler: 'x'.repeat(1_000) } })),
    );
    const { exchange, plan } = asked<ListPlan>('/api/v1/pods?resourceVersion=0');
    const { client } = exchange;
    client.capacity = 1;
    await answerList(exchange, plan, context(big));
    expect(client.ended).toBe(false);
    const before = client.text.length;
    client.drain(2);
    expect(client.text.length).toBeGreaterThan(before);
    client.drain();
    expect(client.ended).toBe(true);
    expect((JSON.parse(client.text) as List).items).toHaveLength(400);

    const gone = asked<ListPlan>('/api/v1/pods?resourceVersion=0');
    gone.exchange.client.capacity = 1;
    await answerList(gone.exchange, gone.plan, context(big));
    gone.exchange.leave();
    const sent = gone.exchange.client.text.length;
    gone.exchange.client.drain();
    expect(gone.exchange.client.text).toHaveLength(sent);
  });

  test('a field that the lane cannot evaluate is for upstream', async () => {
    const { exchange, plan } = asked<ListPlan>('/api/v1/pods?resourceVersion=0&fieldSelector=spec.unknown%3Dx');
    expect(await answerList(exchange, plan, context(view))).toBe('forward');
    expect(exchange.started).toBe(false);
  });

  test('L3: waits for the version asked for', async () => {
    const late = new TestLaneView(10, [pod('a', 3)]);
    const { exchange, plan } = asked<ListPlan>('/api/v1/pods?resourceVersion=12');
    const answered = answerList(exchange, plan, context(late));
    late.change({ type: 'MODIFIED', object: pod('a', 13), frame: Buffer.from('') });
    await answered;
    expect((JSON.parse(exchange.client.text) as List).metadata.resourceVersion).toBe('13');
  });

  test('L10: a version that does not come is a 504', async () => {
    const late = new TestLaneView(10);
    const { exchange, plan } = asked<ListPlan>('/api/v1/pods?resourceVersion=12');
    const rejected = rejection(answerList(exchange, plan, context(late)));
    late.timeOut();
    expect(await rejected).toMatchObject({
      status: { code: 504, message: 'Timeout: Too large resource version: 12, current: 10' },
    });
    expect(exchange.started).toBe(false);
  });
});

describe('pages', () => {
  const names = ({ items }: List): string[] => items.map(({ metadata }) => metadata.name);
  const ask = async (view: TestLaneView, query: string, { of = 'pods', shardsUpstream = false } = {}) => {
    const { exchange, plan } = asked<ListPlan>(`/api/v1/${of}?${query}`);
    const outcome = await answerList(exchange, plan, context(view, { shardsUpstream }));
    const body = outcome === 'done' ? (JSON.parse(exchange.client.text) as List) : undefined;
    return { outcome, body: body!, exchange };
  };
  const filled = (...all: string[]) =>
    new TestLaneView(
      10,
      all.map((name, i) => pod(name, i + 1, { labels: { app: name } })),
    );

  test('L13, L14: the first carries a token of its version, and what remains; the next are of that version', async () => {
    const lane = filled('a', 'b', 'c', 'd', 'e');
    const first = (await ask(lane, 'limit=2')).body;
    expect([names(first), first.metadata]).toEqual([
      ['a', 'b'],
      {
        resourceVersion: '10',
        continue: Buffer.from('{"v":"meta.k8s.io/v1","rv":10,"start":"/default/b\\u0000"}').toString('base64url'),
        remainingItemCount: 3,
      },
    ]);
    lane.change(change('DELETED', pod('c', 11)), change('ADDED', pod('cc', 12)), change('MODIFIED', pod('e', 13)));
    const second = (await ask(lane, `limit=2&continue=${first.metadata.continue}`)).body;
    expect([names(second), second.metadata.resourceVersion, second.metadata.remainingItemCount]).toEqual([
      ['c', 'd'],
      '10',
      1,
    ]);
    const third = (await ask(lane, `limit=2&continue=${second.metadata.continue}`)).body;
    expect([names(third), third.metadata]).toEqual([['e'], { resourceVersion: '10' }]);
    expect(third.items[0]!.metadata.resourceVersion).toBe('5');
  });

  test('L14: with a selector nothing is counted, and another page follows while there is anything left to look at', async () => {
    const lane = filled('a', 'b', 'c');
    const { body } = await ask(lane, 'limit=1&labelSelector=app%3Db');
    expect([names(body), body.metadata.remainingItemCount]).toEqual([['b'], undefined]);
    const last = (await ask(lane, `limit=1&labelSelector=app%3Db&continue=${body.metadata.continue}`)).body;
    expect([names(last), last.metadata]).toEqual([[], { resourceVersion: '10' }]);
  });

  test('L14: what an index gives ends with it, also that of what has no node', async () => {
    const lane = new TestLaneView(10, [
      pod('a', 1, { node: 'n1' }),
      pod('b', 2),
      pod('c', 3, { node: 'n1' }),
      pod('d', 4),
    ]);
    for (const node of ['n1', '']) {
      const query = `fieldSelector=spec.nodeName%3D${node}`;
      expect((await ask(lane, `limit=2&${query}`)).body.metadata.continue).toBeUndefined();
      expect((await ask(lane, `limit=1&${query}`)).body.metadata.continue).toBeDefined();
    }
  });

  test('I6, L13: the pages behind a proof above what is held are of that proof', async () => {
    const lane = filled('a', 'b', 'c');
    lane.proof = Promise.resolve(15);
    const first = (await ask(lane, 'limit=2')).body;
    expect(first.metadata.resourceVersion).toBe('15');
    // It came and went before the proof, and is read only now.
    lane.change(
      change('ADDED', pod('flash', 12)),
      change('DELETED', pod('flash', 13)),
      change('DELETED', pod('c', 16)),
    );
    const { body } = await ask(lane, `limit=2&continue=${first.metadata.continue}`);
    expect([names(body), body.metadata]).toEqual([['c'], { resourceVersion: '15' }]);
  });

  test('L12: a token without a version goes on with the newest state', async () => {
    const lane = filled('a', 'b', 'c', 'd');
    const token = Buffer.from('{"v":"meta.k8s.io/v1","rv":-1,"start":"default/b\\u0000"}').toString('base64url');
    lane.change(change('ADDED', pod('bb', 11)));
    lane.proof = Promise.resolve(11);
    const { body } = await ask(lane, `limit=2&continue=${token}`);
    expect([names(body), body.metadata.resourceVersion, body.metadata.remainingItemCount]).toEqual([
      ['bb', 'c'],
      '11',
      1,
    ]);
  });

  test('L4, L5: a version is shown as it was, and left to upstream where it is not held', async () => {
    const lane = filled('a', 'b');
    lane.change(change('DELETED', pod('a', 11)), change('ADDED', pod('c', 13)));
    expect(names((await ask(lane, 'resourceVersion=10&resourceVersionMatch=Exact')).body)).toEqual(['a', 'b']);
    const { body } = await ask(lane, 'resourceVersion=12&limit=5');
    expect([names(body), body.metadata]).toEqual([['b'], { resourceVersion: '12' }]);
    expect((await ask(lane, 'resourceVersion=9&resourceVersionMatch=Exact')).outcome).toBe('forward');
  });

  test('L11, L12: what upstream may have forgotten by now is left to upstream, which knows', async () => {
    const lane = filled('a', 'b');
    lane.change(change('DELETED', pod('a', 11)));
    lane.ages.set(10, 60_001);
    expect((await ask(lane, 'resourceVersion=10&resourceVersionMatch=Exact')).outcome).toBe('forward');
    lane.ages.set(10, 60_000);
    expect(names((await ask(lane, 'resourceVersion=10&resourceVersionMatch=Exact')).body)).toEqual(['a', 'b']);
  });

  test('L5, L10: a version to come is waited for, and a 504 if it does not', async () => {
    const lane = filled('a');
    const answered = ask(lane, 'resourceVersion=12&resourceVersionMatch=Exact');
    lane.change(change('ADDED', pod('b', 12)), change('ADDED', pod('c', 13)));
    expect(names((await answered).body)).toEqual(['a', 'b']);
    lane.timeOut();
    await expect(ask(lane, 'resourceVersion=20&limit=5')).rejects.toMatchObject({ status: { code: 504 } });
  });

  test('L5: what is proved of a later version says nothing of an earlier one that is not held', async () => {
    const lane = filled('a');
    lane.timeOut();
    lane.proof = Promise.resolve(15);
    expect((await ask(lane, 'resourceVersion=14&limit=5')).outcome).toBe('forward');
    expect(names((await ask(lane, 'resourceVersion=15&limit=5')).body)).toEqual(['a']);
  });

  test('G2: of a part by shards too, but where upstream knows none it is 410', async () => {
    const lane = filled('a', 'b', 'c');
    const shards = "shardRange(object.metadata.uid, '0x0000000000000000', '0x10000000000000000')";
    const query = `shardSelector=${encodeURIComponent(shards)}`;
    const { body } = await ask(lane, `limit=2&${query}`);
    expect([names(body), body.metadata]).toMatchObject([['a', 'b'], { shardInfo: { selector: shards } }]);
    const token = Buffer.from('{"v":"meta.k8s.io/v1","rv":3,"start":"default/b\\u0000"}').toString('base64url');
    expect((await ask(lane, `${query}&continue=${token}`, { shardsUpstream: true })).outcome).toBe('forward');
    await expect(ask(lane, `${query}&continue=${token}`)).rejects.toMatchObject({
      status: { code: 410, metadata: { continue: expect.any(String) as string } },
    });
  });

  test('L10, G2: of a part of Events that are yet to come too: upstream is not asked, and they are too late', async () => {
    const lane = new (class extends TestLaneView {
      override readonly lane = { ...new TestLaneView(10).lane, resource: 'events' };
    })(10);
    const shards = encodeURIComponent("shardRange(object.metadata.uid, '0x0000000000000000', '0x8000000000000000')");
    lane.timeOut();
    const query = `shardSelector=${shards}&resourceVersion=12&resourceVersionMatch=Exact`;
    await expect(ask(lane, query, { of: 'events' })).rejects.toMatchObject({ status: { code: 504 } });
  });

  test('I9: how much of a lane a page has to be proved of', async () => {
    const extents: (number | undefined)[] = [];
    class Proved extends TestLaneView {
      override fresh<T>(timeoutMs: number, use: (rv: number, whole: boolean) => T, extent?: Extent): Promise<T> {
        extents.push(extent?.limit);
        return super.fresh(timeoutMs, use);
      }
    }
    const lane = new Proved(
      10,
      Array.from({ length: 2_100 }, (_, i) => pod(`p${i}`, 1)),
    );
    for (const query of ['', 'limit=500', 'limit=600', 'limit=2200']) await ask(lane, query);
    // Few pages together, of many the first.
    expect(extents).toEqual([0, 500, 0, 0]);
  });
});

describe('bodies', () => {
  test('N4: indented, without a line break at the end', async () => {
    const { exchange, plan } = asked<ListPlan>('/api/v1/pods?resourceVersion=0&limit=1&pretty=1');
    await answerList(exchange, plan, context(view));
    expect(exchange.client.text).toBe(JSON.stringify(JSON.parse(exchange.client.text), null, 2));
    const one = asked<GetPlan>('/api/v1/namespaces/default/pods/a?resourceVersion=0&pretty=1');
    await answerGet(one.exchange, one.plan, context(view));
    expect(one.exchange.sent).toBe(JSON.stringify(JSON.parse(one.exchange.sent), null, 2));
  });

  test('N5: compressed where it is large', async () => {
    const large = new TestLaneView(10, [pod('large', 1, { labels: { filler: 'x'.repeat(200_000) } })]);
    const headers = { 'accept-encoding': 'gzip' };
    for (const [of, encoding] of [
      [large, 'gzip'],
      [view, undefined],
    ] as const) {
      const list = asked<ListPlan>('/api/v1/pods?resourceVersion=0', headers);
      await answerList(list.exchange, list.plan, context(of));
      expect(list.exchange.answer['content-encoding']).toBe(encoding);
    }
    const get = asked<GetPlan>('/api/v1/namespaces/default/pods/large?resourceVersion=0', headers);
    await answerGet(get.exchange, get.plan, context(large));
    expect(get.exchange.answer).toMatchObject({ 'content-encoding': 'gzip', vary: 'Accept-Encoding' });
  });
});

test('L22: nothing is answered once it is too late', async () => {
  const { exchange, plan } = asked<ListPlan>('/api/v1/pods');
  expect(await answerList(exchange, plan, context(view, { passed: true }))).toBe('done');
  const one = asked<GetPlan>('/api/v1/namespaces/default/pods/a?resourceVersion=0');
  expect(await answerGet(one.exchange, one.plan, context(view, { passed: true }))).toBe('done');
  expect([exchange.started, one.exchange.started]).toEqual([false, false]);
});

describe('GET', () => {
  test("O2: the object as upstream wrote it, with upstream's newline", async () => {
    const { exchange, plan } = asked<GetPlan>('/api/v1/namespaces/default/pods/a?resourceVersion=0');
    await answerGet(exchange, plan, context(view));
    expect(exchange.status).toBe(200);
    expect(exchange.sent).toBe(`${view.cache.get('default/a')!.bytes.toString()}\n`);
    expect(exchange.answer).toMatchObject({ 'content-type': 'application/json' });
  });

  test('G6: one that is not there is a 404', async () => {
    const { exchange, plan } = asked<GetPlan>('/api/v1/namespaces/other/pods/a?resourceVersion=0');
    await expect(answerGet(exchange, plan, context(view))).rejects.toMatchObject({
      status: { code: 404, message: 'pods "a" not found' },
    });
  });

  test('O3: waits for the version asked for, or is a 504', async () => {
    const late = new TestLaneView(10);
    const { exchange, plan } = asked<GetPlan>('/api/v1/namespaces/default/pods/a?resourceVersion=12');
    const rejected = rejection(answerGet(exchange, plan, context(late)));
    late.timeOut();
    expect(await rejected).toMatchObject({ status: { code: 504 } });
  });
});
