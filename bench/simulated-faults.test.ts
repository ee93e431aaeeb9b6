import { createFrameScanner } from '@dogwatch/kube/frame-scanner.ts';
import { KubeClient } from '@dogwatch/test/support/kube-client.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { getBytes } from './case-bytes.ts';
import { CaseWatch, summary } from './case-watch.ts';
import type { CountersReport } from './simulated-counters.ts';
import { populate, SMALL_CLUSTER } from './simulated-population.ts';
import { SimulatedUpstream } from './simulated-upstream.ts';

const CONFIG_MAPS = '/api/v1/namespaces/demo/configmaps';
const WATCH_LIST = 'watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan';

let upstream: SimulatedUpstream;
let endpoint: { server: string; ca: string };
let admin: KubeClient;

beforeEach(async () => {
  upstream = await SimulatedUpstream.start();
  populate(upstream.store, { ...SMALL_CLUSTER, nodes: 1, podsPerNode: 1, namespaces: 1, configMaps: 3 });
  endpoint = { server: upstream.url, ca: upstream.certificate };
  admin = new KubeClient(endpoint, { token: 'admin' });
});

afterEach(async () => {
  admin.close();
  await upstream.close();
});

const watch = (query: string) => CaseWatch.open(endpoint, 'admin', `${CONFIG_MAPS}?${query}`);
const fault = (body: object) => admin.request('POST', '/simulated/faults', { body });

/** Writes so many configmaps; returns the version before them. */
async function write(count: number): Promise<number> {
  const before = upstream.store.resourceVersion;
  for (let index = 0; index < count; index += 1)
    await admin.create(CONFIG_MAPS, { metadata: { name: `new-${before}-${index}` }, data: {} });
  return before;
}

