import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { untilNodeReady } from './nodes.ts';
import { Stage } from './stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.start({
    components: ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'],
    nodes: ['by-token'],
  });
});

afterAll(() => stage?.stop());

interface Pod {
  readonly spec: { readonly nodeName?: string };
  readonly status: { readonly phase: string };
}

test.each(['by-token', 'by-certificate'])(
  'a kubelet (%s) registers, becomes Ready and runs a pod that the scheduler binds',
  async (name) => {
    const user = `system:node:${name}`;
    const kubeconfig =
      name === 'by-token'
        ? await stage.kubeconfig(user)
        : await stage.plane.certificateKubeconfig(user, ['system:nodes'], stage.through);
    const { admin } = stage.plane;
    await stage.plane.startKubelet(name, kubeconfig);
    await untilNodeReady(admin, name);
    await serviceAccount();
    const pods = '/api/v1/namespaces/default/pods';
    const mount = { name: 'settings', mountPath: '/settings' };
    await admin.create('/api/v1/namespaces/default/configmaps', { metadata: { name }, data: { key: 'value' } });
    await admin.create(pods, {
      metadata: { name },
      spec: {
        nodeSelector: { 'kubernetes.io/hostname': name },
        containers: [{ name: 'main', image: 'none', volumeMounts: [mount] }],
        volumes: [{ name: 'settings', configMap: { name } }],
      },
    });
    const running = await eventually({ what: `the pod runs on ${name}`, timeoutMs: 60_000 }, async () => {
      const pod = await admin.get<Pod>(`${pods}/${name}`);
      return pod.status.phase === 'Running' && pod;
    });
    expect(running.spec.nodeName).toBe(name);
    await admin.delete(`${pods}/${name}`);
    await eventually({ what: 'the kubelet lets the pod go', timeoutMs: 60_000 }, async () => {
      return (await admin.request('GET', `${pods}/${name}`)).status === 404;
    });
  },
);

/** The controller manager makes it a moment after its start. */
async function serviceAccount(): Promise<void> {
  const path = '/api/v1/namespaces/default/serviceaccounts/default';
  await eventually({ what: 'the default service account', timeoutMs: 30_000 }, async () => {
    return (await stage.plane.admin.request('GET', path)).status === 200;
  });
}
