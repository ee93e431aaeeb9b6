// The cases the simulated upstream passes, against what it simulates and through dogwatch: they keep all three alike.
import { type UpstreamContext } from '@dogwatch/bench/upstream-case.ts';
import { upstreamCases } from '@dogwatch/bench/upstream-cases.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Endpoint, KubeClient } from '../support/kube-client.ts';
import { Stage } from './stage.ts';

let stage: Stage;
const clients: KubeClient[] = [];

beforeAll(async () => {
  stage = await Stage.start();
});

afterAll(async () => {
  for (const client of clients) client.close();
  await stage.stop();
});

function context(endpoint: Endpoint): UpstreamContext {
  const admin = stage.plane.client('admin', endpoint);
  const nobody = stage.plane.client('nobody', endpoint);
  clients.push(admin, nobody);
  return {
    endpoint,
    admin,
    adminToken: stage.plane.token('admin'),
    nobody,
    forgetHistory: async () => {
      await stage.plane.kill9('kube-apiserver');
      await stage.plane.restart('kube-apiserver');
    },
  };
}

const shared = (endpoint: () => Endpoint) => upstreamCases(() => context(endpoint())).filter(({ alone }) => !alone);

describe('kube-apiserver', () => {
  test.for(shared(() => stage.plane.endpoint))('$name', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined();
  });
});

describe('dogwatch', () => {
  test.for(shared(() => stage.through).filter(({ ofUpstream }) => !ofUpstream))('$name', async ({ run }) => {
    await expect(run()).resolves.toBeUndefined();
  });
});

// Last: kube-apiserver restarts. dogwatch forgets nothing when that happens, so there is nothing to compare.
describe('kube-apiserver by itself', () => {
  test.for(upstreamCases(() => context(stage.plane.endpoint)).filter(({ alone }) => alone))(
    '$name',
    async ({ run }) => {
      await expect(run()).resolves.toBeUndefined();
    },
  );
});
