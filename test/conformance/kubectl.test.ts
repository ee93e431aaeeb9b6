import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Child } from '../support/child.ts';
import { eventually } from '../support/eventually.ts';
import type { KubeObject } from '../support/kube-client.ts';
import { Kubectl, Stage } from './stage.ts';

let stage: Stage;
let direct: Kubectl;
let through: Kubectl;

beforeAll(async () => {
  stage = await Stage.start({ components: ['etcd', 'kube-apiserver', 'kube-controller-manager'] });
  direct = new Kubectl(await stage.plane.kubeconfig('admin'));
  through = new Kubectl(await stage.kubeconfig('admin'));
  await direct.ok(['apply', '-f', '-'], { input: JSON.stringify(WORLD) });
  await eventually({ what: 'the deployment has its pods', timeoutMs: 30_000 }, async () => {
    return (await direct.ok(['get', 'pods', '-n', 'world', '-o', 'name'])).trim().split('\n').length === 2;
  });
});

afterAll(() => stage?.stop());

const labels = { app: 'web' };
const template = { metadata: { labels }, spec: { containers: [{ name: 'web', image: 'web:1' }] } };
const WORLD = {
  apiVersion: 'v1',
  kind: 'List',
  items: [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'world' } },
    node('n1'),
    configMap('red', { colour: 'red' }),
    configMap('blue', { colour: 'blue' }),
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', namespace: 'world', labels },
      spec: { replicas: 2, selector: { matchLabels: labels }, template },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace: 'world' },
      spec: { selector: labels, ports: [{ port: 80 }] },
    },
  ],
};

function node(name: string): object {
  return { apiVersion: 'v1', kind: 'Node', metadata: { name } };
}

function configMap(name: string, extra?: Record<string, string>): object {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: 'world', ...(extra === undefined ? {} : { labels: extra }) },
    data: { key: 'value' },
  };
}

/** Ages move while we look. */
function withoutAges(text: string): string {
  return text.replaceAll(/\b(\d+[smhd])+\b/g, 'AGE').replaceAll(/ {2,}/g, '  ');
}

describe('reading is equal to the direct run', () => {
  test.each([
    'get namespaces',
    'get all -n world',
    'get pods -A -o wide',
    'get nodes -o wide',
    'get configmaps -n world -o yaml',
    'get configmaps -n world -o json -l colour=red',
    'get configmaps -n world -o yaml --chunk-size=1',
    'get configmaps -A --field-selector metadata.name=blue -o name',
    'get pods -n world --field-selector spec.nodeName= -o name',
    'get configmap red -n world -o yaml',
    'get configmap red -n world',
    'get deployment,service -n world --show-labels',
    'get --raw /api/v1/namespaces/world/configmaps/red',
    'get --raw /version',
    'get --raw /apis',
    'describe node n1',
    'describe deployment web -n world',
    'describe pods -n world',
    'describe configmap red -n world',
    'describe service web -n world',
    'api-resources',
    'explain configmap',
    'auth can-i list pods',
    'get configmap absent -n world',
    'get nonsense',
    'get pods -n absent',
    'describe pod absent -n world',
    'delete configmap absent -n world',
  ])('kubectl %s', async (line) => {
    const args = line.split(' ');
    // Controllers still change statuses, so a difference counts only if it stays.
    const equal = async (): Promise<boolean> =>
      isDeepStrictEqual(await observe(through, args), await observe(direct, args));
    await eventually({ what: 'equal answers', timeoutMs: 5_000 }, equal).catch(() => undefined);
    expect(await observe(through, args)).toEqual(await observe(direct, args));
  });

  async function observe(kubectl: Kubectl, args: readonly string[]): Promise<object> {
    const { code, stdout, stderr } = await kubectl.run(args);
    return { code, stdout: withoutAges(stdout.toString()), stderr: withoutAges(stderr) };
  }
});

