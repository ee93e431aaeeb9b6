import { afterEach, expect, test } from 'vitest';
import { FULL_SIZE, recordClaim } from '../support/claims.ts';
import { streamBytes } from '../support/cluster-nats.ts';
import { SimulatedStage } from '../support/cluster-simulated.ts';
import { eventually } from '../support/eventually.ts';

const OBJECTS = FULL_SIZE ? 150_000 : 15_000;
const PATH = '/apis/coordination.k8s.io/v1/leases?resourceVersion=0';

const cleanUp: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const undo of cleanUp.splice(0).toReversed()) await undo();
});

test(`shards boot with ${OBJECTS} objects from checkpoints and the log, without a LIST upstream`, async () => {
  const stage = await SimulatedStage.start({
    population: { nodes: OBJECTS, podsPerNode: 0, namespaces: 1 },
    partitions: 'leases.coordination.k8s.io=16',
    nats: 1,
    shard: 2,
    fanout: 1,
    flags: { shard: ['--checkpoint-interval=2s'] },
  });
  cleanUp.push(() => stage.stop());
  const { leases } = stage.fleets;
  const client = stage.client();
  cleanUp.push(() => Promise.resolve(client.close()));
  expect(await versions(() => client.request('GET', PATH))).toEqual(truth(stage));
  await checkpointed(stage);
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
  await eventually({ what: 'the lane is served', timeoutMs: 120_000 }, async () => {
    return (await client.request('GET', PATH)).status === 200;
  });
  const servedMs = performance.now() - start;

  expect(await versions(() => client.request('GET', PATH))).toEqual(truth(stage));
  recordClaim('boot', {
    objects: OBJECTS,
    secondsUntilReady: Math.round(readyMs / 100) / 10,
    secondsUntilServed: Math.round(servedMs / 100) / 10,
  });
  expect(stage.reads(leases)).toEqual(before);
});

/** A checkpoint is an object of JetStream, which grows until it has the whole lane and then stays. */
async function checkpointed(stage: SimulatedStage): Promise<void> {
  let last = 0;
  await eventually({ what: 'the lane is in checkpoints', timeoutMs: 60_000, everyMs: 3_000 }, async () => {
    const bytes = await streamBytes(stage.cluster.nats);
    const held = [...bytes].filter(([name]) => name.startsWith('OBJ_')).reduce((sum, [, count]) => sum + count, 0);
    const steady = held > 0 && held === last;
    last = held;
    return steady;
  });
}

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
