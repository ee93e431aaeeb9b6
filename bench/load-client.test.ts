import { afterEach, expect, test } from 'vitest';
import { watchListPath } from './load-connection.ts';
import { LoadClient, type LoadReport } from './load-client.ts';
import { populate, SMALL_CLUSTER } from './simulated-population.ts';
import { SimulatedUpstream } from './simulated-upstream.ts';
import { SimulatedWriter } from './simulated-writer.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function deliveries(clients: LoadClient, wanted: number): Promise<LoadReport> {
  for (const until = performance.now() + 15_000; ;) {
    const report = await clients.report({ streams: true });
    if (report.counts.deliveries >= wanted || performance.now() > until) return report;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test(
  'two processes see every write on every stream, in order, also over a cut of all connections',
  { timeout: 30_000 },
  async () => {
    const upstream = await SimulatedUpstream.start();
    cleanups.push(() => upstream.close());
    populate(upstream.store, { ...SMALL_CLUSTER, nodes: 2, podsPerNode: 1 });
    const paths = Array.from({ length: 5 }, () => watchListPath('/api/v1/namespaces/demo/configmaps'));
    const connections = Array.from({ length: 4 }, () => ({ paths, authorization: 'Bearer admin' }));
    const clients = LoadClient.start({
      target: { server: upstream.url, ca: upstream.certificate },
      connections,
      processes: 2,
    });
    cleanups.push(() => clients.stop());
    await clients.ready(10_000);
    await clients.report({ reset: true });

    const writer = new SimulatedWriter({
      store: upstream.store,
      rate: 5_000,
      limit: 2_000,
      mix: { lease: 0, pod: 0, configmap: 1, event: 0 },
    });
    writer.start();
    setTimeout(() => upstream.dropConnections(), 200);
    await writer.done;
    const { counts, streams, lag } = await deliveries(clients, 40_000);

    expect(counts).toMatchObject({ deliveries: 40_000, disordered: 0, repeated: 0, ended: 20, open: 20 });
    const tally = writer.tallies.get('/configmaps/demo');
    expect(tally?.count).toBe(2_000);
    expect(new Set(streams.map(String))).toEqual(new Set([`${tally?.count},${tally?.versionSum}`]));
    expect(lag.count).toBe(40_000);
  },
);
