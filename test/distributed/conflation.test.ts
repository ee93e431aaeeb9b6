import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
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
    shard: 2,
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
        keepKeys: index === 0,
        writtenAt: (version) => stage.writtenAt(version),
      });
    }),
  );
});

afterAll(async () => {
  await Promise.all(watches.map((watch) => watch.closed()));
  await stage?.stop();
});

interface Measured {
  readonly p99Ms: number;
  readonly rss: number;
}

/** Lets time go by under load; what the watches but the slow one saw of it. */
async function measure(others: readonly RateWatch[], ms: number): Promise<Measured> {
  for (const watch of others) watch.resetLags();
  await sleep(ms);
  const lags = others.flatMap((watch) => watch.lags);
  const [fanout] = stage.cluster.members('fanout');
  if (fanout === undefined) throw new Error('no fan-out');
  return { p99Ms: percentile(lags, 99), rss: (await fanout.memory()).rss };
}

test(`one of ${WATCHERS} watches reads nothing for ${STALLED_MS / 1_000} s: it stays open, costs little, and is then given the newest of each object`, async () => {
  const [slow, ...others] = watches;
  if (slow === undefined) throw new Error('no watches');
  const writer = stage.writer(stage.fleets.leases, RATE);
  stage.trackWrites(stage.fleets.leases);
  writer.start();
  await sleep(3_000); // everything is warm
  const without = await measure(others, STALLED_MS);
  slow.pause();
  const stalledFrom = slow.versions.length;
  const during = await measure(others, STALLED_MS);
  const writtenSoFar = stage.version;
  slow.resume();
  await slow.reached(writtenSoFar, 30_000);
  writer.stop();
  for (const watch of watches) await watch.reached(stage.version, 30_000);

  const given = slow.versions.length - stalledFrom;
  const newest = new Map(slow.keys.map((key, index) => [key, slow.versions[index]]));
  const held = during.rss - without.rss;
  recordClaim('conflation', {
    watches: WATCHERS,
    eventsPerSecond: Math.round(writer.report().written / writer.report().seconds),
    stalledSeconds: STALLED_MS / 1_000,
    p99MsWithout: Math.round(without.p99Ms * 10) / 10,
    p99MsDuring: Math.round(during.p99Ms * 10) / 10,
    rssGrowthBytes: held,
    eventsGivenInsteadOf: `${given} of ${Math.round((RATE * STALLED_MS) / 1_000)}`,
  });
  expect(watches.flatMap(({ setbacks }) => setbacks)).toEqual([]);
  expect(watches.map(({ disordered }) => disordered)).toEqual(watches.map(() => 0));
  const objects = stage.collection(stage.fleets.leases).list();
  expect(newest).toEqual(new Map(objects.map((it) => [`${it.namespace}/${it.name}`, it.resourceVersion])));
  expect(given).toBeLessThan((RATE * STALLED_MS) / 1_000);
  expect(held).toBeLessThanOrEqual(HELD_BYTES_MAX);
  expect(during.p99Ms).toBeLessThanOrEqual(Math.max(without.p99Ms * 1.1, without.p99Ms + 2));
});
