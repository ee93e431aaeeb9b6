import { afterAll, beforeAll, expect, test } from 'vitest';
import { recordClaim } from '../support/claims.ts';
import { lastFor, RandomWriter, type Written } from '../support/random-writer.ts';
import { WatchClient } from '../support/watch-client.ts';
import type { Interest } from '../support/watch-model.ts';
import {
  check,
  endings,
  type ObjectEvent,
  type RecordedStream,
  summarise,
  type WatchRequest,
} from '../support/watch-recorder.ts';
import { NEEDS_DOGWATCH, Stage } from './stage.ts';

const namespaces = ['one', 'two', 'three'];
const colours = ['red', 'green', 'blue'];
const names = ['object-1', 'object-2'];

let stage: Stage;
let writer: RandomWriter;
let reference: WatchClient;
const clients: WatchClient[] = [];

beforeAll(async () => {
  stage = await Stage.start({ dogwatchFlags: ['--bookmark-interval=1s'] });
  writer = new RandomWriter({ client: stage.plane.admin, seed: 7, namespaces, colours });
  await writer.createNamespaces();
  reference = new WatchClient({ endpoint: stage.plane.endpoint, credential: { token: stage.plane.token('admin') } });
  clients.push(reference);
  await reference.open({ path: writer.path });
});

afterAll(async () => {
  for (const client of clients) client.close();
  await stage?.stop();
});

function watchClient(protocol: 'h2' | 'h1'): WatchClient {
  const client = new WatchClient({
    endpoint: stage.through,
    credential: { token: stage.plane.token('admin') },
    protocol,
  });
  clients.push(client);
  return client;
}

/** Every kind of interest: all, a namespace, a colour, both, one object. */
function interests(): (Interest & { path: string })[] {
  return [
    { path: writer.path },
    ...colours.map((colour) => ({ path: writer.path, labels: { colour } })),
    ...namespaces.flatMap((namespace) => [
      { path: writer.pathIn(namespace), namespace },
      ...colours.map((colour) => ({ path: writer.pathIn(namespace), namespace, labels: { colour } })),
      ...names.map((name) => ({ path: writer.pathIn(namespace), namespace, name })),
    ]),
  ];
}

function referenceEvents(): ObjectEvent[] {
  return reference.streams[0]?.events.filter((event): event is ObjectEvent => 'uid' in event) ?? [];
}

/** Lets every stream come to the last write that concerns it. */
async function settle(written: readonly Written[]): Promise<void> {
  for (const client of clients) {
    await client.reached(({ request, ended }) => (ended === undefined ? lastFor(request, written) : 0), 20_000);
  }
}

function resumedFrom(streams: readonly RecordedStream[]): WatchRequest[] {
  return streams.map(({ request, position }) => ({ ...request, resourceVersion: position }));
}

test('every stream is filtered, ordered, unique, complete and truly bookmarked, from its start and when resumed', async () => {
  await writer.write(100);
  const first = [watchClient('h2'), watchClient('h1')];
  for (const client of first) await client.openAll(interests());
  await writer.write(400);
  await settle(await writer.touchAll(names));

  const resumed = watchClient('h2');
  await writer.write(100);
  await resumed.openAll(resumedFrom(first.flatMap(({ streams }) => streams)));
  await writer.write(200);
  const late = watchClient('h2');
  await late.openAll(interests());
  await settle(await writer.touchAll(names));

  const streams = clients.slice(1).flatMap((client) => client.streams);
  const events = streams.reduce((sum, stream) => sum + stream.events.length, 0);
  recordClaim('streams', { streams: streams.length, events, referenceEvents: referenceEvents().length });
  expect(summarise(check(streams, referenceEvents(), { upTo: Infinity }), streams)).toEqual([]);
  expect(endings(streams)).toEqual([]);
});

test('bookmarks carry every stream past writes that do not concern it', async (context) => {
  context.skip(NEEDS_DOGWATCH !== undefined, NEEDS_DOGWATCH); // kube-apiserver's come once a minute
  const elsewhere = await stage.plane.admin.create(writer.pathIn('default'), { metadata: { name: 'elsewhere' } });
  const rv = Number(elsewhere.metadata.resourceVersion);
  for (const client of clients.slice(1)) await client.reached(rv, 10_000);
  const streams = clients.slice(1).flatMap((client) => client.streams);
  expect(summarise(check(streams, referenceEvents(), { upTo: Infinity }), streams)).toEqual([]);
});
