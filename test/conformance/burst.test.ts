import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { Child } from '../support/child.ts';
import { recordClaim } from '../support/claims.ts';
import { DogwatchProcess } from '../support/dogwatch-process.ts';
import { NEEDS_ETCD } from '../support/kine.ts';
import { LineReader } from '../support/line-reader.ts';
import { WatchClient } from '../support/watch-client.ts';
import { check, endings, type ObjectEvent, summarise } from '../support/watch-recorder.ts';
import { NEEDS_SIDECAR, Stage } from './stage.ts';

const WATCHERS = 20;
const SIMULATED_UPSTREAM = fileURLToPath(new URL('../../bench/simulated-upstream.main.ts', import.meta.url));

const cleanUp: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const undo of cleanUp.splice(0).toReversed()) await undo();
});

function watchersOf(namespace: string): { path: string; namespace: string }[] {
  return Array.from({ length: WATCHERS }, () => ({ path: `/api/v1/namespaces/${namespace}/configmaps`, namespace }));
}

test('20,000 events of a real kube-apiserver into one namespace reach 20 watchers, complete and in order', async (context) => {
  context.skip(NEEDS_ETCD !== undefined, NEEDS_ETCD);
  const [events, writers] = [20_000, 16];
  const stage = await Stage.start();
  cleanUp.push(() => stage.stop());
  const { admin } = stage.plane;
  const path = '/api/v1/namespaces/default/configmaps';
  for (let i = 0; i < writers; i += 1) {
    await admin.create(path, { metadata: { name: `burst-${i}` }, data: { payload: 'x'.repeat(800) } });
  }
  const credential = { token: stage.plane.token('admin') };
  const watchers = new WatchClient({ endpoint: stage.through, credential, perConnection: 5 });
  cleanUp.push(() => watchers.close());
  await watchers.openAll(watchersOf('default'));

  const start = performance.now();
  const last = await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      let rv = 0;
      for (let turn = 0; turn < events / writers; turn += 1) {
        const { metadata } = await admin.mergePatch(`${path}/burst-${writer}`, { data: { turn: String(turn) } });
        rv = Number(metadata.resourceVersion);
      }
      return rv;
    }),
  );
  const written = performance.now();
  await watchers.reached(Math.max(...last), 60_000);
  recordClaim('burst', {
    events,
    watchers: WATCHERS,
    eventsPerSecond: Math.round((events / (written - start)) * 1_000),
    msFromLastWriteToLastWatcher: Math.round(performance.now() - written),
  });
  const history = await stage.plane.etcd.history('configmaps', 1, Math.max(...last));
  expect(history.length).toBeGreaterThanOrEqual(events);
  expect(summarise(check(watchers.streams, history, { upTo: Infinity }), watchers.streams)).toEqual([]);
  expect(endings(watchers.streams)).toEqual([]);
});

test('200,000 simulated events at 10,000/s into one namespace reach 20 watchers, complete and in order', async (context) => {
  context.skip(NEEDS_SIDECAR !== undefined, NEEDS_SIDECAR);
  const [events, rate] = [200_000, 10_000];
  const dir = await mkdtemp(join(tmpdir(), 'dogwatch-burst-'));
  cleanUp.push(() =>
    process.env['KEEP_TEST_DIRS'] === undefined ? rm(dir, { recursive: true, force: true }) : undefined,
  );
  const kubeconfig = join(dir, 'upstream.kubeconfig');
  const upstream = await Child.start({
    name: 'simulated-upstream',
    command: process.execPath,
    args: [
      SIMULATED_UPSTREAM,
      `--rate=${rate}`,
      `--limit=${events + 10 * rate}`, // some seconds go by before all watchers are there
      '--mix=configmap=1',
      '--window=300000',
      `--write-kubeconfig=${kubeconfig}`,
    ],
    logFile: join(dir, 'upstream.log'),
    pipe: true,
  });
  cleanUp.push(() => upstream.kill9());
  await new LineReader('simulated-upstream', upstream.stdout).until(/"serving"/, 20_000);
  const direct = JSON.parse(await readFile(kubeconfig, 'utf8')) as WrittenKubeconfig;
  const dogwatch = await DogwatchProcess.start({ dir, kubeconfig, flags: ['--window-bytes=2Gi'] });
  cleanUp.push(() => dogwatch.stop());

  const credential = { token: 'admin' };
  const [{ cluster }] = direct.clusters;
  const ca = Buffer.from(cluster['certificate-authority-data'], 'base64').toString();
  const reference = new WatchClient({ endpoint: { server: cluster.server, ca }, credential });
  const watchers = new WatchClient({ endpoint: dogwatch.endpoint, credential, perConnection: 5 });
  cleanUp.push(
    () => reference.close(),
    () => watchers.close(),
  );
  await reference.open({ path: '/api/v1/configmaps' });
  await watchers.openAll(watchersOf('demo'));
  await watchers.reached(1, 20_000); // the initial events have ended
  const start = performance.now();
  const upTo = Math.max(...watchers.streams.map(({ position }) => position)) + events;
  await watchers.reached(upTo, 120_000);
  const seconds = (performance.now() - start) / 1_000;
  await reference.reached(upTo, 20_000);
  recordClaim('burst-simulated', { events, watchers: WATCHERS, rate, seconds: Math.round(seconds * 10) / 10 });
  const history = reference.streams[0]?.events.filter((event): event is ObjectEvent => 'uid' in event) ?? [];
  expect(history.length).toBeGreaterThan(events);
  expect(summarise(check(watchers.streams, history, { upTo }), watchers.streams)).toEqual([]);
  expect(endings(watchers.streams)).toEqual([]);
});

interface WrittenKubeconfig {
  readonly clusters: readonly [
    { readonly cluster: { readonly server: string; readonly 'certificate-authority-data': string } },
  ];
}
