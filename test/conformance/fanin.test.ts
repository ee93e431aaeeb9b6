import { afterAll, beforeAll, expect, test } from 'vitest';
import { recordClaim } from '../support/claims.ts';
import { eventually } from '../support/eventually.ts';
import { Herd, HERD_RESOURCES } from '../support/herd.ts';
import { NEEDS_DOGWATCH, Stage, UPSTREAM_READERS } from './stage.ts';
import { growth, openWatches } from './upstream-reads.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.start({ components: ['etcd', 'kube-apiserver', 'kube-controller-manager'] });
});

afterAll(() => stage?.stop());

/** `v1/pods` and `apps/v1/replicasets` as kube-apiserver's metrics name them. */
const groupResources = HERD_RESOURCES.map((resource) => {
  const [name = '', , group = 'core'] = resource.split('/').toReversed();
  return `${group}/${name}`;
});
const oneEach = Object.fromEntries(groupResources.map((resource) => [resource, UPSTREAM_READERS]));

test('1,000 informers on 10 resources cost one upstream watch per lane; 1,000 more cost none', async (context) => {
  context.skip(NEEDS_DOGWATCH !== undefined, NEEDS_DOGWATCH);
  const kubeconfig = await stage.kubeconfig('admin');
  const before = openWatches(await stage.plane.metrics());
  const grown = async (): Promise<Record<string, number>> => growth(before, openWatches(await stage.plane.metrics()));
  // The control plane's own informers replace a watch now and then, so one look may find one too few or too many.
  const settled = (): Promise<unknown> =>
    eventually({ what: 'a steady number of watches', timeoutMs: 10_000, everyMs: 500 }, async () => {
      return JSON.stringify(await grown()) === JSON.stringify(oneEach);
    }).catch(() => undefined);

  const first = await Herd.start(stage.plane, { name: 'herd-1', kubeconfig, count: 1_000 });
  await settled();
  expect(await grown()).toEqual(oneEach);

  const second = await Herd.start(stage.plane, { name: 'herd-2', kubeconfig, count: 1_000 });
  await settled();
  expect(await grown()).toEqual(oneEach);

  for (const herd of [first, second]) {
    expect(await herd.report()).toMatchObject({ informers: 1_000, errorEvents: 0, http410: 0, watchErrors: 0 });
  }
  // The other encoding is another lane: the bytes are upstream's own.
  const kubelets = await Herd.start(stage.plane, {
    name: 'herd-3',
    kubeconfig,
    count: 200,
    contentType: 'application/vnd.kubernetes.protobuf',
  });
  const twoEach = Object.fromEntries(groupResources.map((resource) => [resource, 2 * UPSTREAM_READERS]));
  expect(await grown()).toEqual(twoEach);
  recordClaim('fanin', {
    informers: 2_200,
    resources: groupResources.length,
    upstreamWatches: 2 * UPSTREAM_READERS * groupResources.length,
  });
  for (const herd of [first, second, kubelets]) await herd.stop();
});
