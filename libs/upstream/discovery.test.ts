import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { Discovery } from './discovery.ts';
import type { Upstream, UpstreamRequest } from './upstream.ts';

const VERBS = ['get', 'list', 'watch'];
const PODS = { group: '', version: 'v1', resource: 'pods' };
const WIDGETS = { group: 'x.io', version: 'v1', resource: 'widgets' };
const NODE_METRICS = { group: 'metrics.k8s.io', version: 'v1', resource: 'nodes' };

function started() {
  let now = 0;
  const answers = new Map<string, { status: number; body: unknown }>();
  const asked: string[] = [];
  const answer = (path: string, body: unknown, status = 200): void => void answers.set(path, { status, body });
  const resource = (name: string, kind: string, verbs = VERBS) => ({ name, kind, namespaced: true, verbs });
  answer('/api', { versions: ['v1'] });
  answer('/api/v1', { resources: [resource('pods', 'Pod'), resource('pods/log', 'Pod', ['get'])] });
  answer('/apis', {
    groups: [
      { name: 'x.io', versions: [{ version: 'v1' }] },
      { name: 'metrics.k8s.io', versions: [{ version: 'v1' }] },
    ],
  });
  answer('/apis/x.io/v1', { resources: [resource('widgets', 'Widget')] });
  answer('/apis/metrics.k8s.io/v1', { resources: [resource('nodes', 'NodeMetrics')] });
  answer('/apis/apiregistration.k8s.io/v1/apiservices', {
    items: [
      {
        metadata: { labels: { 'kube-aggregator.kubernetes.io/automanaged': 'true' } },
        spec: { group: 'x.io', version: 'v1' },
      },
      { metadata: {}, spec: { group: 'metrics.k8s.io', version: 'v1', service: { name: 'm' } } },
    ],
  });
  const failure: { error: Error | undefined } = { error: undefined };
  const open = async ({ path }: UpstreamRequest) => {
    asked.push(path);
    if (failure.error !== undefined) throw failure.error;
    const { status, body } = answers.get(path) ?? { status: 404, body: {} };
    const headers = { 'content-type': 'application/json' };
    return { status, headers, body: Readable.from([Buffer.from(JSON.stringify(body))]) };
  };
  const discovery = new Discovery({ open } as unknown as Upstream, () => now);
  const pass = (ms: number): void => void (now += ms);
  return { discovery, answer, asked, pass, failure, resource };
}

