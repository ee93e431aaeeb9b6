import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { renderDifference, type Report } from '@dogwatch/verify/report.ts';
import { WANTED } from '@dogwatch/verify/wanted.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FULL_SIZE, recordClaim } from '../support/claims.ts';
import { eventually } from '../support/eventually.ts';
import { sumOf } from '../support/prometheus-text.ts';
import { verifyCommand } from '../support/verify-command.ts';
import { openLanes, populate } from './differential-population.ts';
import { NEEDS_DOGWATCH, Stage } from './stage.ts';

const REQUESTS = FULL_SIZE ? 20_000 : 2_000;
const MINUTES = 15;
const WRITE_RESOURCES = [
  'configmaps',
  'secrets',
  'leases.coordination.k8s.io',
  'plains.verify.example.com',
  'wides.verify.example.com',
];

/** Seeds that once found something: the same requests again, in a few seconds each. */
const FAILED_SEEDS: readonly number[] = [21];

/** Users with some rights in one namespace, by name, and none. */
const HALF = 'system:node:half';
const USERS = ['nobody', HALF];

const UPSTREAMS = [
  { name: 'as kube-apiserver is by default', flags: [] },
  { name: 'with ShardedListAndWatch', flags: ['--feature-gates=ShardedListAndWatch=true'] },
].slice(0, FULL_SIZE ? 2 : 1);

test('at most 15 differences are wanted, each with its reason', () => {
  expect(Object.keys(WANTED).length).toBeLessThanOrEqual(15);
  for (const { what, reason } of Object.values(WANTED)) expect([what, reason]).not.toContain('');
});

/** Of 2,000 requests fewer than eight try these, and sometimes none. */
const RARE_ROWS: ReadonlySet<string> = new Set(['G4', 'L7', 'L11', 'L12', 'L16', 'N5', 'S2', 'W8', 'W9', 'W11']);

describe.skipIf(NEEDS_DOGWATCH !== undefined).each(UPSTREAMS)('an upstream $name', ({ name, flags }) => {
  let stage: Stage;
  let tokens: string;
  let report: Report;
  let minutes: number;

  beforeAll(async () => {
    stage = await Stage.start({ nodes: ['half'], apiserverFlags: flags });
    const { admin } = stage.plane;
    await populate(admin, (path) =>
      eventually({ what: path, timeoutMs: 20_000 }, async () => (await admin.request('GET', path)).status === 200),
    );
    await grantHalf();
    tokens = join(stage.plane.dir, 'tokens.txt');
    await writeFile(tokens, USERS.map((user) => `${user} ${stage.plane.token(user)}\n`).join(''), { mode: 0o600 });
    // Rows L11, L12 and W8 want versions that are gone.
    const half = await admin.get('/api/v1/namespaces/alpha/secrets/some-0');
    await stage.plane.etcd.compact(Number(half.metadata.resourceVersion));
  });

  afterAll(() => stage?.stop());

  /** Some of everything: all verbs, one verb, one name. */
  async function grantHalf(): Promise<void> {
    const rbac = '/apis/rbac.authorization.k8s.io/v1/namespaces/alpha';
    const rule = (resources: string[], verbs: string[], resourceNames?: string[]): object => ({
      apiGroups: ['*'],
      resources,
      verbs,
      ...(resourceNames && { resourceNames }),
    });
    const rules = [
      rule(['configmaps', 'leases', 'plains'], ['get', 'list', 'watch']),
      rule(['secrets'], ['list']),
      rule(['deployments'], ['watch']),
      rule(['services'], ['get', 'list', 'watch'], ['some-0']),
    ];
    await stage.plane.admin.create(`${rbac}/roles`, { metadata: { name: 'half' }, rules });
    await stage.plane.admin.create(`${rbac}/rolebindings`, {
      metadata: { name: 'half' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'half' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: HALF }],
    });
  }

  async function verify(...options: readonly string[]): Promise<Report> {
    const ca = join(stage.plane.dir, 'through.crt');
    await writeFile(ca, stage.through.ca);
    return verifyCommand(
      [
        `--kubeconfig=${await stage.plane.kubeconfig('admin')}`,
        `--url=${stage.through.server}`,
        `--certificate-authority=${ca}`,
        `--tokens-file=${tokens}`,
        '--write',
        `--write-resources=${WRITE_RESOURCES.join(',')}`,
        ...options,
      ],
      MINUTES * 60_000,
    );
  }

  test.each(FAILED_SEEDS)(
    'seed %i, which found something once, finds nothing, while lanes open as they are asked for',
    async (seed) => {
      const { differences } = await verify(`--seed=${seed}`, '--requests=500');
      expect(differences.map(renderDifference)).toEqual([]);
    },
  );

  test(
    'every answer is the same, byte for byte',
    async () => {
      const client = stage.client('admin');
      await openLanes(client);
      client.close();
      const before = await stage.metrics();
      const start = performance.now();
      report = await verify(`--requests=${REQUESTS}`);
      minutes = (performance.now() - start) / 60_000;
      const after = await stage.metrics();
      const count = (answer: string): number =>
        sumOf(after, 'dogwatch_requests_total', { answer }) - sumOf(before, 'dogwatch_requests_total', { answer });
      const [served, forwarded, refused] = [count('served'), count('forwarded'), count('refused')];
      recordClaim(`differential${flags.length === 0 ? '' : '-sharded'}`, {
        upstream: name,
        seed: report.seed,
        requests: report.requests,
        resources: report.resources,
        served,
        forwarded,
        refused,
        expected_errors: report.refused,
        watches_with_events: report.watchesWithEvents,
        minutes: minutes.toFixed(1),
        differences: report.differences.length,
        rows: Object.entries(report.rows).map(([id, hits]) => `${id}:${hits}`),
      });
      expect(report.differences.map(renderDifference)).toEqual([]);
      expect(report.requests).toBeGreaterThanOrEqual(REQUESTS);
      expect(report.resources).toBeGreaterThanOrEqual(40);
      expect(served / (served + forwarded + refused)).toBeGreaterThanOrEqual(0.6);
      expect(report.refused / report.requests).toBeGreaterThanOrEqual(0.2);
      expect(report.watchesWithEvents).toBeGreaterThanOrEqual(REQUESTS / 10);
      expect(minutes).toBeLessThanOrEqual(MINUTES);
    },
    (MINUTES + 1) * 60_000,
  );

  test('every row that a request can try was tried', () => {
    expect(report.rowsNotHit.filter((row) => FULL_SIZE || !RARE_ROWS.has(row))).toEqual([]);
  });
});
