import { afterEach, expect, test } from 'vitest';
import { kubeletPopulation, type SimulatedKubelet } from '@dogwatch/bench/kubelet-population.ts';
import { LoadClient } from '@dogwatch/bench/load-client.ts';
import type { LoadConnectionPlan, LoadTarget } from '@dogwatch/bench/load-connection.ts';
import { FULL_SIZE, recordClaim } from '../support/claims.ts';
import { bytesSentTo } from '../support/cluster-rate-nats.ts';
import { RateStage } from '../support/cluster-rate-stage.ts';
import { machineLoad } from '../support/cluster-rate-usage.ts';
import type { RateUpstreamReport } from '../support/cluster-rate-upstream.ts';
import { eventually } from '../support/eventually.ts';

const NODES = FULL_SIZE ? 100_000 : 10_000;
const KUBELETS = NODES / 50;
/** A kubelet renews its lease every ten seconds; here sooner where there are few. */
const RENEW_S = FULL_SIZE ? 10 : 3;
const RENEWALS = 3;
const SECONDS = RENEW_S * RENEWALS;
/** Shards tell how far they are forty times a second, which is as much for few nodes as for many. */
const SHARE_MAX = FULL_SIZE ? 0.05 : 0.1;
const CONNECTIONS_PER_SECOND = 100;
const OPEN_TIMEOUT_MS = 240_000;
const TEST_TIMEOUT_MS = 900_000;
const POPULATION = { nodes: NODES, podsPerNode: 1, namespaces: 10 };

const cleanUp: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const undo of cleanUp.splice(0).toReversed()) await undo();
});

/** As a kubelet asks; of nodes the simulated upstream has no protobuf, so they come over another connection. */
function connectionsOf({ authorization, paths }: SimulatedKubelet): LoadConnectionPlan[] {
  const isNode = (path: string): boolean => path.startsWith('/api/v1/nodes');
  return [
    { authorization, paths: paths.filter((path) => !isNode(path)), encoding: 'protobuf' },
    { authorization, paths: paths.filter(isNode), encoding: 'json' },
  ];
}

async function clients(target: LoadTarget, connections: readonly LoadConnectionPlan[]): Promise<LoadClient> {
  const load = LoadClient.start({ target, connections, rampPerSecond: CONNECTIONS_PER_SECOND });
  cleanUp.push(() => load.stop());
  await load.ready(OPEN_TIMEOUT_MS);
  return load;
}

/** Bytes of pods and leases that upstream has sent. */
function bytesRead({ resources }: RateUpstreamReport): number {
  return ['pods', 'leases.coordination.k8s.io'].reduce((sum, resource) => {
    const { listBytes = 0, watchBytes = 0 } = resources[resource] ?? {};
    return sum + listBytes + watchBytes;
  }, 0);
}

test(
  `a fan-out that serves ${KUBELETS} of ${NODES} kubelets gets at most ${100 * SHARE_MAX} % of the bytes of pods and leases there are`,
  async () => {
    const load = machineLoad();
    const stage = await RateStage.start({ population: POPULATION, nats: 1, ingest: 1, shard: 1, fanout: 1 });
    cleanUp.push(() => stage.stop());
    const { upstream, cluster } = stage;
    const [target] = cluster.endpoints;
    const [fanout] = cluster.members('fanout');
    if (target === undefined || fanout === undefined) throw new Error('a fan-out is needed');
    const measure = async (): Promise<{ received: number; read: number }> => {
      return { received: await bytesSentTo(cluster.nats, fanout.name), read: bytesRead(await upstream.report()) };
    };
    const start = await measure();
    const [first, ...others] = kubeletPopulation(POPULATION, KUBELETS).map(connectionsOf);
    // The first has the lanes opened: of a hundred thousand nodes that takes longer than anybody else should wait.
    await clients(target, first ?? []);
    const kubelets = await clients(target, others.flat());
    await kubelets.report({ reset: true });

    // Every lease is renewed as often as the others and every pod changes once, so what each kubelet must get is known.
    const opened = await measure();
    await upstream.write('leases', Math.round(NODES / RENEW_S), NODES * RENEWALS);
    await upstream.write('pods', Math.round(NODES / SECONDS), NODES);
    const wanted = (KUBELETS - 1) * (RENEWALS + POPULATION.podsPerNode);
    const timeoutMs = SECONDS * 1_000 + 60_000;
    const { counts } = await eventually({ what: 'every kubelet has its events', timeoutMs }, async () => {
      const report = await kubelets.report();
      return report.counts.deliveries >= wanted && report;
    });
    const end = await measure();

    const share = (from: typeof start, to: typeof start): number =>
      Number(((to.received - from.received) / (to.read - from.read)).toFixed(4));
    recordClaim('interest', {
      machineLoadBefore: load,
      nodes: NODES,
      kubelets: KUBELETS,
      seconds: SECONDS,
      eventsPerSecond: Math.round(NODES / RENEW_S + NODES / SECONDS),
      receivedBytes: end.received - start.received,
      readBytes: end.read - start.read,
      shareWhileOpening: share(start, opened),
      shareLive: share(opened, end),
      share: share(start, end),
    });
    expect(counts).toMatchObject({ deliveries: wanted, disordered: 0, repeated: 0, ended: 0, errors: {} });
    expect(share(opened, end)).toBeLessThanOrEqual(SHARE_MAX);
    expect(share(start, end)).toBeLessThanOrEqual(SHARE_MAX);
  },
  TEST_TIMEOUT_MS,
);
