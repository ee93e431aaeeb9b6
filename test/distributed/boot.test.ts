import { isDeepStrictEqual } from 'node:util';
import { afterEach, expect, test } from 'vitest';
import { FULL_SIZE, recordClaim } from '../support/claims.ts';
import { checkpointedTracks } from '../support/cluster-nats.ts';
import { SimulatedStage } from '../support/cluster-simulated.ts';
import { eventually } from '../support/eventually.ts';

const OBJECTS = FULL_SIZE ? 150_000 : 15_000;
const PARTITIONS = 16;
/** Answered from the watch caches, whatever they hold. */
const CACHED = '/apis/coordination.k8s.io/v1/leases?resourceVersion=0';

const cleanUp: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const undo of cleanUp.splice(0).toReversed()) await undo();
});

test(`shards boot with ${OBJECTS} objects from checkpoints and the log, without a LIST upstream`, async () => {
  const stage = await SimulatedStage.start({
    population: { nodes: OBJECTS, podsPerNode: 0, namespaces: 1 },
    partitions: `leases.coordination.k8s.io=${PARTITIONS}`,
    nats: 1,
    shard: 2,
    fanout: 1,
    flags: { shard: ['--checkpoint-interval=2s'] },
  });
  cleanUp.push(() => stage.stop());
  const { leases } = stage.fleets;
  const client = stage.client();
  cleanUp.push(() => Promise.resolve(client.close()));
  expect(await versions(() => client.request('GET', CACHED))).toEqual(truth(stage));
  await eventually({ what: 'every partition has a checkpoint', timeoutMs: 60_000, everyMs: 500 }, async () => {
    return (await checkpointedTracks(stage.cluster.nats)) === PARTITIONS;
  });
  // Some that no checkpoint may have yet.
  const writer = stage.writer(leases, 2_000, 2_000);
  writer.start();
  await writer.done;
  const before = stage.reads(leases);

  // All who hold the lane's state; the ingests live on and hold none of it.
  const holders = [...stage.cluster.members('shard'), ...stage.cluster.members('fanout')];
  await Promise.all(holders.map((member) => member.kill9()));
  const start = performance.now();
  await Promise.all(holders.map((member) => member.restart()));
  const readyMs = performance.now() - start;
  await eventually({ what: 'the lane is served as it is', timeoutMs: 120_000 }, async () => {
    return isDeepStrictEqual(await versions(() => client.request('GET', CACHED)), truth(stage));
  });
  const servedMs = performance.now() - start;
  recordClaim('boot', {
    objects: OBJECTS,
    secondsUntilReady: Math.round(readyMs / 100) / 10,
    secondsUntilServed: Math.round(servedMs / 100) / 10,
  });
  const { watches: _, ...read } = stage.reads(leases);
  expect(before).toMatchObject(read);
});

function truth(stage: SimulatedStage): Map<string, number> {
  const objects = stage.collection(stage.fleets.leases).list();
  return new Map(objects.map(({ name, resourceVersion }) => [name, resourceVersion]));
}

async function versions(ask: () => Promise<{ status: number; body: string }>): Promise<Map<string, number>> {
  const { status, body } = await ask();
  if (status !== 200) throw new Error(`${status} ${body.slice(0, 300)}`);
  const { items } = JSON.parse(body) as { items: { metadata: { name: string; resourceVersion: string } }[] };
  return new Map(items.map(({ metadata }) => [metadata.name, Number(metadata.resourceVersion)]));
}
