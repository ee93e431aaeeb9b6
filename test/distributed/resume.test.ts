import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { StoredObject } from '@dogwatch/bench/simulated-object.ts';
import { FULL_SIZE, recordClaim } from '../support/claims.ts';
import { RateWatch } from '../support/cluster-rate-watch.ts';
import { ADMIN, SimulatedStage } from '../support/cluster-simulated.ts';
import type { WatchRequest } from '../support/watch-recorder.ts';

const EVENTS = FULL_SIZE ? 1_000_000 : 30_000;
const RATE = 10_000;
/** Each followed by deletes and by creations under an old name. */
const ROUNDS = 10;
const PATH = '/api/v1/pods';

interface Case {
  readonly what: string;
  readonly request: WatchRequest;
  readonly matches: (object: StoredObject) => boolean;
}

const CASES: readonly Case[] = [
  { what: 'everything', request: { path: PATH }, matches: () => true },
  {
    what: 'a namespace',
    request: { path: '/api/v1/namespaces/app-03/pods', namespace: 'app-03' },
    matches: ({ namespace }) => namespace === 'app-03',
  },
  {
    what: 'a name',
    request: { path: PATH, name: 'web-000005-03' },
    matches: ({ name }) => name === 'web-000005-03',
  },
  {
    what: 'a node',
    request: { path: PATH, node: 'node-000005' },
    matches: ({ fields }) => fields['spec.nodeName'] === 'node-000005',
  },
];

interface Deletion {
  readonly object: StoredObject;
  readonly rv: number;
}

let stage: SimulatedStage;
/** Sees everything live, so that the cluster is known to have got to a version. */
let live: RateWatch;
/** What the watches that return hold. */
let old: number;
const deletions: Deletion[] = [];

beforeAll(async () => {
  stage = await SimulatedStage.start({
    population: { nodes: 200, podsPerNode: 10, namespaces: 10 },
    window: 20_000,
    nats: 1,
    partitions: 'pods=4',
    flags: {
      shard: ['--window-bytes=1Mi', '--checkpoint-interval=5s'],
      fanout: ['--window-bytes=1Mi', '--bookmark-interval=1s'],
    },
  });
  live = await open({ path: PATH });
  old = live.position;
  for (let round = 0; round < ROUNDS; round += 1) {
    const writer = stage.writer(stage.fleets.pods, RATE, EVENTS / ROUNDS);
    writer.start();
    await writer.done;
    await churn(round);
  }
  await live.reached(stage.version, 60_000);
}, 600_000);

afterAll(async () => {
  await live?.closed();
  await stage?.stop();
});

function open(request: WatchRequest): Promise<RateWatch> {
  const { endpoints } = stage.cluster;
  return RateWatch.open({ endpoints, credential: ADMIN, request, encoding: 'protobuf', keepKeys: true });
}

/** Deletes pods of many nodes and of one, and creates every second of them anew. */
async function churn(round: number): Promise<void> {
  const collection = stage.collection(stage.fleets.pods);
  const direct = stage.client({ server: stage.upstream.url, ca: stage.upstream.certificate });
  const slots = [`web-000005-${String(round % 3).padStart(2, '0')}`, `web-${String(100 + round).padStart(6, '0')}-00`];
  for (const [index, name] of slots.entries()) {
    const object = collection.list().find((its) => its.name === name);
    if (object === undefined) continue;
    const event = stage.upstream.store.delete(collection, `${object.namespace}/${name}`);
    deletions.push({ object, rv: event?.resourceVersion ?? 0 });
    if (index === 0) continue;
    const { metadata, ...rest } = JSON.parse(object.bytes('json').toString()) as { metadata: Record<string, unknown> };
    const { uid: _uid, resourceVersion: _rv, ...kept } = metadata;
    await direct.create(`/api/v1/namespaces/${object.namespace}/pods`, { ...rest, metadata: kept });
  }
  direct.close();
}

interface Owed {
  /** `KEY@RV` of each object at its newest version. */
  readonly puts: readonly string[];
  readonly deletes: readonly string[];
}

function owed({ matches }: Case): Owed {
  const changed = stage
    .collection(stage.fleets.pods)
    .list()
    .filter((object) => object.resourceVersion > old && matches(object));
  const gone = deletions.filter(({ object }) => matches(object));
  const text = ({ namespace, name }: StoredObject, rv: number): string => `${namespace}/${name}@${rv}`;
  return {
    puts: changed.map((object) => text(object, object.resourceVersion)).toSorted(),
    deletes: gone.map(({ object, rv }) => text(object, rv)).toSorted(),
  };
}

function given({ versions, keys, types }: RateWatch): Owed {
  const of = (deleted: boolean): string[] =>
    versions.flatMap((rv, index) => ((types[index] === 'DELETED') === deleted ? [`${keys[index]}@${rv}`] : []));
  return { puts: of(false).toSorted(), deletes: of(true).toSorted() };
}

function returning(): void {
  test.each(CASES)('to $what is given each change once, at its newest version, in order', async (its) => {
    const before = stage.reads(stage.fleets.pods);
    const watch = await open({ ...its.request, resourceVersion: old });
    try {
      await watch.reached(stage.version, 30_000);
      expect(watch.setbacks).toEqual([]);
      expect(watch.disordered).toBe(0);
      expect(given(watch)).toEqual(owed(its));
      expect(stage.reads(stage.fleets.pods)).toEqual(before);
    } finally {
      await watch.closed();
    }
  });

  test('by a label gets 410, and begins anew from dogwatch alone', async () => {
    const before = stage.reads(stage.fleets.pods);
    const labels = { app: 'web' };
    const watch = await open({ path: PATH, labels, resourceVersion: old });
    await watch.reached(stage.version, 10_000);
    await watch.closed();
    expect(watch.expired).toBe(true);
    const anew = await open({ path: PATH, labels });
    await anew.closed();
    expect(anew.initial).toBe(stage.collection(stage.fleets.pods).list().length);
    const { watches: _, ...read } = stage.reads(stage.fleets.pods);
    expect(before).toMatchObject(read);
  });
}

describe(`a watch that returns with a version ${EVENTS} events old`, () => {
  returning();
});

describe('the same after all of dogwatch and NATS was killed and started again: a watch', () => {
  test('goes on without a listing upstream', { timeout: 120_000 }, async () => {
    const before = stage.reads(stage.fleets.pods);
    await Promise.all([stage.cluster.kill9All(), ...stage.cluster.nats.servers.map((server) => server.kill9())]);
    await Promise.all(stage.cluster.nats.servers.map((server) => server.start()));
    const readyMs = await stage.cluster.restartAll();
    const writer = stage.writer(stage.fleets.pods, 1_000, 1);
    writer.start();
    await writer.done;
    await live.reached(stage.version, 60_000);
    const { watches, ...read } = stage.reads(stage.fleets.pods);
    recordClaim('resume', {
      events: EVENTS,
      interests: CASES.map(({ what }) => what),
      readyMsAfterRestart: Math.round(readyMs),
      listsOfTheRestart: read.lists - before.lists,
      objectsReadByTheRestart: read.initialObjects - before.initialObjects,
      watchesOfTheRestart: watches - before.watches,
    });
    expect(before).toMatchObject(read);
  });

  returning();
});
