import { afterAll, beforeAll, expect, test } from 'vitest';
import { WatchClient } from '../support/watch-client.ts';
import { check, summarise } from '../support/watch-recorder.ts';
import { Stage } from './stage.ts';

const EVENTS = 20_000;
const WATCHERS = 20;
const WRITERS = 16;
const path = '/api/v1/namespaces/default/configmaps';

let stage: Stage;
let watchers: WatchClient;

beforeAll(async () => {
  stage = await Stage.start();
});

afterAll(async () => {
  watchers?.close();
  await stage?.stop();
});

test('20,000 events into one namespace reach 20 watchers, complete and in order', async () => {
  const { admin } = stage.plane;
  const credential = { token: stage.plane.token('admin') };
  watchers = new WatchClient({ endpoint: stage.through, credential, perConnection: 5 });
  for (let i = 0; i < WRITERS; i += 1)
    await admin.create(path, { metadata: { name: `burst-${i}` }, data: { payload: 'x'.repeat(800) } });
  await watchers.openAll(Array.from({ length: WATCHERS }, () => ({ path, namespace: 'default' })));

  const start = performance.now();
  const last = await Promise.all(
    Array.from({ length: WRITERS }, async (_, writer) => {
      let rv = 0;
      for (let turn = 0; turn < EVENTS / WRITERS; turn += 1) {
        const { metadata } = await admin.mergePatch(`${path}/burst-${writer}`, { data: { turn: String(turn) } });
        rv = Number(metadata.resourceVersion);
      }
      return rv;
    }),
  );
  const written = performance.now();
  await watchers.reached(Math.max(...last), 60_000);
  console.log(
    `burst: ${EVENTS} events written in ${((written - start) / 1_000).toFixed(1)} s, ` +
      `with all watchers ${Math.round(performance.now() - written)} ms after the last`,
  );
  const history = await stage.plane.etcd.history('configmaps', 1, Math.max(...last));
  expect(history.length).toBeGreaterThanOrEqual(EVENTS);
  expect(summarise(check(watchers.streams, history, { upTo: Infinity }), watchers.streams)).toEqual([]);
  expect(watchers.streams.filter(({ ended }) => ended !== undefined)).toEqual([]);
});
