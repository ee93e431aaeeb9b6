import { KubeClient } from '@dogwatch/test/support/kube-client.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { populate, SMALL_CLUSTER } from './simulated-population.ts';
import { SimulatedUpstream } from './simulated-upstream.ts';
import type { UpstreamContext } from './upstream-case.ts';
import { upstreamCases } from './upstream-cases.ts';

let upstream: SimulatedUpstream;
let context: UpstreamContext;

beforeAll(async () => {
  upstream = await SimulatedUpstream.start();
  const endpoint = { server: upstream.url, ca: upstream.certificate };
  populate(upstream.store, { ...SMALL_CLUSTER, nodes: 3, podsPerNode: 2 });
  context = {
    endpoint,
    admin: new KubeClient(endpoint, { token: 'admin' }),
    adminToken: 'admin',
    nobody: new KubeClient(endpoint, { token: 'nobody' }),
    forgetHistory: () => Promise.resolve(upstream.store.forget()),
  };
});

afterAll(async () => {
  context.admin.close();
  context.nobody.close();
  await upstream.close();
});

describe('the simulated upstream behaves as kube-apiserver', () => {
  test.concurrent.for(upstreamCases(() => context).filter(({ alone }) => !alone))('$name', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined();
  });
});

describe('the simulated upstream by itself', () => {
  test.for(upstreamCases(() => context).filter(({ alone }) => alone))('$name', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined();
  });

  test('it says 406 to a client that insists on protobuf, and JSON to a kubelet that would take either', async () => {
    const status = async (accept: string) =>
      (await context.admin.request('GET', '/api/v1/nodes', { headers: { accept } })).status;
    expect(await status('application/vnd.kubernetes.protobuf')).toBe(406);
    expect(await status('application/vnd.kubernetes.protobuf,application/json')).toBe(200);
  });

  test('a kubelet lists its own pods and nobody else’s', async () => {
    const endpoint = context.endpoint;
    const kubelet = new KubeClient(endpoint, { token: 'node-1' });
    const status = async (query: string) => (await kubelet.request('GET', `/api/v1/pods${query}`)).status;
    expect(await status('?fieldSelector=spec.nodeName%3Dnode-1')).toBe(200);
    expect(await status('?fieldSelector=spec.nodeName%3Dnode-2')).toBe(403);
    expect(await status('')).toBe(403);
    kubelet.close();
  });
});
