import { afterAll, beforeAll, expect, test } from 'vitest';
import { assetPath } from '../support/assets.ts';
import { run } from '../support/command.ts';
import { Stage } from './stage.ts';
import { untilNodeReady } from './nodes.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.start({
    components: ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'],
    nodes: ['n1'],
  });
  await stage.plane.startKubelet('n1', await stage.plane.kubeconfig('system:node:n1'));
  await untilNodeReady(stage.plane.admin, 'n1');
});

afterAll(() => stage?.stop());

test('upstream e2e "Watchers", all conformance cases', async () => {
  const result = await run(
    assetPath('e2e.test'),
    [
      `--kubeconfig=${await stage.kubeconfig('admin')}`,
      '--provider=skeleton',
      '--ginkgo.focus=Watchers.*\\[Conformance\\]',
      '--ginkgo.no-color',
      '--allowed-not-ready-nodes=-1',
      '--minStartupPods=0',
    ],
    { timeoutMs: 280_000 },
  );
  const text = result.stdout.toString();
  expect(text, `${text.slice(-4_000)}${result.stderr.slice(-2_000)}`).toMatch(/Ran 5 of \d+ Specs/);
  expect(text).toMatch(/5 Passed \| 0 Failed/);
  expect(result.code).toBe(0);
});
