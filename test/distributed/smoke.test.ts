import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ControlPlane } from '../support/control-plane.ts';
import { HoppingWatches } from '../support/cluster-hopping-watch.ts';
import { DogwatchCluster } from '../support/cluster-process.ts';
import { lastOf, PacedWriters } from '../support/cluster-writers.ts';
import type { Endpoint, KubeClient } from '../support/kube-client.ts';
import { check, summarise } from '../support/watch-recorder.ts';

const NAMESPACES = ['one', 'two', 'three'];
const COLOURS = ['red', 'green', 'blue'];

let plane: ControlPlane;
let cluster: DogwatchCluster;
let writers: PacedWriters;

beforeAll(async () => {
  plane = await ControlPlane.start();
  cluster = await DogwatchCluster.start({
    dir: plane.dir,
    kubeconfig: await plane.kubeconfig('dogwatch'),
    clientCaFile: plane.clientCaFile,
    partitions: 'configmaps=4',
    flags: { fanout: ['--bookmark-interval=1s'] },
  });
  writers = new PacedWriters({
    client: plane.admin,
    seed: 5,
    namespaces: NAMESPACES,
    colours: COLOURS,
    everyMs: 10,
  });
  await writers.createNamespaces();
  await writers.write(20);
});

afterAll(async () => {
  await cluster?.close();
  await plane?.stop();
});

function clients(): KubeClient[] {
  return cluster.endpoints.map((endpoint) => plane.client('admin', endpoint));
}

describe('through each fan-out', () => {
  test.each([
    '/api/v1/configmaps',
    '/api/v1/configmaps?resourceVersion=0',
    '/api/v1/configmaps?labelSelector=colour%3Dred',
    '/api/v1/namespaces/two/configmaps?limit=5',
    '/api/v1/namespaces/two/configmaps?fieldSelector=metadata.name%3Dobject-1',
    '/api/v1/namespaces/three/configmaps/kube-root-ca.crt',
    '/api/v1/namespaces/one/configmaps/object-1',
    '/api/v1/namespaces?resourceVersion=0',
    '/apis/coordination.k8s.io/v1/leases?resourceVersion=0',
  ])('GET %s answers as kube-apiserver does', async (path) => {
    const direct = await plane.admin.request('GET', path);
    for (const client of clients()) {
      const through = await client.request('GET', path);
      expect({ status: through.status, items: itemsOf(through.body) }).toEqual({
        status: direct.status,
        items: itemsOf(direct.body),
      });
    }
  });

  test('what was written by the one is read through the other', async () => {
    const [first, second] = clients();
    if (first === undefined || second === undefined) throw new Error('two fan-outs are needed');
    const path = '/api/v1/namespaces/one/configmaps';
    const created = await first.create(path, { metadata: { name: 'mine' }, data: { turn: '0' } });
    expect(await second.get(`${path}/mine`)).toEqual(created);
    const patched = await second.mergePatch(`${path}/mine`, { data: { turn: '1' } });
    expect(await first.get(`${path}/mine`)).toEqual(patched);
    await first.delete(`${path}/mine`);
    expect((await second.request('GET', `${path}/mine`)).status).toBe(404);
  });

  test('who asks for one object by name, and then watches it, is told of its next change at once', async () => {
    const path = writers.pathIn('one');
    const endpoints = cluster.endpoints.slice(0, 1);
    const credential = { token: plane.token('admin') };
    const late: string[] = [];
    for (let turn = 0; turn < 20; turn += 1) {
      const name = `awaited-${turn}`;
      const { metadata } = await plane.admin.create(path, { metadata: { name } });
      const request = { path, namespace: 'one', name, resourceVersion: Number(metadata.resourceVersion) };
      const watches = await HoppingWatches.open(endpoints, credential, [request]);
      await sleep(turn % 2 === 0 ? 0 : 100);
      const changed = await plane.admin.mergePatch(`${path}/${name}`, { data: { turn: String(turn) } });
      const rv = Number(changed.metadata.resourceVersion);
      await watches.reached(() => rv, 2_000).catch((error: unknown) => late.push(`${name} at ${rv}: ${String(error)}`));
      await watches.close();
    }
    expect(late).toEqual([]);
  });

  test('watches see every event once, in order, hopping between the fan-outs and kube-apiserver', async () => {
    const endpoints: Endpoint[] = [...cluster.endpoints, plane.endpoint];
    const { path } = writers;
    const [namespace = ''] = NAMESPACES;
    const requests = [
      { path },
      { path },
      { path, labels: { colour: 'red' } },
      { path: writers.pathIn(namespace), namespace },
      { path: writers.pathIn(namespace), namespace, name: 'object-1' },
    ];
    const credential = { token: plane.token('admin') };
    const watches = await HoppingWatches.open(endpoints, credential, requests);
    try {
      for (let turn = 0; turn < 4; turn += 1) {
        await writers.write(25);
        for (const watch of watches.watches) watch.hop();
      }
      const written = await writers.touchAll();
      await watches.reached(lastOf(written), 20_000);
      const history = await plane.etcd.history('configmaps', 1, Math.max(...written.map(({ rv }) => rv)));
      const violations = check(watches.records, history, { upTo: Infinity });
      expect(summarise(violations, watches.records), `they met ${watches.setbacks.join(', ')}`).toEqual([]);
    } finally {
      await watches.close();
    }
  });
});

/** The whole object, or the items of a list: only a list's own version may differ between two moments. */
function itemsOf(body: string): unknown {
  const { items, ...object } = JSON.parse(body) as { items?: unknown };
  return items ?? object;
}
