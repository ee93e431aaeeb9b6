import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assetPath } from '../support/assets.ts';
import { FULL_SIZE, recordClaim } from '../support/claims.ts';
import { run } from '../support/command.ts';
import { type GoOutcome, goTestCases, goTestLog } from '../support/go-test-report.ts';
import { NEEDS_ETCD } from '../support/kine.ts';
import { sumOf } from '../support/prometheus-text.ts';
import { NEEDS_DOGWATCH, Stage } from './stage.ts';

/**
 * Upstream's own suites of its storage layer (k8s.io/apiserver/pkg/storage/testing), over HTTP: every list, get and watch
 * of theirs is a request to the server under test, every write one to kube-apiserver. The suites count resource versions,
 * so nothing else may write meanwhile: without these, kube-apiserver renews two leases every ten seconds.
 */
const QUIET = [
  '--endpoint-reconciler-type=none',
  '--feature-gates=APIServerIdentity=false,UnknownVersionInteroperabilityProxy=false',
];
const RUN_TIMEOUT_MS = 200_000;
const ROUNDS = FULL_SIZE ? 3 : 1;

const WATCH_SEMANTICS = 'TestWatchSemantics/';
/** Suites that upstream does not call RunTest*; TestInexpressible holds two of them. */
const OTHERS = [
  WATCH_SEMANTICS,
  'TestWatchSemanticInitialEventsExtended',
  'TestWatchListMatchSingle',
  'TestSendInitialEventsBackwardCompatibility',
  'TestInexpressible/ProgressNotify',
  'TestInexpressible/WatchErrorIsBlockingFurtherEvents',
];

const BYTES = 'it changes the bytes between kube-apiserver and etcd: no request can';
const TTL = 'custom resources have no time to live';

/** All cases that fail against kube-apiserver itself, and why. */
const FAIL_DIRECT: Readonly<Record<string, string>> = {
  TestKeySchema: 'it writes at keys that are no path of the API, such as /pods/',
  TestListInconsistentContinuation: 'with resource version 0 a watch cache gives everything, whatever the limit',
  'TestInexpressible/CreateWithTTL': TTL,
  'TestInexpressible/GuaranteedUpdateWithTTL': TTL,
  'TestInexpressible/GuaranteedUpdateChecksStoredData': BYTES,
  'TestInexpressible/DeleteWithConflictAndMissingExpectedTransformOrDecodeError': BYTES,
  'TestInexpressible/DeleteExpectedTransformOrDecodeError': BYTES,
  'TestInexpressible/DeleteWithSuggestionAndMissingExpectedTransformOrDecodeError': BYTES,
  'TestInexpressible/GetListWithErrorAggregation': BYTES,
  'TestInexpressible/GetListWithoutErrorAggregation': BYTES,
  'TestInexpressible/TransformationFailure': BYTES,
  'TestInexpressible/WatchError': BYTES,
  'TestInexpressible/WatchWithUnsafeDelete': BYTES,
  'TestInexpressible/WatchErrorIsBlockingFurtherEvents': BYTES,
  'TestInexpressible/Stats': 'it reads counters of the store',
  'TestInexpressible/ProgressNotify': 'it asks the store for progress notifications, which is no option of a request',
};

const COMPACTED =
  'etcd is compacted at once, behind the back of kube-apiserver: dogwatch still has what is a minute old';

/** Cases that pass there and need not pass through dogwatch, and why. */
const MAY_DIFFER: Readonly<Record<string, string>> = {
  TestCompactRevision: COMPACTED,
  'TestList/test_List_with_continue,_resource_version_before_first_write': COMPACTED,
  'TestList/test_List_on_existing_key_with_resource_version_set_before_first_write,_match=Exact': COMPACTED,
  'TestList/test_List_with_resource_version_set_before_first_write,_match=Exact': COMPACTED,
  'TestConsistentList/Non-consistent_request_after_consistent_read':
    'the version of any list from the newest change on is true: nobody vouches for a later one but a fence',
};

/** What upstream itself leaves out for a store with a watch cache. */
const SKIPPED_DIRECT = [
  'TestList/test_List_with_limit_at_resource_version_0',
  'TestList/test_List_with_limit_at_resource_version_0_match=NotOlderThan',
  'TestWatchFromZero',
];

interface Run {
  readonly output: string;
  readonly cases: ReadonlyMap<string, GoOutcome>;
  readonly seconds: number;
}

let stage: Stage;

beforeAll(async () => {
  if (NEEDS_ETCD !== undefined) return; // the suites compact it
  stage = await Stage.start({ apiserverFlags: QUIET });
});

afterAll(() => stage?.stop());

