import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { kubeletPopulation } from './kubelet-population.ts';
import { LoadConnection } from './load-connection.ts';
import { LagHistogram } from './lag-histogram.ts';
import { emptyCounts } from './load-stream.ts';
import { populateFleets, type RateFleets } from './rate-fleets.ts';
import { RateReader } from './rate-reader.ts';
import { SimulatedUpstream } from './simulated-upstream.ts';

const POPULATION = { nodes: 200, podsPerNode: 3, namespaces: 2 };
const KUBELETS = 10;
const LEASES = { group: 'coordination.k8s.io', resource: 'leases' };

let upstream: SimulatedUpstream;
let fleets: RateFleets;

beforeAll(async () => {
  upstream = await SimulatedUpstream.start();
  fleets = populateFleets(upstream.store, POPULATION);
});

afterAll(() => upstream.close());

describe('a population of kubelets', () => {
  test('is spread over the nodes, and none watches what is another’s', () => {
    const kubelets = kubeletPopulation(POPULATION, KUBELETS);
    expect(kubelets.map(({ node }) => node).slice(0, 3)).toEqual(['node-000000', 'node-000020', 'node-000040']);
    expect(kubelets[1]?.paths.map((path) => decodeURIComponent(path.replace(/\?.*fieldSelector=/, ' ')))).toEqual([
      '/api/v1/pods spec.nodeName=node-000020',
      '/api/v1/nodes metadata.name=node-000020',
      '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases metadata.name=node-000020',
      '/api/v1/namespaces/app-00/configmaps metadata.name=kube-root-ca.crt',
      '/api/v1/namespaces/app-01/configmaps metadata.name=kube-root-ca.crt',
    ]);
    expect(() => kubeletPopulation(POPULATION, 201)).toThrow(RangeError);
  });

  test('reads its share of the leases: a twentieth of the nodes, a twentieth of the events, and all of these', async () => {
    const totals = { counts: emptyCounts(), lag: new LagHistogram() };
    const target = { server: upstream.url, ca: upstream.certificate };
    const connections = kubeletPopulation(POPULATION, KUBELETS).map(
      ({ authorization, paths }) => new LoadConnection(target, { authorization, paths }, totals),
    );
    for (const connection of connections) connection.open();
    await expect.poll(() => totals.counts.ready, { timeout: 10_000 }).toBe(KUBELETS * 5);
    expect(totals.counts.initial).toBe(KUBELETS * (3 + 1 + 1 + 2));
    const indexes = Uint32Array.from({ length: POPULATION.nodes }, (_, index) => index);
    for (let round = 0; round < 4; round += 1)
      upstream.store.writeFleet(
        upstream.store.collection(LEASES.group, LEASES.resource),
        fleets.leases,
        indexes,
        new Float64Array(indexes.length),
      );
    await expect.poll(() => totals.counts.deliveries).toBe((4 * POPULATION.nodes) / 20);
    expect(totals.counts).toMatchObject({ errors: {}, disordered: 0, repeated: 0 });
    expect(upstream.counters.of(LEASES)).toMatchObject({ lists: 0, watchLists: KUBELETS, events: 40 });
    for (const connection of connections) connection.close();
  });
});

describe('a raw reader', () => {
  test.each(['json', 'protobuf'] as const)(
    'counts every event, in %s, and sees when one is missing',
    async (encoding) => {
      const collection = upstream.store.collection(LEASES.group, LEASES.resource);
      const reader = await RateReader.open({
        server: upstream.url,
        ca: upstream.certificate,
        token: 'admin',
        path: '/apis/coordination.k8s.io/v1/leases',
        query: `watch=1&resourceVersion=${upstream.store.resourceVersion}`,
        encoding,
      });
      const write = (count: number) =>
        upstream.store.writeFleet(
          collection,
          fleets.leases,
          Uint32Array.from({ length: count }, (_, index) => index),
          new Float64Array(count),
        );
      write(200);
      write(100);
      await expect.poll(() => reader.events).toBe(300);
      expect([reader.gaps, reader.bytes]).toEqual([0, 300 * fleets.leases.template.length(encoding, 'event')]);
      // A version that another resource used.
      upstream.store.writeFleet(
        upstream.store.collection('', 'nodes'),
        fleets.nodes,
        Uint32Array.of(0),
        Float64Array.of(0),
      );
      write(1);
      await expect.poll(() => reader.events).toBe(301);
      expect(reader.gaps).toBe(1);
      reader.close();
      await reader.ended;
    },
  );
});
