import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { FULL_SIZE, recordClaim } from '../support/claims.ts';
import { RateWatch } from '../support/cluster-rate-watch.ts';
import { ADMIN, SimulatedStage } from '../support/cluster-simulated.ts';
import { ClusterStage } from '../support/cluster-stage.ts';

const cleanUp: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const undo of cleanUp.splice(0).toReversed()) await undo();
});

describe('a lane of 16 partitions in front of a real kube-apiserver', () => {
  test('is one order to all; who hops between fan-outs and kube-apiserver loses and repeats nothing', async () => {
    const [seconds, hopEveryMs] = [FULL_SIZE ? 60 : 8, 500];
    const stage = await ClusterStage.start({
      namespaces: Array.from({ length: 24 }, (_, index) => `space-${index}`),
      seed: 47,
      everyMs: 0,
      partitions: 'configmaps=16',
    });
    cleanUp.push(() => stage.stop());
    const staying = await stage.watch(20);
    const hopping = await stage.watch(10, [...stage.cluster.endpoints, stage.plane.endpoint]);
    cleanUp.push(
      () => staying.close(),
      () => hopping.close(),
    );

    stage.writers.start();
    const start = performance.now();
    while (performance.now() - start < seconds * 1_000) {
      await sleep(hopEveryMs);
      for (const watch of hopping.watches) watch.hop();
    }
    await stage.writers.stop();
    const perSecond = stage.writers.written / ((performance.now() - start) / 1_000);
    const written = await stage.settle(staying, 30_000);
    await stage.settle(hopping, 30_000);

    const hops = hopping.watches.reduce((sum, watch) => sum + watch.hops, 0);
    recordClaim('order', { partitions: 16, writesPerSecond: Math.round(perSecond), hops, setbacks: hopping.setbacks });
    expect(hops).toBeGreaterThan(hopping.watches.length);
    expect(await stage.violations(staying.records, written)).toEqual([]);
    expect(await stage.violations(hopping.records, written)).toEqual([]);
  });
});

describe('20,000 events a second of one namespace in 16 partitions, protobuf', () => {
  const RATE = 20_000;

  test('are one ascending order without a hole at every watch, on each fan-out and hopping', async () => {
    const events = RATE * (FULL_SIZE ? 30 : 4);
    const stage = await SimulatedStage.start({
      population: { nodes: 5_000, podsPerNode: 0, namespaces: 1 },
      partitions: 'leases.coordination.k8s.io=16',
      nats: 1,
    });
    cleanUp.push(() => stage.stop());
    const request = { path: '/apis/coordination.k8s.io/v1/leases' };
    const [first, second] = stage.cluster.endpoints;
    if (first === undefined || second === undefined) throw new Error('two fan-outs are needed');
    const open = (...endpoints: (typeof first)[]): Promise<RateWatch> => {
      return RateWatch.open({ endpoints, credential: ADMIN, request, encoding: 'protobuf', keepKeys: true });
    };
    const watches = [await open(first), await open(second), await open(first, second)];
    cleanUp.push(async () => void (await Promise.all(watches.map((watch) => watch.closed()))));

    const from = Math.max(...watches.map(({ position }) => position));
    const { leases } = stage.fleets;
    const writer = stage.writer(leases, RATE, events);
    writer.start();
    const hopping = setInterval(() => watches[2]?.hop(), 700);
    await writer.done;
    clearInterval(hopping);
    const { seconds, skipped } = writer.report();
    const written = performance.now();
    for (const watch of watches) await watch.reached(stage.version, 60_000);

    const conflated = await stage.conflated();
    recordClaim('order-simulated', {
      partitions: 16,
      events,
      eventsPerSecond: Math.round(events / seconds),
      notWrittenInTime: skipped,
      msFromLastWriteToLastWatch: Math.round(performance.now() - written),
      setbacks: watches.flatMap(({ setbacks }) => setbacks),
      conflated,
    });
    expect(watches.map(({ disordered }) => disordered)).toEqual([0, 0, 0]);
    expect(watches.flatMap((watch) => stage.differences(leases, watch, from))).toEqual([]);
    // Newest states instead of every change are for watches that cannot keep up, as on a machine that is too small.
    const missing = Math.max(...watches.map((watch) => watch.missing(from, stage.version)));
    expect(conflated > 0 ? 0 : missing).toBe(0);
  });
});
