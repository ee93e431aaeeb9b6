import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LagHistogram } from '@dogwatch/bench/lag-histogram.ts';
import { FULL_SIZE, recordClaim } from '../support/claims.ts';
import { percentile } from '../support/cluster-delivery-gap.ts';
import { RateWatch } from '../support/cluster-rate-watch.ts';
import { ADMIN, SimulatedStage } from '../support/cluster-simulated.ts';

const WATCHERS = 20;
const RATE = 5_000;
const OBJECTS = 1_000;
const STALLED_MS = FULL_SIZE ? 60_000 : 10_000;
const HELD_BYTES_MAX = 2 * 1024 * 1024;

let stage: SimulatedStage;
let watches: RateWatch[] = [];

beforeAll(async () => {
  stage = await SimulatedStage.start({
    population: { nodes: OBJECTS, podsPerNode: 0, namespaces: 1 },
    nats: 1,
    ingest: 1,
    shard: 1,
    fanout: 1,
    partitions: 'leases.coordination.k8s.io=4',
    // So small that who reads nothing is soon behind all that is kept.
    flags: { fanout: ['--window-bytes=4Mi'] },
  });
  watches = await Promise.all(
    Array.from({ length: WATCHERS }, (_, index) => {
      return RateWatch.open({
        endpoints: stage.cluster.endpoints,
        credential: ADMIN,
        request: { path: '/apis/coordination.k8s.io/v1/leases' },
        encoding: 'protobuf',
        windowBytes: 65_536,
        keepKeys: index === 0,
        keepVersions: index === 0,
        writtenAt: (version) => stage.writtenAt(version),
      });
    }),
  );
});

afterAll(async () => {
  await Promise.all(watches.map((watch) => watch.closed()));
  await stage?.stop();
});

/** The 99th percentile of what watches saw in some time under load, ms. */
async function p99(others: readonly RateWatch[], ms: number): Promise<number> {
  for (const watch of others) watch.lags.clear();
  await sleep(ms);
  const all = new LagHistogram();
  for (const watch of others) all.add(watch.lags);
  return (all.percentile(0.99) ?? Number.NaN) / 1_000;
}

/** Of the fan-out after a garbage collection: the middle one of several looks, for a busy process breathes. */
async function memory(): Promise<number> {
  const [fanout] = stage.cluster.members('fanout');
  if (fanout === undefined) throw new Error('no fan-out');
  const looks: number[] = [];
  for (let look = 0; look < 9; look += 1) {
    const { heapUsed, external } = await fanout.memory();
    looks.push(heapUsed + external);
    await sleep(100);
  }
  return percentile(looks, 50);
}

test(`one of ${WATCHERS} watches reads nothing for ${STALLED_MS / 1_000} s: it stays open, costs little, and is then given the newest of each object`, async () => {
  const [slow, ...others] = watches;
  if (slow === undefined) throw new Error('no watches');
  const writer = stage.writer(stage.fleets.leases, RATE);
  stage.trackWrites(stage.fleets.leases);
  writer.start();
  await sleep(3_000); // everything is warm
  const before = { p99Ms: await p99(others, STALLED_MS), memory: await memory() };
  await sleep(1_000);
  slow.pause();
  const stalledFrom = slow.versions.length;
  const during = { p99Ms: await p99(others, STALLED_MS), memory: await memory() };
  const writtenSoFar = stage.version;
  slow.resume();
  await slow.reached(writtenSoFar, 30_000);
  writer.stop();
  for (const watch of watches) await watch.reached(stage.version, 30_000);

  const given = slow.versions.length - stalledFrom;
  const newest = new Map(slow.keys.map((key, index) => [key, slow.versions[index]]));
  const held = during.memory - before.memory;
  recordClaim('conflation', {
    watches: WATCHERS,
    eventsPerSecond: Math.round(writer.report().written / writer.report().seconds),
    stalledSeconds: STALLED_MS / 1_000,
    p99MsWithout: Math.round(before.p99Ms * 10) / 10,
    p99MsDuring: Math.round(during.p99Ms * 10) / 10,
    bytesHeldForIt: held,
    eventsGivenInsteadOf: `${given} of ${Math.round((RATE * STALLED_MS) / 1_000)}`,
  });
  expect(watches.flatMap(({ setbacks }) => setbacks)).toEqual([]);
  expect(watches.map(({ disordered }) => disordered)).toEqual(watches.map(() => 0));
  const objects = stage.collection(stage.fleets.leases).list();
  expect(newest).toEqual(new Map(objects.map((it) => [`${it.namespace}/${it.name}`, it.resourceVersion])));
  expect(given).toBeLessThan((RATE * STALLED_MS) / 1_000);
  expect(held).toBeLessThanOrEqual(HELD_BYTES_MAX);
  // On a machine that does other things too there is nothing to compare.
  const p99Max = FULL_SIZE ? Math.max(before.p99Ms * 1.1, before.p99Ms + 2) : Infinity;
  expect(during.p99Ms).toBeLessThanOrEqual(p99Max);
});