describe('writing', () => {
  const get = (name: string): Promise<KubeObject & { data: Record<string, string> }> =>
    stage.plane.admin.get(`/api/v1/namespaces/world/configmaps/${name}`);

  test.each([
    ['client-side', []],
    ['server-side', ['--server-side']],
  ] as const)('apply, %s', async (how, flags) => {
    const name = `applied-${how}`;
    const apply = (value: string): Promise<string> =>
      through.ok(['apply', '-f', '-', ...flags], {
        input: JSON.stringify({ ...configMap(name), data: { key: value } }),
      });
    expect(await apply('one')).toBe(`configmap/${name} ${how === 'client-side' ? 'created' : 'serverside-applied'}\n`);
    expect(await apply('two')).toBe(
      `configmap/${name} ${how === 'client-side' ? 'configured' : 'serverside-applied'}\n`,
    );
    expect((await get(name)).data).toEqual({ key: 'two' });
    const { resourceVersion } = (await get(name)).metadata;
    expect(await apply('two')).toBe(
      `configmap/${name} ${how === 'client-side' ? 'unchanged' : 'serverside-applied'}\n`,
    );
    expect((await get(name)).metadata.resourceVersion).toBe(resourceVersion);
  });

  test('edit', async () => {
    const editor = join(stage.plane.dir, 'editor.sh');
    await writeFile(editor, '#!/bin/sh\nsed -i "s/key: value/key: edited/" "$1"\n');
    await chmod(editor, 0o755);
    const said = await through.ok(['edit', 'configmap', 'blue', '-n', 'world'], { env: { KUBE_EDITOR: editor } });
    expect(said).toBe('configmap/blue edited\n');
    expect((await get('blue')).data).toEqual({ key: 'edited' });
  });

  test('read your writes: a get right after a write shows it', async () => {
    for (let i = 0; i < 20; i += 1) {
      await through.ok(['annotate', 'configmap', 'red', '-n', 'world', `turn=${i}`, '--overwrite']);
      expect(
        await through.ok(['get', 'configmap', 'red', '-n', 'world', '-o', 'jsonpath={.metadata.annotations.turn}']),
      ).toBe(`${i}`);
    }
  });

  test('delete, and wait for it', async () => {
    await direct.ok(['create', 'configmap', 'doomed', '-n', 'world']);
    const waiting = through.run(['wait', '--for=delete', 'configmap/doomed', '-n', 'world', '--timeout=20s']);
    expect(await through.ok(['delete', 'configmap', 'doomed', '-n', 'world'])).toBe(
      'configmap "doomed" deleted from world namespace\n',
    );
    expect((await waiting).code).toBe(0);
  });

  test('wait for a condition that comes, and for one that does not', async () => {
    await direct.ok(['create', 'configmap', 'slow', '-n', 'world']);
    const waiting = through.run([
      'wait',
      '--for=jsonpath={.data.done}=yes',
      'configmap/slow',
      '-n',
      'world',
      '--timeout=20s',
    ]);
    await stage.plane.admin.mergePatch('/api/v1/namespaces/world/configmaps/slow', { data: { done: 'yes' } });
    expect(await waiting).toMatchObject({ code: 0, stderr: '' });
    const late = await through.run(['wait', '--for=condition=Ready', 'node/n1', '--timeout=2s']);
    expect(late).toMatchObject({ code: 1, stderr: 'error: timed out waiting for the condition on nodes/n1\n' });
  });

  test('rollout status follows a deployment', async () => {
    const { code, stderr } = await through.run(['rollout', 'status', 'deployment/web', '-n', 'world', '--timeout=3s']);
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'error: timed out waiting for the condition\n' });
  });
});

test('get -w shows what a direct get -w shows', async () => {
  const event =
    '-o=jsonpath={.type} {.object.metadata.name} {.object.metadata.labels.colour} {.object.metadata.resourceVersion}{"\\n"}';
  const args = ['get', 'configmaps', '-n', 'world', '-w', '--output-watch-events', '-l', 'colour', event];
  const watches = await Promise.all([follow('direct', direct, args), follow('through', through, args)]);
  const count = (lines: number) => () => watches.every(({ seen }) => seen.length >= lines);
  await eventually({ what: 'both watches show the two objects that are there', timeoutMs: 20_000 }, count(2));
  await direct.ok(['create', 'configmap', 'green', '-n', 'world']);
  for (const label of ['colour=green', 'colour=teal', 'colour-']) {
    await direct.ok(['label', 'configmap', 'green', '-n', 'world', label, '--overwrite']);
  }
  await direct.ok(['delete', 'configmap', 'red', '-n', 'world']);
  await eventually({ what: 'both watches show the four changes', timeoutMs: 20_000 }, count(6));
  for (const { child } of watches) await child.kill9();
  const [left, right] = watches;
  expect(right.seen).toEqual(left.seen);
  expect(left.seen.slice(-4).map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual([
    'ADDED green green',
    'MODIFIED green teal',
    'DELETED green teal',
    'DELETED red red',
  ]);
});

async function follow(
  name: string,
  kubectl: Kubectl,
  args: readonly string[],
): Promise<{ child: Child; seen: string[] }> {
  const child = await stage.plane.startChild(`kubectl-${name}`, {
    asset: 'kubectl',
    args: kubectl.arguments(args),
    pipe: true,
  });
  const seen: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => seen.push(line));
  return { child, seen };
}