describe('a fault switch', () => {
  test('expire: every open watch gets ERROR 410 and ends, and the version it had is too old', async () => {
    const open = await watch('watch=1');
    await open.take(1);
    const { status, body } = await fault({ fault: 'expire' });
    expect([status, JSON.parse(body)]).toMatchObject([200, { fault: 'expire', watches: 1 }]);
    const rest = await open.rest();
    expect([rest.at(-1)?.type, rest.at(-1)?.object.code]).toEqual(['ERROR', 410]);
    const late = await watch(`watch=1&resourceVersion=${upstream.store.resourceVersion - 1}`);
    expect((await late.rest()).map(({ object }) => object.code)).toEqual([410]);
  });

  test('hang: what is asked meanwhile is answered when it is over, and so are open watches', async () => {
    const open = await watch(`watch=1&resourceVersion=${upstream.store.resourceVersion}`);
    const started = performance.now();
    await fault({ fault: 'hang', ms: 300 });
    upstream.store.delete(upstream.store.collection('', 'configmaps'), 'demo/settings-0');
    const counters = await admin.request('GET', '/simulated/counters');
    expect([counters.status, performance.now() - started < 300]).toEqual([200, true]);
    const answers = await Promise.all([admin.request('GET', '/readyz'), open.take(1)]);
    expect([answers[0].status, summary(answers[1])]).toEqual([200, ['DELETED settings-0']]);
    expect(performance.now() - started).toBeGreaterThan(295);
  });

  test('restart: connections are cut but that of the request, and only the last events are kept', async () => {
    const open = await watch('watch=1');
    await open.take(1);
    const before = await write(5);
    expect((await fault({ fault: 'restart', keep: 2 })).status).toBe(200);
    await expect(open.rest()).rejects.toThrow('aborted');
    const resumed = await watch(`watch=1&resourceVersion=${before + 3}&timeoutSeconds=1`);
    expect(summary(await resumed.rest())).toEqual([`ADDED new-${before}-3`, `ADDED new-${before}-4`]);
    const late = await watch(`watch=1&resourceVersion=${before + 2}`);
    expect((await late.rest()).map(({ object }) => object.code)).toEqual([410]);
  });

  test.each([['application/json'], ['application/vnd.kubernetes.protobuf']])(
    'truncate: a watch in %s ends cleanly in the middle of a frame',
    async (accept) => {
      const path = `${CONFIG_MAPS}?${WATCH_LIST}`;
      const reading = getBytes(endpoint, { token: 'admin', path, accept });
      await expect.poll(() => upstream.watches).toBe(1);
      await fault({ fault: 'truncate', resource: 'leases' });
      expect(upstream.watches).toBe(1);
      await fault({ fault: 'truncate', resource: 'configmaps' });
      const { status, body } = await reading;
      const scanner = createFrameScanner(accept === 'application/json' ? 'json' : 'protobuf');
      let frames = 0;
      scanner.push(body, () => (frames += 1));
      expect([status, frames]).toEqual([200, 5]);
      expect(scanner.pendingBytes).toBeGreaterThan(10);
    },
  );

  test('rewind: objects and versions are those of before, and are given out again for other objects', async () => {
    const before = await write(3);
    const { body } = await fault({ fault: 'rewind', versions: 2 });
    expect(JSON.parse(body)).toMatchObject({ resourceVersion: String(before + 1) });
    const list = await admin.get<{ metadata: { resourceVersion: string }; items: { metadata: { name: string } }[] }>(
      CONFIG_MAPS,
    );
    expect(list.metadata.resourceVersion).toBe(String(before + 1));
    expect(list.items.filter(({ metadata }) => metadata.name.startsWith('new-'))).toHaveLength(1);
    // A version of the lost future is taken for one that is still to come, as by kube-apiserver (W7).
    const hidden = await watch(`watch=1&resourceVersion=${before + 3}&timeoutSeconds=1`);
    await write(3);
    expect((await hidden.rest()).map(({ object }) => object.metadata.resourceVersion)).toEqual([String(before + 4)]);
    expect((await fault({ fault: 'rewind', versions: 1_000_000 })).status).toBe(400);
  });

  test('slow: bytes come in drops', async () => {
    upstream.faults.slow(10_000, 60_000);
    const started = performance.now();
    const open = await watch(WATCH_LIST);
    await open.take(4);
    // Three configmaps of a kilobyte and one larger at ten a second.
    expect(performance.now() - started).toBeGreaterThan(250);
    const list = await admin.request('GET', CONFIG_MAPS);
    expect([list.status, performance.now() - started > 500]).toEqual([200, true]);
    open.close();
  });

  test('is for admins, and must make sense', async () => {
    const nobody = new KubeClient(endpoint, { token: 'dogwatch' });
    expect((await nobody.request('POST', '/simulated/faults', { body: { fault: 'expire' } })).status).toBe(403);
    nobody.close();
    for (const body of [{}, { fault: 'fire' }, { fault: 'hang' }, { fault: 'hang', ms: -1 }, { fault: 'slow', ms: 1 }])
      expect([body, (await fault(body)).status]).toEqual([body, 400]);
    expect((await admin.request('GET', '/simulated/faults')).status).toBe(405);
  });
});

describe('the counters', () => {
  test('say what each resource was asked for, and what was sent of it', async () => {
    const accept = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
    const list = await admin.request('GET', CONFIG_MAPS);
    await admin.request('GET', CONFIG_MAPS, { headers: { accept } });
    const open = await watch(WATCH_LIST);
    await open.take(4);
    const live = await watch(`watch=1&resourceVersion=${upstream.store.resourceVersion}`);
    await write(1);
    await Promise.all([open.take(1), live.take(1)]);
    const { resources } = await admin.get<CountersReport>('/simulated/counters');
    expect(Object.keys(resources)).toEqual(['configmaps']);
    expect(resources['configmaps']).toMatchObject({
      lists: 1,
      metadataLists: 1,
      watches: 2,
      watchLists: 1,
      initialEvents: 4,
      events: 2,
      slowWatches: 0,
    });
    expect(resources['configmaps']?.listBytes).toBeGreaterThan(Buffer.byteLength(list.body));
    expect(resources['configmaps']?.watchBytes).toBeGreaterThan(4_000);
    expect(upstream.counters.of({ group: '', resource: 'pods' }).lists).toBe(0);
    open.close();
    live.close();
  });
});
