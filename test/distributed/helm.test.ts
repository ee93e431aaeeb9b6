// The chart in helm/dogwatch, installed: its pods as processes, with the arguments, variables, files and tokens that are
// in what kube-apiserver was given. Substituted is what support/pods.ts says, and nothing else.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseBytes } from '@dogwatch/process/quantity.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Kubectl } from '../conformance/stage.ts';
import { assetPath } from '../support/assets.ts';
import { Child } from '../support/child.ts';
import { runOk } from '../support/command.ts';
import { ControlPlane } from '../support/control-plane.ts';
import { CHART, helm } from '../support/helm.ts';
import { kubeconfig } from '../support/kube-client.ts';
import { LineReader } from '../support/line-reader.ts';
import { Pods, type PodTemplate } from '../support/pods.ts';

const DOGWATCH = fileURLToPath(new URL('../../services/cli/dogwatch.js', import.meta.url));
const NAMESPACE = 'dogwatch-system';
const SERVICE = 'dogwatch-fanout';
const APPS = `/apis/apps/v1/namespaces/${NAMESPACE}`;
const MI = 2 ** 20;

/** Records what the chart's service accounts ask of kube-apiserver. */
const AUDIT_POLICY = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'Metadata', userGroups: [`system:serviceaccounts:${NAMESPACE}`] }, { level: 'None' }],
};

let scratch: string;
let plane: ControlPlane;
let admin: string;
let pods: Pods;

