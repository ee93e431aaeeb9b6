import { KubeClient } from '@dogwatch/test/support/kube-client.ts';
import { ControlPlane } from '@dogwatch/test/support/control-plane.ts';
import { afterAll, beforeAll, test } from 'vitest';
import { type UpstreamContext, upstreamCases } from './upstream-cases.ts';
let plane: ControlPlane;
let context: UpstreamContext;
beforeAll(async () => {
  plane = await ControlPlane.start();
  context = { endpoint: plane.endpoint, admin: plane.admin, adminToken: plane.token('admin'), nobody: plane.client('nobody'),
    forgetHistory: async () => { await plane.kill9('kube-apiserver'); await plane.restart('kube-apiserver'); } };
}, 100000);
afterAll(async () => { await plane.stop(); });
for (const { name, run } of upstreamCases(() => context)) test(name, { timeout: 60000 }, run);
