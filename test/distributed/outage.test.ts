import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FULL_SIZE, recordClaim } from '../support/claims.ts';
import { deliveryGap } from '../support/cluster-delivery-gap.ts';
import type { HoppingWatches } from '../support/cluster-hopping-watch.ts';
import { wipeStreams } from '../support/cluster-nats.ts';
import { ClusterStage } from '../support/cluster-stage.ts';

const NATS_DOWN_MS = FULL_SIZE ? 60_000 : 10_000;
const WATCHERS = 10;
/** configmaps is the only lane anybody reads. */
const LANE = '/api/v1/configmaps';

let stage: ClusterStage;
let watches: HoppingWatches;

beforeAll(async () => {
  stage = await ClusterStage.start({
    namespaces: ['one', 'two', 'three', 'four'],
    seed: 43,
    everyMs: 50,
    partitions: 'configmaps=4',
    flags: { shard: ['--checkpoint-interval=5s'] },
  });
  watches = await stage.watch(WATCHERS);
});

afterAll(async () => {
  await watches?.close();
  await stage?.stop();
});

interface Outcome {
  readonly violations: readonly string[];
  readonly listings: Readonly<Record<string, number>>;
}

/** Writes go on all the time; afterwards every watch has been given its last word. */
async function through(name: string, outage: () => Promise<void>): Promise<Outcome> {
  const calm = await stage.settle(watches, 60_000);
  const began = Date.now();
  const from = performance.now();
  stage.writers.start();
  await sleep(1_000);
  await outage();
  await sleep(3_000);
  await stage.writers.stop();
  const written = await stage.settle(watches, 60_000);
  const listings = await stage.listings(began);
  const { violations, statesLeftOut } = await stage.violationsSince(calm, watches.records, written);
  recordClaim(name, {
    statesLeftOut,
    gapMs: Math.round(deliveryGap(watches.records.slice(0, 1), from, performance.now())),
    listings: Object.entries(listings).map(([lane, count]) => `${lane} ${count}`),
    setbacks: watches.setbacks,
  });
  return { violations, listings };
}

async function everyDogwatchAtOnce(): Promise<void> {
  await stage.cluster.kill9All();
  await stage.cluster.restartAll();
}

test('kill -9 of every dogwatch process at once: at most one listing of each lane, nothing is lost', async () => {
  const { violations, listings } = await through('all-at-once', everyDogwatchAtOnce);
  expect(violations).toEqual([]);
  expect(listings[LANE] ?? 0).toBeLessThanOrEqual(1);
});

test('NATS that is gone for a while: live delivery comes back by itself, nothing is lost', async () => {
  const { violations } = await through('nats-down', async () => {
    const { servers } = stage.cluster.nats;
    await Promise.all(servers.map((server) => server.kill9()));
    await sleep(NATS_DOWN_MS);
    await Promise.all(servers.map((server) => server.start()));
  });
  expect(violations).toEqual([]);
});

test('all of JetStream deleted: it is made anew, nothing is lost', async () => {
  const wiped = await through('jetstream-wiped', async () => {
    expect((await wipeStreams(stage.cluster.nats)).length).toBeGreaterThan(0);
    await sleep(5_000);
  });
  expect(wiped.violations).toEqual([]);
  // What was made anew is whole: who starts from it finds everything.
  const { violations } = await through('start-after-wipe', everyDogwatchAtOnce);
  expect(violations).toEqual([]);
});