// Each pod has an address of its own in 127.0.0.0/8, all of which only Linux gives to anybody.
describe.skipIf(process.platform !== 'linux')('the chart, installed', () => {
  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'dogwatch-helm-'));
    const policy = join(scratch, 'audit-policy.json');
    await writeFile(policy, JSON.stringify(AUDIT_POLICY));
    plane = await ControlPlane.start({ apiserverFlags: [`--audit-policy-file=${policy}`] });
    admin = await plane.kubeconfig('admin');
    await helm(admin, ['install', 'dogwatch', CHART, `--namespace=${NAMESPACE}`, '--create-namespace']);
    pods = new Pods({
      namespace: NAMESPACE,
      dir: scratch,
      admin: plane.admin,
      entryPoints: { dogwatch: [process.execPath, DOGWATCH], nats: [assetPath('nats-server')] },
      path: [dirname(process.execPath), process.env['PATH']].join(delimiter),
    });
    // In the order in which they need each other; on a cluster those that come too early are started again.
    await startAll('statefulsets', 'dogwatch-nats');
    await Promise.all([
      startAll('deployments', 'dogwatch-ingest'),
      startAll('statefulsets', 'dogwatch-shard'),
      startAll('deployments', SERVICE),
    ]);
  });

  afterAll(async () => {
    await pods?.kill9();
    await plane?.stop();
    if (process.env['KEEP_TEST_DIRS'] === undefined) await rm(scratch, { recursive: true, force: true });
  });

  test('every probe has something to ask; those for the start have succeeded before', async () => {
    const running = pods.running();
    expect(running.length).toBe(9);
    const statuses = (name: 'readinessProbe' | 'livenessProbe'): Promise<(number | undefined)[]> =>
      Promise.all(running.map((pod) => pod.probe(name)));
    expect(await statuses('livenessProbe')).toEqual(running.map(() => 200));
    expect(await statuses('readinessProbe')).toEqual(running.map(() => 200));
  });

  describe('clients that come to the Service', () => {
    test('get and watch what is in the cluster, wherever it leads them', async () => {
      const direct = new Kubectl(admin);
      for (const [index, through] of (await clients({ token: plane.token('admin') })).entries()) {
        await Promise.all([
          seesCreated(through, 'configmap', `seen-by-${index}`),
          seesCreated(through, 'secret', `seen-by-${index}`),
        ]);
        for (const resource of ['nodes', 'pods', 'secrets', 'leases', 'events', 'configmaps', 'clusterroles']) {
          const args = ['get', resource, '--all-namespaces', '--output=name'];
          expect(await through.ok(args)).toBe(await direct.ok(args));
        }
      }
    });

    test('may be those that bring a certificate', async () => {
      const { certificate, privateKey } = plane.authority.client('jane', ['system:masters']);
      for (const through of await clients({ cert: certificate, key: privateKey })) {
        expect(await through.ok(['auth', 'whoami', '--output=jsonpath={.status.userInfo.username}'])).toBe('jane');
        expect(await through.ok(['get', 'namespace', NAMESPACE, '--output=name'])).toBe(`namespace/${NAMESPACE}\n`);
      }
    });

    test('see nothing they may not see', async () => {
      for (const through of await clients({ token: plane.token('nobody') })) {
        const { code, stderr } = await through.run(['get', 'secrets', '--all-namespaces']);
        expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('(Forbidden)') });
      }
    });
  });

  test('the rights of the chart are enough: kube-apiserver refused nothing', async () => {
    const asked = await plane.audit();
    const count = (verb: string, uri: RegExp): number =>
      asked.filter((event) => event.verb === verb && uri.test(event.requestURI)).length;
    expect(count('watch', /^\/api\/v1\/configmaps\?/)).toBeGreaterThan(0);
    expect(count('watch', /^\/api\/v1\/secrets\?/)).toBeGreaterThan(0);
    expect(count('create', /\/tokenreviews/)).toBeGreaterThan(0);
    expect(count('create', /\/subjectaccessreviews/)).toBeGreaterThan(0);
    const refused = asked.filter(({ responseStatus }) => responseStatus?.code === 401 || responseStatus?.code === 403);
    expect(refused.map(({ verb, requestURI }) => `${verb} ${requestURI}`)).toEqual([]);
  });

  test('what the notes say can be asked in a shard is answered', async () => {
    const notes = await helm(admin, ['get', 'notes', 'dogwatch', `--namespace=${NAMESPACE}`]);
    expect(notes).toContain(`https://${SERVICE}.${NAMESPACE}.svc:443`);
    const [, name, command = ''] = /exec (\S+) -- dogwatch (.+)/.exec(notes) ?? [];
    const shard = pods.running('shard').find((pod) => pod.name === name);
    const { stdout, stderr } = await shard!.exec([...command.split(' '), '-o=json']);
    expect(stderr).toBe('');
    const status = stdout.toString();
    for (const pod of pods.running('shard')) expect(status).toContain(`"${pod.name}"`);
    expect(status).toContain('configmaps');
  });

  test('a NATS server has room for the logs of 200 resources and the checkpoints', async () => {
    const defaults = async (role: string, option: string): Promise<number> => {
      const view = await runOk(process.execPath, [DOGWATCH, 'config', 'view', role]);
      return parseBytes(new RegExp(`^${option} +(\\S+)`, 'm').exec(view)?.[1] ?? '');
    };
    const log = await defaults('ingest', 'log-bytes');
    const checkpoints = await defaults('shard', 'checkpoint-bytes');
    const { spec } = await plane.admin.get<StatefulSet>(`${APPS}/statefulsets/dogwatch-nats`);
    const volume = parseBytes(spec.volumeClaimTemplates[0].spec.resources.requests.storage);
    for (const { address } of pods.running('nats')) {
      const jetStream = (await (await fetch(`http://${address}:8222/jsz`)).json()) as JetStream;
      expect(jetStream.config.max_storage).toBeLessThan(volume);
      expect(jetStream.config.max_storage).toBeGreaterThan(200 * log + checkpoints + 16 * MI);
      // What the watches above have made is reserved already.
      expect(jetStream.reserved_storage).toBeGreaterThan(log + checkpoints);
    }
  });

  test('the image of NATS is of the version that is tested here', async () => {
    const { spec } = await plane.admin.get<Controller>(`${APPS}/statefulsets/dogwatch-nats`);
    const [, version] = / v(\d\S*)/.exec(await runOk(assetPath('nats-server'), ['--version'])) ?? [];
    expect(spec.template.spec.containers[0].image).toBe(`nats:${version}-alpine`);
  });

  test('an upgrade keeps the certificate', async () => {
    const certificate = await serviceCa();
    await helm(admin, ['upgrade', 'dogwatch', CHART, `--namespace=${NAMESPACE}`, '--set=fanout.replicas=3']);
    expect(await serviceCa()).toBe(certificate);
  });

  test('each goes by itself when it is told to, and has written nothing but to its volumes', async () => {
    for (const component of ['fanout', 'shard', 'ingest', 'nats']) {
      const running = pods.running(component);
      await Promise.all(running.map(({ child }) => child.stop()));
      if (component === 'nats') continue;
      const ends = await Promise.all(running.map(({ child }) => child.exited));
      expect(ends).toEqual(running.map(() => ({ code: 0, signal: null })));
      await Promise.all(running.map(({ env }) => expect(rm(env['HOME']!)).rejects.toThrow('ENOENT')));
    }
  });
});

