import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { FULL_SIZE, recordClaim } from '../support/claims.ts';
import { RateWatch } from '../support/cluster-rate-watch.ts';
import { ADMIN, SimulatedStage } from '../support/cluster-simulated.ts';

/** All of the cluster, NATS, upstream and its clients share this machine: 20,000 alone are two cores of work. */
const RATE = FULL_SIZE || availableParallelism() >= 8 ? 20_000 : 5_000;
const SECONDS_EACH = FULL_SIZE ? 20 : 4;

const cleanUp: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const undo of cleanUp.splice(0).toReversed()) await undo();
});

test(`shards 2 → 4 → 2 under ${RATE} events a second: nothing is lost or out of order, nothing is listed anew`, async () => {
  const stage = await SimulatedStage.start({
    population: { nodes: 5_000, podsPerNode: 0, namespaces: 1 },
    partitions: 'leases.coordination.k8s.io=16',
    nats: 1,
    shard: 2,
  });
  cleanUp.push(() => stage.stop());
  const { leases } = stage.fleets;
  const request = { path: '/apis/coordination.k8s.io/v1/leases' };
  const watches = await Promise.all(
    stage.cluster.endpoints.map((endpoint) => {
      return RateWatch.open({
        endpoints: [endpoint],
        credential: ADMIN,
        request,
        encoding: 'protobuf',
        keepKeys: true,
      });
    }),
  );
  cleanUp.push(async () => void (await Promise.all(watches.map((watch) => watch.closed()))));
  const from = Math.max(...watches.map(({ position }) => position));
  const before = stage.reads(leases);

  const writer = stage.writer(leases, RATE);
  writer.start();
  await sleep(SECONDS_EACH * 1_000);
  await stage.cluster.addShard();
  await stage.cluster.addShard();
  await sleep(SECONDS_EACH * 1_000);
  await stage.cluster.removeShard();
  await stage.cluster.removeShard();
  await sleep(SECONDS_EACH * 1_000);
  writer.stop();
  for (const watch of watches) await watch.reached(stage.version, 60_000);
  const conflated = await stage.conflated();
  // A watch that begins now, as of then, finds what was moved twice.
  const late = await RateWatch.open({
    endpoints: stage.cluster.endpoints,
    credential: ADMIN,
    request: { ...request, resourceVersion: from },
    encoding: 'protobuf',
    keepKeys: true,
  });
  cleanUp.push(() => late.closed());
  await late.reached(stage.version, 60_000);

  const { written, seconds, skipped } = writer.report();
  recordClaim('scaling', {
    events: written,
    eventsPerSecond: Math.round(written / seconds),
    notWrittenInTime: skipped,
    setbacks: watches.flatMap(({ setbacks }) => setbacks),
    conflated,
  });
  expect([...watches, late].map(({ disordered }) => disordered)).toEqual([0, 0, 0]);
  expect([...watches, late].flatMap((watch) => stage.differences(leases, watch, from))).toEqual([]);
  // Newest states instead of every change are for watches that cannot keep up, as on a machine that is too small.
  const missing = Math.max(...watches.map((watch) => watch.missing(from, stage.version)));
  expect(conflated > 0 ? 0 : missing).toBe(0);
  const { watches: _, ...read } = stage.reads(leases);
  expect(before).toMatchObject(read);
});
