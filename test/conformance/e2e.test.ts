// Upstream's own e2e suites against kube-apiserver and through dogwatch, compared by the name of each case.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FULL_SIZE, RUN_BY_PROVE, recordClaim } from '../support/claims.ts';
import type { E2eCase } from '../support/e2e-cases.ts';
import { type E2eSuite, runRounds } from './e2e-rounds.ts';
import { untilNodeReady } from './nodes.ts';
import { NEEDS_DOGWATCH, Stage } from './stage.ts';

const IN_CI: readonly E2eSuite[] = [
  { name: 'crd_watch', cases: 1, focus: ['CustomResourceDefinition Watch'] },
  { name: 'Watchers', cases: 5, focus: ['Watchers '] },
  {
    name: 'Table, API Streaming, protocol',
    cases: 16,
    focus: ['Servers with support for Table', 'API Streaming', 'client-go should negotiate'],
  },
];

/**
 * Of the other suites of sig-api-machinery the hollow kubelets, which run no containers, rule out AdmissionWebhook,
 * CustomResourceConversionWebhook, Aggregator and CBOR; CoordinatedLeaderElection and StorageVersion ask for feature gates
 * that are off; Etcd failure and apiserver identity are of a cloud provider; ResourceQuota waits minutes for a resync.
 * Upstream skips two cases of priority and fairness, and calls the one of `kubectl explain` flaky, which here fails.
 */
const BY_PROVE: readonly E2eSuite[] = [
  { name: 'chunking', cases: 2, focus: ['Servers with support for API chunking'] },
  { name: 'garbage collector of CRDs', cases: 2, focus: ['Garbage collector should support'] },
  { name: 'garbage collector', cases: 9, focus: ['Garbage collector should (delete|keep|not|orphan)'] },
  { name: 'namespaces', cases: 9, focus: ['Namespaces ', 'OrderedNamespaceDeletion'] },
  {
    name: 'CRDs',
    cases: 21,
    focus: [
      'CustomResourceFieldSelectors',
      'CustomResourceDefinition resources',
      'CRDValidationRatcheting',
      'CustomResourceValidationRules',
    ],
  },
  {
    name: 'OpenAPI',
    cases: 11,
    focus: [
      'CustomResourcePublishOpenAPI .*(works for (multiple )?CRD|removes|updates)',
      'OpenAPIV3 should (publish|round)',
    ],
  },
  {
    name: 'requests',
    cases: 43,
    focus: [
      'Server request timeout',
      'Generated clientset',
      '(Aggregated)?Discovery ',
      'FieldValidation',
      'ServerSideApply',
      '(Mut|Valid)atingAdmissionPolicy',
      'API priority and fairness should (support|ensure that requests can be)',
      'health handlers',
      'server version',
      'StorageVersionMigration',
    ],
  },
];

/** Case by the beginning of its name, and why it does not pass against kube-apiserver here. */
const FAILS_DIRECT: Readonly<Record<string, string>> = {
  CustomResourceFieldSelectors: 'converts by a webhook in a pod; the hollow kubelet runs no containers',
};

const SUITES = FULL_SIZE ? [...IN_CI, ...BY_PROVE] : IN_CI;
const THROUGH = FULL_SIZE ? ['through 1', 'through 2', 'through 3'] : ['through 1'];
const DIRECT_FLOOR = 40;
const [SUITE_MS, ALL_MS] = FULL_SIZE ? [6 * 60_000, 30 * 60_000] : [4 * 60_000, 8 * 60_000];

let stage: Stage;
/** By round: `direct`, and each of THROUGH. */
let ended: ReadonlyMap<string, readonly E2eCase[]>;

beforeAll(async () => {
  stage = await Stage.start({
    components: ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'],
    nodes: ['n1'],
    // A case of chunking waits until its continue token is compacted away: 1 to 2 minutes instead of 5 to 10.
    apiserverFlags: FULL_SIZE ? ['--etcd-compaction-interval=60s'] : [],
  });
  await stage.plane.startKubelet('n1', await stage.plane.kubeconfig('system:node:n1'));
  await untilNodeReady(stage.plane.admin, 'n1');
  const through = await stage.kubeconfig('admin');
  const start = performance.now();
  ended = await runRounds({
    suites: SUITES,
    rounds: [
      { name: 'direct', kubeconfig: await stage.plane.kubeconfig('admin') },
      ...(NEEDS_DOGWATCH === undefined ? THROUGH : []).map((name) => ({ name, kubeconfig: through })),
    ],
    dir: stage.plane.dir,
    atOnce: FULL_SIZE ? 6 : 3,
    suiteTimeoutMs: SUITE_MS,
  });
  recordClaim('e2e', {
    cases: casesOf('direct').length,
    'passed direct': passedDirect().size,
    ...(NEEDS_DOGWATCH === undefined ? { 'passed through': Math.min(...THROUGH.map(passedThrough)) } : {}),
    seconds: Math.round((performance.now() - start) / 1_000),
  });
}, ALL_MS);

afterAll(async () => {
  await stage?.stop();
});

describe('kube-apiserver', () => {
  test('runs every case of every suite', () => {
    expect(casesOf('direct').length).toBe(SUITES.reduce((sum, { cases }) => sum + cases, 0));
  });

  test('passes every case but those whose cause is known, which do not pass', () => {
    const failed = casesOf('direct').filter(({ passed }) => !passed);
    expect(failed.filter(({ name }) => causeOf(name) === undefined).map(said)).toEqual([]);
    expect([...passedDirect()].filter((name) => causeOf(name) !== undefined)).toEqual([]);
  });

  test(`passes at least ${DIRECT_FLOOR} cases`, (context) => {
    context.skip(!FULL_SIZE, RUN_BY_PROVE);
    expect(passedDirect().size).toBeGreaterThanOrEqual(DIRECT_FLOOR);
  });
});

describe('dogwatch', () => {
  test.for(THROUGH)('passes every case that kube-apiserver passes: %s', (round, context) => {
    context.skip(NEEDS_DOGWATCH !== undefined, NEEDS_DOGWATCH);
    const through = new Map(casesOf(round).map((its) => [its.name, its]));
    const lost = [...passedDirect()].filter((name) => through.get(name)?.passed !== true);
    expect(lost.map((name) => said(through.get(name) ?? { name, message: 'did not run' }))).toEqual([]);
  });
});

function casesOf(round: string): readonly E2eCase[] {
  return ended.get(round) ?? [];
}

function passedDirect(): ReadonlySet<string> {
  return new Set(
    casesOf('direct')
      .filter(({ passed }) => passed)
      .map(({ name }) => name),
  );
}

/** How many of the cases that pass direct. */
function passedThrough(round: string): number {
  const direct = passedDirect();
  return casesOf(round).filter(({ name, passed }) => passed && direct.has(name)).length;
}

function causeOf(name: string): string | undefined {
  return Object.entries(FAILS_DIRECT).find(([beginning]) => name.startsWith(beginning))?.[1];
}

function said({ name, message }: Pick<E2eCase, 'name' | 'message'>): string {
  return `${name}: ${message}`;
}
