// `dogwatch sidecar` as a process of its own, in front of the simulated upstream, and of a real one where it is built.
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { type UpstreamContext } from '@dogwatch/bench/upstream-case.ts';
import { upstreamCases } from '@dogwatch/bench/upstream-cases.ts';
import { SMALL_CLUSTER, populate } from '@dogwatch/bench/simulated-population.ts';
import { SimulatedUpstream } from '@dogwatch/bench/simulated-upstream.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assetsReady } from '../support/assets.ts';
import { run } from '../support/command.ts';
import { ControlPlane } from '../support/control-plane.ts';
import { DogwatchProcess } from '../support/dogwatch-process.ts';
import { type Endpoint, KubeClient, kubeconfig } from '../support/kube-client.ts';
import { sumOf } from '../support/prometheus-text.ts';

const CLI = fileURLToPath(new URL('../../services/cli/dogwatch.js', import.meta.url));

let dir: string;
let upstream: SimulatedUpstream;
let direct: Endpoint;
let file: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'dogwatch-integration-'));
  upstream = await SimulatedUpstream.start();
  populate(upstream.store, { ...SMALL_CLUSTER, nodes: 3, podsPerNode: 2 });
  direct = { server: upstream.url, ca: upstream.certificate };
  file = join(dir, 'upstream.kubeconfig');
  await writeFile(file, kubeconfig(direct, { token: 'dogwatch' }));
});

afterAll(async () => {
  await upstream.close();
  await rm(dir, { recursive: true });
});

function contextOf(endpoint: Endpoint): UpstreamContext {
  return {
    endpoint,
    admin: new KubeClient(endpoint, { token: 'admin' }),
    adminToken: 'admin',
    nobody: new KubeClient(endpoint, { token: 'nobody' }),
    forgetHistory: () => Promise.reject(new Error('dogwatch does not forget')),
  };
}

describe('in front of the simulated upstream', () => {
  let dogwatch: DogwatchProcess;
  let context: UpstreamContext;

  beforeAll(async () => {
    dogwatch = await DogwatchProcess.start({ dir, kubeconfig: file });
    context = contextOf(dogwatch.endpoint);
  });

  afterAll(async () => {
    context.admin.close();
    context.nobody.close();
    await dogwatch.stop();
  });

  const cases = upstreamCases(() => context).filter(({ alone, ofUpstream }) => !alone && !ofUpstream);
  test.concurrent.for(cases)('$name', async ({ run: runCase }) => {
    await expect(runCase()).resolves.toBeUndefined();
  });

  test('the kubeconfig it writes leads to it, with the same user, and is for its owner alone', async () => {
    const text = await readFile(dogwatch.writtenKubeconfig, 'utf8');
    expect(text).toContain(dogwatch.endpoint.server);
    expect(text).toContain('dogwatch');
    expect((await stat(dogwatch.writtenKubeconfig)).mode & 0o777).toBe(0o600);
  });

  test('it says that it lives, that it is ready, and what it does', async () => {
    expect(await dogwatch.health('/livez')).toBe(200);
    expect(await dogwatch.health('/readyz')).toBe(200);
    const samples = await dogwatch.metrics();
    expect(sumOf(samples, 'dogwatch_lanes')).toBeGreaterThan(0);
    expect(sumOf(samples, 'dogwatch_upstream_listings_total')).toBe(sumOf(samples, 'dogwatch_lanes'));
  });
});

describe('an operator who is wrong is told what to do, in one line', () => {
  const sidecar = (...flags: string[]) =>
    run(process.execPath, [
      CLI,
      'sidecar',
      '--bind-address=127.0.0.1',
      '--admin-port=0',
      `--cert-dir=${dir}/c`,
      ...flags,
    ]);

  test.each([
    ['a file that is not there', ['--kubeconfig=/nowhere/kubeconfig'], 2, '/nowhere/kubeconfig'],
    ['an unknown flag', ['--secure-prot=1'], 2, 'secure-port'],
    ['a flag without sense', ['--secure-port=many'], 2, 'secure-port'],
  ])('%s', async (_, flags, exitCode, said) => {
    const { code, stderr } = await sidecar(...flags);
    expect(code).toBe(exitCode);
    expect(stderr).toContain(said);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });

  test('an upstream that cannot be reached', async () => {
    const unreachable = join(dir, 'unreachable.kubeconfig');
    await writeFile(unreachable, kubeconfig({ ...direct, server: 'https://127.0.0.1:1' }, { token: 'secret-token' }));
    const { code, stderr } = await sidecar(`--kubeconfig=${unreachable}`, '--secure-port=0');
    expect(code).toBe(1);
    expect(stderr).toContain('127.0.0.1:1');
    expect(stderr).not.toContain('secret-token');
  });

  test('a port that is taken', async () => {
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
    const { port } = holder.address() as AddressInfo;
    const { code, stderr } = await sidecar(`--kubeconfig=${file}`, `--secure-port=${port}`);
    holder.close();
    expect(code).toBe(1);
    expect(stderr).toContain(`port ${port}`);
    expect(stderr).toContain('--secure-port');
  });
});

const real = assetsReady();
describe.skipIf(!real)(
  `in front of a real kube-apiserver${real ? '' : ' (skipped: none is built, see make assets)'}`,
  () => {
    let plane: ControlPlane;
    let dogwatch: DogwatchProcess;

    beforeAll(async () => {
      plane = await ControlPlane.start();
      dogwatch = await DogwatchProcess.start({ dir: plane.dir, kubeconfig: await plane.kubeconfig('dogwatch') });
    });

    afterAll(async () => {
      await dogwatch.stop();
      await plane.stop();
    });

    test.each([
      ['application/json'],
      ['application/vnd.kubernetes.protobuf'],
      ['application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1'],
      ['application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1'],
    ])('I1: a LIST from the cache is the very LIST of upstream, as %s', async (accept) => {
      const get = (endpoint: Endpoint, path: string) =>
        bytesOf(endpoint, path, { accept, token: plane.token('admin') });
      for (const path of ['/api/v1/namespaces', '/api/v1/nodes', '/apis/rbac.authorization.k8s.io/v1/clusterroles']) {
        const cached = await get(dogwatch.endpoint, `${path}?resourceVersion=0`);
        const exact = `${path}?resourceVersion=${versionOf(cached)}&resourceVersionMatch=Exact`;
        expect([path, cached.equals(await get(plane.endpoint, exact))]).toEqual([path, true]);
      }
    });
  },
);

function bytesOf({ server, ca }: Endpoint, path: string, of: { accept: string; token: string }): Promise<Buffer> {
  const headers = { accept: of.accept, authorization: `Bearer ${of.token}` };
  return new Promise((resolve, reject) => {
    get(new URL(path, server), { ca, headers, agent: false }, (response) => {
      if (response.statusCode === 200) resolve(buffer(response));
      else reject(new Error(`${path}: ${response.statusCode}`));
    }).on('error', reject);
  });
}

/** The version a LIST is of, found in its bytes: in protobuf it is field 2 of the list's metadata. */
function versionOf(list: Buffer): string {
  const json = /^\{"kind":"\w+","apiVersion":"[^"]+","metadata":\{"resourceVersion":"(\d+)"/.exec(
    list.toString('latin1'),
  );
  if (json?.[1] !== undefined) return json[1];
  const tag = list.indexOf(0x12, list.indexOf(0x0a, list.indexOf('List') + 4));
  return list.toString('latin1', tag + 2, tag + 2 + (list[tag + 1] ?? 0));
}