describe('what upstream serves', () => {
  test('is found when it is first asked for', async () => {
    const { discovery } = started();
    expect(await discovery.lookup(PODS)).toEqual({
      kind: 'Pod',
      namespaced: true,
      watchable: true,
      local: true,
      custom: false,
    });
    expect(await discovery.lookup({ ...PODS, resource: 'pods/log' })).toMatchObject({ watchable: false });
    expect(await discovery.lookup(WIDGETS)).toMatchObject({ local: true, custom: true });
    expect(await discovery.lookup(NODE_METRICS)).toMatchObject({ local: false });
  });

  test('is read once for all who ask, and not for each that is unknown', async () => {
    const { discovery, asked, pass } = started();
    const unknown = { ...WIDGETS, resource: 'gadgets' };
    expect(await Promise.all([discovery.lookup(PODS), discovery.lookup(unknown)])).toEqual([
      expect.anything(),
      undefined,
    ]);
    const once = asked.length;
    expect(await discovery.lookup(unknown)).toBeUndefined();
    expect(asked).toHaveLength(once);
    pass(1_000);
    expect(await discovery.lookup(unknown)).toBeUndefined();
    expect(asked).toHaveLength(once * 2);
  });

  test('is read again once it was doubted, at most once a second', async () => {
    const { discovery, asked, pass } = started();
    await discovery.lookup(PODS);
    const once = asked.length;
    discovery.doubt();
    await discovery.lookup(PODS);
    expect(asked).toHaveLength(once);
    pass(1_000);
    await discovery.lookup(PODS);
    await expect.poll(() => asked.length).toBe(once * 2);
    pass(1_000);
    await discovery.lookup(PODS);
    expect(asked).toHaveLength(once * 2);
  });

  test('is unknown while upstream does not say whose it is', async () => {
    const { discovery, answer, pass } = started();
    const services = '/apis/apiregistration.k8s.io/v1/apiservices';
    answer(services, { items: [{ metadata: {}, spec: { group: 'metrics.k8s.io', version: 'v1' } }] });
    expect(await discovery.lookup(WIDGETS)).toBeUndefined();
    expect(await discovery.lookup(PODS)).toMatchObject({ local: true });
    const labels = { 'kube-aggregator.kubernetes.io/automanaged': 'true' };
    answer(services, { items: [{ metadata: { labels }, spec: { group: 'x.io', version: 'v1' } }] });
    pass(1_000);
    expect(await discovery.lookup(WIDGETS)).toMatchObject({ custom: true });
  });

  test('is found anew when it comes, and forgotten when it goes', async () => {
    const { discovery, answer, pass, resource } = started();
    const gadgets = { ...WIDGETS, resource: 'gadgets' };
    expect(await discovery.lookup(gadgets)).toBeUndefined();
    answer('/apis/x.io/v1', { resources: [resource('gadgets', 'Gadget')] });
    pass(1_000);
    expect(await discovery.lookup(gadgets)).toMatchObject({ kind: 'Gadget' });
    expect(await discovery.lookup(WIDGETS)).toBeUndefined();
  });
});

describe('while upstream is in trouble', () => {
  test('an aggregated API that is down hides no others, and is not forgotten itself', async () => {
    const { discovery, answer, pass } = started();
    await discovery.refresh();
    answer('/apis/metrics.k8s.io/v1', {}, 503);
    pass(2_000);
    await discovery.refresh();
    expect(await discovery.lookup(PODS)).toMatchObject({ kind: 'Pod' });
    expect(await discovery.lookup(NODE_METRICS)).toMatchObject({ local: false });
  });

  test('an apiserver that is starting (503) does not make everything unknown', async () => {
    const { discovery, answer } = started();
    await discovery.refresh();
    answer('/api', {}, 503);
    await expect(discovery.refresh()).rejects.toMatchObject({ status: { code: 503 } });
    expect(await discovery.lookup(PODS)).toMatchObject({ kind: 'Pod' });
  });

  test('what is known is served, what is not is a 503, and it is asked at most once a second', async () => {
    const { discovery, asked, pass, failure } = started();
    await discovery.refresh();
    failure.error = new Error('ECONNREFUSED');
    pass(61_000);
    const before = asked.length;
    for (let i = 0; i < 10; i++) {
      expect(await discovery.lookup(PODS)).toMatchObject({ kind: 'Pod' });
      await expect(discovery.lookup({ ...PODS, resource: 'x' })).rejects.toMatchObject({ status: { code: 503 } });
    }
    expect(asked).toHaveLength(before + 1);
    failure.error = undefined;
    pass(1_000);
    expect(await discovery.lookup({ ...PODS, resource: 'x' })).toBeUndefined();
  });

  test('an apiserver that has not read yet who may do what (403) is asked again in a second, as client-go does by itself', async () => {
    const { discovery, answer } = started();
    answer('/apis/apiregistration.k8s.io/v1/apiservices', {}, 403);
    await expect(discovery.lookup(PODS)).rejects.toMatchObject({
      status: { code: 503, details: { retryAfterSeconds: 1 } },
    });
  });

  test('garbage is a 503 too', async () => {
    const { discovery, answer } = started();
    answer('/api/v1', { resources: 7 });
    await expect(discovery.lookup(PODS)).rejects.toMatchObject({ status: { code: 503 } });
  });
});
