// Everything that talks to an API server is pointed at dogwatch, and the cluster does what it does without it.
import { beforeAll, expect, test } from 'vitest';
import { FULL_SIZE, recordClaim } from '../support/claims.ts';
import { ControlPlane } from '../support/control-plane.ts';
import type { ControlPlaneOptions } from '../support/control-plane-setup.ts';
import type { Endpoint } from '../support/kube-client.ts';
import { type Sample, sumOf } from '../support/prometheus-text.ts';
import { type ClusterState, settledState } from './cluster-state.ts';
import { Components, type ControllerReport, type ReflectorLog } from './components.ts';
import { NEEDS_DOGWATCH, Stage } from './stage.ts';
import { openWatches } from './upstream-reads.ts';
import { Workload, type WorkloadSize } from './workload.ts';

const NODES = ['n1', 'n2', 'n3', 'n4', 'n5'];
const SIZE: WorkloadSize = FULL_SIZE
  ? { deployments: 10, replicas: [4, 10, 2], completions: 12, widgets: 100 }
  : { deployments: 2, replicas: [2, 5, 2], completions: 4, widgets: 10 };
const STATE_TIMEOUT_MS = FULL_SIZE ? 120_000 : 60_000;
const RUN_TIMEOUT_MS = FULL_SIZE ? 600_000 : 240_000;
const OPTIONS: ControlPlaneOptions = {
  components: ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'],
  later: ['kube-controller-manager', 'kube-scheduler'],
  nodes: NODES,
};

/** What came of the workload. */
interface Outcome {
  readonly state: ClusterState;
  readonly seconds: ReadonlyMap<string, number>;
  readonly total: number;
  readonly reflectors: ReadonlyMap<string, ReflectorLog>;
  readonly controller: ControllerReport;
  /** dogwatch's own, while everything was still connected. */
  readonly metrics: readonly Sample[];
  /** Watches that the components cost kube-apiserver, by `group/resource`. */
  readonly upstream: number;
}

let direct: Outcome;
let through: Outcome;

beforeAll(async () => {
  const plane = await ControlPlane.start(OPTIONS);
  try {
    direct = await outcome(plane, plane.endpoint);
  } finally {
    await plane.stop();
  }
}, RUN_TIMEOUT_MS);

beforeAll(async () => {
  const stage = await Stage.start(OPTIONS);
  try {
    through = await outcome(stage.plane, stage.through, () => stage.metrics());
  } finally {
    await stage.stop();
  }
}, RUN_TIMEOUT_MS);

async function outcome(
  plane: ControlPlane,
  endpoint: Endpoint,
  metrics: () => Promise<readonly Sample[]> = async () => [],
): Promise<Outcome> {
  await Workload.define(plane.admin);
  const watches = async (): Promise<number> => [...openWatches(await plane.metrics()).values()].reduce((a, b) => a + b);
  const before = await watches();
  const components = await Components.start({ plane, endpoint, nodes: NODES });
  const client = plane.client('admin', endpoint);
  const workload = new Workload({ client, direct: plane.admin, size: SIZE, timeoutMs: STATE_TIMEOUT_MS });
  const start = performance.now();
  await workload.run();
  client.close();
  const total = Math.round((performance.now() - start) / 100) / 10;
  const state = await settledState(plane.admin, STATE_TIMEOUT_MS);
  const reads = { metrics: await metrics(), upstream: (await watches()) - before };
  const controller = await components.stopController();
  const reflectors = await components.reflectors();
  plane.assertNoneDied();
  return { state, seconds: workload.seconds, total, reflectors, controller, ...reads };
}

test('what is left is what the workload asked for', () => {
  const { deployments, replicas, widgets } = SIZE;
  const pods = deployments * replicas[2] + 3 + NODES.length + SIZE.completions;
  for (const { state } of [direct, through]) {
    expect(state['deployments']).toHaveLength(deployments);
    expect(state['pods']).toHaveLength(pods);
    expect(state['pods']!.filter((line) => line.includes(' Succeeded '))).toHaveLength(SIZE.completions);
    expect(state['nodes']!.filter((line) => line.includes('Ready=True'))).toHaveLength(NODES.length);
    expect(state['jobs']!.map((line) => line.split(' ')[0])).toEqual(['shop/late', 'shop/work']);
    expect(state['widgets']).toHaveLength(widgets / 2);
    expect(state['namespaces']!.some((line) => line.includes('doomed'))).toBe(false);
  }
});

test('the end state is the one that everything comes to on kube-apiserver itself', () => {
  expect(through.state).toEqual(direct.state);
});

test('it takes no longer than a bounded time more', () => {
  recordClaim('whole-cluster', {
    kubelets: NODES.length,
    secondsDirect: direct.total,
    secondsThrough: through.total,
    steps: [...through.seconds].map(([step, seconds]) => `${step}: ${direct.seconds.get(step)} / ${seconds}`),
  });
  expect(through.total).toBeLessThan(2 * direct.total + 20);
});

test('every cache was filled once, and no watch broke or was told that its version is too old', () => {
  for (const [name, { started, populated, relists, expired, broken }] of through.reflectors) {
    expect({ name, relists, expired, broken }).toEqual({ name, relists: 0, expired: 0, broken: 0 });
    expect(started).toBeGreaterThan(0);
    expect(populated).toBeGreaterThanOrEqual(started);
  }
});

test('the controller-runtime program saw everything in order, and failed at nothing', () => {
  for (const { controller } of [direct, through]) {
    expect(controller).toMatchObject({ failures: 0, backwards: 0 });
    expect(controller.reconciles).toBeGreaterThan(2 * SIZE.widgets);
  }
});

test('kube-apiserver serves the watches of dogwatch, not those of the components', (context) => {
  context.skip(NEEDS_DOGWATCH !== undefined, NEEDS_DOGWATCH);
  const watches = through.metrics.filter(({ name }) => name === 'dogwatch_watches');
  const clients = sumOf(watches, 'dogwatch_watches');
  // Those of the leading ingest and of its standby; in a cluster every fan-out reads Secrets itself.
  const secrets = through.metrics.filter(
    ({ name, labels }) => name === 'dogwatch_cache_objects' && labels['resource'] === 'secrets',
  );
  const lanes = sumOf(through.metrics, 'dogwatch_lanes') + secrets.length;
  // What every kubelet watches; the controllers are alone in watching most of the rest.
  const shared = watches.filter(({ value }) => value >= NODES.length);
  const answered = (answer: string): number => sumOf(through.metrics, 'dogwatch_requests_total', { answer });
  recordClaim('whole-cluster-watches', {
    clients,
    lanes,
    upstream: through.upstream,
    direct: direct.upstream,
    served: answered('served'),
    forwarded: answered('forwarded'),
    refused: answered('refused'),
  });
  // Watches that verify a quiet lane come and go.
  expect(through.upstream).toBeLessThanOrEqual(1.1 * lanes);
  expect(shared.length).toBeGreaterThanOrEqual(6);
  expect(sumOf(through.metrics, 'dogwatch_upstream_expired_total')).toBe(0);
  const ended = through.metrics.filter(({ name, value }) => name === 'dogwatch_watches_ended_total' && value > 0);
  const reasons = new Set(ended.map(({ labels }) => labels['reason']));
  expect([...reasons].filter((reason) => reason !== 'client-gone' && reason !== 'timeout')).toEqual([]);
});