/** Runs the suites with all reads sent to where a kubeconfig says; the output is kept with the control plane's logs. */
async function storageCases(name: string, reads: string, flags: readonly string[] = []): Promise<Run> {
  const start = performance.now();
  const { stdout, stderr } = await run(
    assetPath('storage-cases'),
    [
      '-test.v',
      `-reads=${reads}`,
      `-writes=${await stage.plane.kubeconfig('admin')}`,
      `-etcd=${stage.plane.etcd.server}`,
      ...flags,
    ],
    { timeoutMs: RUN_TIMEOUT_MS },
  );
  const output = stdout.toString() + stderr;
  await writeFile(join(stage.plane.dir, `storage-cases-${name}.log`), output);
  return { output, cases: goTestCases(output), seconds: Math.round((performance.now() - start) / 1_000) };
}

/** What these cases have said, and the run at its end. */
function logsOf({ output }: Run, cases: readonly string[]): string {
  return [...cases.map((name) => goTestLog(output, name)), output.slice(-1_000)].join('\n');
}

function having(cases: ReadonlyMap<string, GoOutcome>, outcome: GoOutcome): string[] {
  return [...cases]
    .filter(([, found]) => found === outcome)
    .map(([name]) => name)
    .toSorted();
}

describe.skipIf(NEEDS_ETCD !== undefined)('upstream suites of the storage layer', () => {
  let direct: Run;

  test('kube-apiserver itself passes all but the cases in the table', async () => {
    direct = await storageCases('direct', await stage.plane.kubeconfig('admin'));
    const failed = having(direct.cases, 'FAIL');
    const unexpected = failed.filter((name) => FAIL_DIRECT[name] === undefined);
    expect(failed, `${logsOf(direct, unexpected)}`).toEqual(Object.keys(FAIL_DIRECT).toSorted());
    expect(having(direct.cases, 'SKIP')).toEqual(SKIPPED_DIRECT);
    const passed = having(direct.cases, 'PASS');
    expect(passed.filter((name) => name.startsWith(WATCH_SEMANTICS))).toHaveLength(18);
    const isRunTest = (name: string): boolean => !OTHERS.some((other) => name.startsWith(other));
    const all = [...direct.cases.keys()].filter(isRunTest).length;
    expect(passed.filter(isRunTest).length / all).toBeGreaterThanOrEqual(0.9);
  });

  test(
    'every case that passes there passes through dogwatch, each time',
    async () => {
      const reads = await stage.kubeconfig('admin');
      const rounds: Run[] = [];
      while (rounds.length < ROUNDS) rounds.push(await storageCases(`through-${rounds.length + 1}`, reads));
      recordClaim('storage-cases', {
        cases: direct.cases.size,
        'passed direct': having(direct.cases, 'PASS').length,
        'passed through': Math.min(...rounds.map(({ cases }) => having(cases, 'PASS').length)),
        'seconds direct': direct.seconds,
        'seconds through': Math.max(...rounds.map(({ seconds }) => seconds)),
      });
      for (const through of rounds) {
        const differing = [...direct.cases]
          .filter(([name, outcome]) => outcome !== 'FAIL' && through.cases.get(name) !== outcome)
          .map(([name]) => name)
          .filter((name) => MAY_DIFFER[name] === undefined);
        expect(differing, `${logsOf(through, differing)}`).toEqual([]);
      }
    },
    ROUNDS * RUN_TIMEOUT_MS,
  );

  test.skipIf(NEEDS_DOGWATCH !== undefined)('most of those requests were answered from the cache', async () => {
    const samples = await stage.metrics();
    const [served, forwarded] = ['served', 'forwarded'].map((answer) =>
      sumOf(samples, 'dogwatch_requests_total', { answer }),
    );
    recordClaim('storage-cases-served', { served: served ?? 0, forwarded: forwarded ?? 0 });
    expect(served).toBeGreaterThan(forwarded ?? Infinity);
  });
});

describe.skipIf(NEEDS_ETCD !== undefined)('the suites notice one wrong event', () => {
  const semantics = '-test.run=^TestWatchSemantics$';

  test('a proxy that changes nothing passes', async () => {
    const { cases, output } = await storageCases('unbroken', await stage.kubeconfig('admin'), [
      semantics,
      '-break=none',
    ]);
    expect(having(cases, 'PASS'), `${output.slice(-2_000)}`).toHaveLength(18);
  });

  for (const fault of ['drop', 'swap', 'version']) {
    test(`a proxy that once does this fails: ${fault}`, async () => {
      const reads = await stage.kubeconfig('admin');
      const { cases, output } = await storageCases(fault, reads, [semantics, `-break=${fault}`]);
      expect(cases.size, `${output.slice(-2_000)}`).toBe(18);
      expect(having(cases, 'FAIL')).not.toHaveLength(0);
    });
  }
});
