import { afterAll, beforeAll, expect, test } from 'vitest';
import { recordClaim } from '../support/claims.ts';
import { WatchClient } from '../support/watch-client.ts';
import { endings, type WatchRequest } from '../support/watch-recorder.ts';
import { NEEDS_SIDECAR, Stage } from './stage.ts';

const CONNECTIONS = 1_000;
const LIMIT_BYTES = 20 * 1024;

/** 18 resources, as many as a kubelet watches. */
const RESOURCES = [
  '/api/v1/configmaps',
  '/api/v1/secrets',
  '/api/v1/pods',
  '/api/v1/nodes',
  '/api/v1/services',
  '/api/v1/endpoints',
  '/api/v1/serviceaccounts',
  '/api/v1/persistentvolumes',
  '/api/v1/persistentvolumeclaims',
  '/api/v1/limitranges',
  '/apis/apps/v1/replicasets',
  '/apis/apps/v1/deployments',
  '/apis/coordination.k8s.io/v1/leases',
  '/apis/discovery.k8s.io/v1/endpointslices',
  '/apis/node.k8s.io/v1/runtimeclasses',
  '/apis/storage.k8s.io/v1/csidrivers',
  '/apis/storage.k8s.io/v1/csinodes',
  '/apis/networking.k8s.io/v1/networkpolicies',
];

let stage: Stage;
let client: WatchClient;

beforeAll(async () => {
  stage = await Stage.start();
  client = new WatchClient({
    endpoint: stage.through,
    credential: { token: stage.plane.token('admin') },
    perConnection: RESOURCES.length,
  });
});

afterAll(async () => {
  client?.close();
  await stage?.stop();
});

test('18,000 idle watches on 1,000 connections cost at most 20 KB each, connections included', async (context) => {
  context.skip(NEEDS_SIDECAR !== undefined, NEEDS_SIDECAR);
  const requests: WatchRequest[] = RESOURCES.map((path) => ({ path }));
  await client.openAll(requests); // opens the lanes, which cost memory of their own
  const before = await stage.dogwatch.memory();
  const many = Array.from({ length: CONNECTIONS }, () => requests).flat();
  await client.openAll(many);
  expect(client.connections).toBe(CONNECTIONS + 1);
  const after = await stage.dogwatch.memory();
  const each = (after.rss - before.rss) / many.length;
  recordClaim('idle-memory', {
    watches: many.length,
    connections: CONNECTIONS,
    bytesPerWatch: Math.round(each),
    rssBefore: before.rss,
    rssAfter: after.rss,
  });
  expect(each).toBeLessThanOrEqual(LIMIT_BYTES);

  // They are all alive: one object reaches every watch of its resource.
  const created = await stage.plane.admin.create('/api/v1/namespaces/default/configmaps', {
    metadata: { name: 'news' },
  });
  const rv = Number(created.metadata.resourceVersion);
  await client.reached(({ request }) => (request.path === '/api/v1/configmaps' ? rv : 0), 20_000);
  expect(endings(client.streams)).toEqual([]);
});
