import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { recordClaim } from '../support/claims.ts';
import { eventually } from '../support/eventually.ts';
import { Herd, HERD_RESOURCES } from '../support/herd.ts';
import { RandomWriter } from '../support/random-writer.ts';
import { NEEDS_SIDECAR, Stage } from './stage.ts';
import { growth, initialReads, initialReadsOf, overlapping } from './upstream-reads.ts';

const INFORMERS = 1_000;
const DOWN_MS = 5_000;

let stage: Stage;
let writers: RandomWriter[];

beforeAll(async () => {
  stage = await Stage.start();
  writers = (['configmaps', 'leases'] as const).map((kind, index) => {
    const options = { namespaces: ['one', 'two'], colours: ['red', 'blue'], kind };
    return new RandomWriter({ client: stage.plane.admin, seed: 23 + index, ...options });
  });
  for (const writer of writers) await writer.createNamespaces();
  for (const writer of writers) await writer.write(100);
});

afterAll(() => stage?.stop());

/** Waits until the herd's caches are what one informer per resource sees directly. */
async function untilEqual(herd: Herd, direct: Herd, timeoutMs: number): Promise<void> {
  await eventually({ what: 'all caches equal the direct ones', timeoutMs, everyMs: 1_000 }, async () => {
    const [through, wanted] = [await herd.state(), await direct.state()];
    const same = Object.keys(wanted.digests).toSorted().join() === Object.keys(through.digests).toSorted().join();
    return same && Object.values(through.digests).reduce((sum, count) => sum + count, 0) === INFORMERS;
  });
}

test('kill -9 and restart under 1,000 client-go watches: all resume from their RV, upstream is read once per lane', async (context) => {
  context.skip(NEEDS_SIDECAR !== undefined, NEEDS_SIDECAR);
  const count = HERD_RESOURCES.length;
  const direct = await Herd.start(stage.plane, {
    name: 'direct',
    kubeconfig: await stage.plane.kubeconfig('admin'),
    count,
  });
  const herd = await Herd.start(stage.plane, {
    name: 'herd',
    kubeconfig: await stage.kubeconfig('admin'),
    count: INFORMERS,
  });
  for (const writer of writers) await writer.write(50);
  await untilEqual(herd, direct, 20_000);
  const before = await herd.report();

  const readsBefore = initialReads(await stage.plane.metrics());
  const killed = Date.now();
  await stage.dogwatch.kill9();
  for (const writer of writers) await writer.write(50);
  await sleep(DOWN_MS - Math.min(DOWN_MS, Date.now() - killed));
  const readyMs = await stage.dogwatch.restart();
  for (const writer of writers) await writer.write(50);
  // client-go backs off up to 30 s between attempts at a server that refuses it.
  await untilEqual(herd, direct, 90_000);

  const after = await herd.report();
  const relists = after.lists + after.watchLists - before.lists - before.watchLists;
  recordClaim('sidecar-restart', {
    informers: INFORMERS,
    readyMs: Math.round(readyMs),
    resumedFromTheirRv: after.watches - before.watches,
    relistsAfterABrokenStream: relists,
  });
  expect(readyMs).toBeLessThan(10_000);
  expect(after).toMatchObject({ http410: 0, errorEvents: 0, httpOther: 0, statusErrors: 0 });
  // client-go relists by itself where a stream or a request broke in the air, whatever the server; never for an answer.
  expect(relists).toBeLessThanOrEqual(after.cut - before.cut + after.watchErrors - before.watchErrors);
  const samples = await stage.plane.metrics();
  const extra = Object.entries(growth(readsBefore, initialReads(samples))).filter(([, reads]) => reads > 1);
  expect(extra, 'more than one LIST or watch-list of a resource').toEqual([]);
  expect(overlapping(initialReadsOf(await stage.plane.audit(), killed))).toEqual([]);
  await herd.stop();
  await direct.stop();
});
