// `dogwatch cluster up --local` as somebody types it, in front of a real kube-apiserver.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { assetPath, assetsReady } from '../support/assets.ts';
import { Child } from '../support/child.ts';
import { run } from '../support/command.ts';
import { ControlPlane } from '../support/control-plane.ts';
import { authorityIn } from '../support/dogwatch-command.ts';
import { eventually } from '../support/eventually.ts';
import { type Endpoint, KubeClient } from '../support/kube-client.ts';
import { WatchClient } from '../support/watch-client.ts';

const CLI = fileURLToPath(new URL('../../services/cli/dogwatch.js', import.meta.url));
/** Promised: kubectl is served within 20 s. */
const SERVING_MS = 20_000;
const GONE_MS = 20_000;

interface Row {
  readonly role: string;
  readonly name: string;
  readonly pid: number;
  readonly ports: Readonly<Record<string, number>>;
}

/** The cluster as its command prints it. */
class LocalCluster {
  readonly child: Child;
  readonly rows: readonly Row[];
  readonly #ca: string;

  private constructor(child: Child, rows: readonly Row[], ca: string) {
    this.child = child;
    this.rows = rows;
    this.#ca = ca;
  }

  static async start(dir: string, kubeconfig: string): Promise<LocalCluster> {
    const logFile = join(dir, 'up.log');
    const child = await Child.start({
      name: 'cluster up',
      command: process.execPath,
      args: [CLI, 'cluster', 'up', '--local', `--kubeconfig=${kubeconfig}`, `--data-dir=${join(dir, 'data')}`],
      logFile,
      env: { HOME: dir, PATH: '/nowhere', DOGWATCH_NATS_SERVER_BIN: assetPath('nats-server') },
    });
    onTestFinished(() => child.kill9());
    const wait = { what: 'the cluster serves', timeoutMs: SERVING_MS, everyMs: 50 };
    const rows = await eventually(wait, async () => {
      const text = await readFile(logFile, 'utf8');
      child.assertAlive();
      return text.includes('serving;') && rowsOf(text);
    });
    return new LocalCluster(child, rows, await authorityIn(join(dir, 'data', 'dogwatch.kubeconfig')));
  }

  get fanouts(): Endpoint[] {
    return this.rows
      .filter(({ role }) => role === 'fanout')
      .map(({ ports }) => ({ server: `https://127.0.0.1:${ports['https']}`, ca: this.#ca }));
  }

  row(name: string): Row {
    return this.rows.find((row) => row.name === name)!;
  }

  /** Resolves once no process of it is left. */
  async gone(): Promise<void> {
    await eventually({ what: 'no process is left', timeoutMs: GONE_MS, everyMs: 50 }, () => {
      const left = this.rows.filter(({ pid }) => exists(pid)).map(({ name }) => name);
      if (left.length > 0) throw new Error(`left: ${left.join(', ')}`);
      return true;
    });
  }
}

function rowsOf(text: string): Row[] {
  const lines = text.slice(text.indexOf('ROLE')).split('\n').slice(1);
  return lines.slice(0, lines.indexOf('')).map((line) => {
    const [role = '', name = '', pid = '', ports = ''] = line.split(/ {3,}/);
    const numbered = ports.split(', ').map((its): [string, number] => {
      const [what = '', port] = its.split(' ');
      return [what, Number(port)];
    });
    return { role, name, pid: Number(pid), ports: Object.fromEntries(numbered) };
  });
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const built = assetsReady(['etcd', 'kube-apiserver', 'nats-server']);
const skipped = built ? '' : ' (skipped: kube-apiserver or nats-server is not built, see make assets)';

describe.skipIf(!built)(`cluster up --local${skipped}`, () => {
  let plane: ControlPlane;
  let kubeconfig: string;
  let dir: string;

  beforeAll(async () => {
    plane = await ControlPlane.start();
    kubeconfig = await plane.kubeconfig('dogwatch');
  });
  afterAll(() => plane.stop());

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'dogwatch-local-'));
    return () => rm(dir, { recursive: true });
  });

  test('serves LIST and WATCH by both fan-outs, says how it is, and leaves nothing behind at SIGTERM', async () => {
    const cluster = await LocalCluster.start(dir, kubeconfig);
    expect(cluster.rows.map(({ name }) => name)).toEqual([
      'nats-0',
      'ingest-0',
      'ingest-1',
      'shard-0',
      'shard-1',
      'fanout-0',
      'fanout-1',
    ]);
    const credential = { token: plane.token('admin') };
    const namespaces = await plane.admin.get<{ items: unknown[] }>('/api/v1/namespaces');
    const watches = await Promise.all(
      cluster.fanouts.map(async (endpoint) => {
        const client = new KubeClient(endpoint, credential);
        onTestFinished(() => client.close());
        const listed = await client.get<{ items: unknown[] }>('/api/v1/namespaces?resourceVersion=0');
        expect(listed.items).toEqual(namespaces.items);
        const watcher = new WatchClient({ endpoint, credential });
        onTestFinished(() => watcher.close());
        return watcher.open({ path: '/api/v1/namespaces/default/configmaps' });
      }),
    );
    const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'seen-by-both' } };
    const { metadata } = await plane.admin.create('/api/v1/namespaces/default/configmaps', body);
    const version = Number(metadata.resourceVersion);
    for (const stream of watches) {
      await eventually({ what: 'the watch has it', timeoutMs: 5_000, everyMs: 20 }, () =>
        stream.events.some((event) => event.type === 'ADDED' && event.rv === version),
      );
    }

    const servers = `--nats-servers=127.0.0.1:${cluster.row('nats-0').ports['client']}`;
    const { code, stdout, stderr } = await run(process.execPath, [CLI, 'status', servers, '-o', 'json']);
    expect([code, stderr]).toEqual([0, '']);
    const status = JSON.parse(stdout.toString()) as {
      lanes: object[];
      partitions: object[];
      fanouts: object[];
      members: { state: string }[];
    };
    expect(status.members.map(({ state }) => state)).toEqual(Array.from({ length: 6 }, () => 'running'));
    const lane = 'core/v1/configmaps/json/object';
    expect(status.lanes).toContainEqual(
      expect.objectContaining({ lane, partitions: 1, leader: expect.stringMatching(/^ingest-[01]$/) as string }),
    );
    expect(status.partitions).toContainEqual(
      expect.objectContaining({ lane, partition: 0, shard: 'shard-0', owner: true }),
    );
    expect(status.fanouts).toEqual([
      expect.objectContaining({ name: 'fanout-0', watches: 1 }),
      expect.objectContaining({ name: 'fanout-1', watches: 1 }),
    ]);

    await cluster.child.stop();
    expect(await cluster.child.exited).toEqual({ code: 0, signal: null });
    await cluster.gone();
    expect(watches.map(({ ended }) => ended)).toEqual(['clean end', 'clean end']);
  });

  test('one process that dies ends all, and the command with 1', async () => {
    const cluster = await LocalCluster.start(dir, kubeconfig);
    process.kill(cluster.row('shard-1').pid, 'SIGKILL');
    expect(await cluster.child.exited).toEqual({ code: 1, signal: null });
    expect(cluster.child.tail()).toMatch(/^dogwatch: shard-1 ended with SIGKILL; its log, \S+shard-1\.log, says: /m);
    await cluster.gone();
  });

  test('all end when the command itself is killed', async () => {
    const cluster = await LocalCluster.start(dir, kubeconfig);
    await cluster.child.kill9();
    await expect(cluster.gone()).resolves.toBeUndefined();
  });
});