interface Controller {
  readonly spec: { readonly replicas: number; readonly template: PodTemplate };
}

interface StatefulSet {
  readonly spec: {
    readonly volumeClaimTemplates: readonly [
      { readonly spec: { readonly resources: { readonly requests: { readonly storage: string } } } },
    ];
  };
}

/** https://docs.nats.io, monitoring, /jsz; bytes. */
interface JetStream {
  readonly config: { readonly max_storage: number };
  readonly reserved_storage: number;
}

/** The pods of a Deployment or StatefulSet, named as its controller would. */
async function startAll(resource: 'deployments' | 'statefulsets', name: string): Promise<void> {
  const { spec } = await plane.admin.get<Controller>(`${APPS}/${resource}/${name}`);
  const names = Array.from({ length: spec.replicas }, (_, i) =>
    resource === 'statefulsets' ? `${name}-${i}` : `${name}-7c9d8f6b54-x2k4${i}`,
  );
  await Promise.all(names.map((pod) => pods.start(pod, spec.template)));
}

/** Creates an object at kube-apiserver, and resolves when `kubectl get --watch` has shown it. */
async function seesCreated(through: Kubectl, resource: 'configmap' | 'secret', name: string): Promise<void> {
  const watch = await Child.start({
    name: `kubectl ${resource} ${name}`,
    command: assetPath('kubectl'),
    args: through.arguments(['get', resource, '--namespace=default', '--watch', '--output=name']),
    logFile: join(scratch, `kubectl-${resource}-${name}.log`),
    pipe: true,
  });
  const metadata = { name };
  await plane.admin.create(`/api/v1/namespaces/default/${resource}s`, { metadata });
  await new LineReader(watch.name, watch.stdout).until(new RegExp(`^${resource}/${name}$`), 20_000);
  await watch.kill9();
}

async function serviceCa(): Promise<string> {
  const path = `/api/v1/namespaces/${NAMESPACE}/secrets/${SERVICE}-tls`;
  const { data } = await plane.admin.get<{ readonly data: { readonly 'ca.crt': string } }>(path);
  return Buffer.from(data['ca.crt'], 'base64').toString();
}

/** kubectl at each fan-out, which it knows by the name of the Service. */
async function clients(credential: Parameters<typeof kubeconfig>[1]): Promise<Kubectl[]> {
  const ca = await serviceCa();
  const endpoints = await pods.endpoints(SERVICE, 'https');
  expect(endpoints.length).toBe(2);
  return Promise.all(
    endpoints.map(async (endpoint) => {
      const config = JSON.parse(kubeconfig({ server: `https://${endpoint}`, ca }, credential)) as {
        clusters: [{ cluster: Record<string, string> }];
      };
      config.clusters[0].cluster['tls-server-name'] = `${SERVICE}.${NAMESPACE}.svc`;
      const path = join(await mkdtemp(join(scratch, 'client-')), 'kubeconfig');
      await writeFile(path, JSON.stringify(config), { mode: 0o600 });
      return new Kubectl(path);
    }),
  );
}
