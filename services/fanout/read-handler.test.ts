import { describe, expect, test } from 'vitest';
import { parseApiRequest } from '@dogwatch/kube/api-request.ts';
import { pod } from '@dogwatch/watch/test-objects.ts';
import { type GetPlan, type ListPlan, planOf } from './plan.ts';
import { answerGet, answerList } from './read-handler.ts';
import { TestExchange, rejection } from './test-exchange.ts';
import { TestLaneView } from './test-lane-view.ts';

const POD = { kind: 'Pod', namespaced: true, watchable: true, local: true, custom: false };

function asked<P extends GetPlan | ListPlan>(url: string): { exchange: TestExchange; plan: P } {
  const exchange = new TestExchange(url);
  const plan = planOf(parseApiRequest('GET', url), { accept: undefined, userAgent: undefined }, POD);
  return { exchange, plan: plan as P };
}

interface List {
  readonly kind: string;
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly { readonly kind?: string; readonly metadata: { readonly name: string } }[];
}

const view = new TestLaneView(10, [
  pod('a', 3, { labels: { app: 'web' }, node: 'n1' }),
  pod('b', 4, { labels: { app: 'db' } }),
  pod('c', 5, { namespace: 'other', labels: { app: 'web' } }),
]);

describe('LIST', () => {
  const list = async (url: string): Promise<{ exchange: TestExchange; body: List }> => {
    const { exchange, plan } = asked<ListPlan>(url);
    expect(await answerList(exchange, plan, view)).toBe('done');
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
    await answerList(exchange, plan, big);
    expect(client.ended).toBe(false);
    const before = client.text.length;
    client.drain(2);
    expect(client.text.length).toBeGreaterThan(before);
    client.drain();
    expect(client.ended).toBe(true);
    expect((JSON.parse(client.text) as List).items).toHaveLength(400);

    const gone = asked<ListPlan>('/api/v1/pods?resourceVersion=0');
    gone.exchange.client.capacity = 1;
    await answerList(gone.exchange, gone.plan, big);
    gone.exchange.leave();
    const sent = gone.exchange.client.text.length;
    gone.exchange.client.drain();
    expect(gone.exchange.client.text).toHaveLength(sent);
  });

  test('a field that the lane cannot evaluate is for upstream', async () => {
    const { exchange, plan } = asked<ListPlan>('/api/v1/pods?resourceVersion=0&fieldSelector=spec.unknown%3Dx');
    expect(await answerList(exchange, plan, view)).toBe('forward');
    expect(exchange.started).toBe(false);
  });

  test('L3: waits for the version asked for', async () => {
    const late = new TestLaneView(10, [pod('a', 3)]);
    const { exchange, plan } = asked<ListPlan>('/api/v1/pods?resourceVersion=12');
    const answered = answerList(exchange, plan, late);
    late.change({ type: 'MODIFIED', object: pod('a', 13), frame: Buffer.from('') });
    await answered;
    expect((JSON.parse(exchange.client.text) as List).metadata.resourceVersion).toBe('13');
  });

  test('L10: a version that does not come is a 504', async () => {
    const late = new TestLaneView(10);
    const { exchange, plan } = asked<ListPlan>('/api/v1/pods?resourceVersion=12');
    const rejected = rejection(answerList(exchange, plan, late));
    late.timeOut();
    expect(await rejected).toMatchObject({
      status: { code: 504, message: 'Timeout: Too large resource version: 12, current: 10' },
    });
    expect(exchange.started).toBe(false);
  });
});

describe('GET', () => {
  test("O2: the object as upstream wrote it, with upstream's newline", async () => {
    const { exchange, plan } = asked<GetPlan>('/api/v1/namespaces/default/pods/a?resourceVersion=0');
    await answerGet(exchange, plan, view);
    expect(exchange.status).toBe(200);
    expect(exchange.sent).toBe(`${view.cache.get('default/a')!.bytes.toString()}\n`);
    expect(exchange.answer).toMatchObject({ 'content-type': 'application/json' });
  });

  test('G6: one that is not there is a 404', async () => {
    const { exchange, plan } = asked<GetPlan>('/api/v1/namespaces/other/pods/a?resourceVersion=0');
    await expect(answerGet(exchange, plan, view)).rejects.toMatchObject({
      status: { code: 404, message: 'pods "a" not found' },
    });
  });

  test('O3: waits for the version asked for, or is a 504', async () => {
    const late = new TestLaneView(10);
    const { exchange, plan } = asked<GetPlan>('/api/v1/namespaces/default/pods/a?resourceVersion=12');
    const rejected = rejection(answerGet(exchange, plan, late));
    late.timeOut();
    expect(await rejected).toMatchObject({ status: { code: 504 } });
  });
});
