import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SeededRandom } from '../support/cluster-random.ts';
import { FULL_SIZE, recordClaim } from '../support/claims.ts';
import type { EtcdRecording } from '../support/etcd.ts';
import { checkStory } from '../support/informer-story.ts';
import { NEEDS_ETCD } from '../support/kine.ts';
import { LineReader } from '../support/line-reader.ts';
import { type Disturbed, disturb, passedBy, passedFor, readStory, WRITTEN } from './informers.ts';
import { NEEDS_DOGWATCH, Stage } from './stage.ts';

/** `SEED=… ` repeats the disturbances of a failed run. */
const SEED = Number(process.env['SEED'] ?? 1 + Math.floor(Math.random() * 1_000_000));
const SECONDS = FULL_SIZE ? 300 : 60;
const SETTLE_SECONDS = 60;
const INFORMERS = 29;

interface Report {
  readonly writes: number;
  readonly informers: number;
  readonly events: number;
  /** Informers that began in the middle of it; a compaction keeps some of them from being compared. */
  readonly beginners: number;
  readonly beginnersSynced: number;
  /** By informer, how often it listed again. */
  readonly relists: Readonly<Record<string, number>>;
  /** By resource, the version of the direct LIST they were compared with. */
  readonly comparedAt: Readonly<Record<string, string>>;
  readonly differences: Readonly<Record<string, readonly string[]>>;
  readonly errorEvents: number;
  readonly http410: number;
  readonly samples: readonly string[];
}

let stage: Stage;
let recording: EtcdRecording | undefined;

beforeAll(async () => {
  stage = await Stage.start({ components: ['etcd', 'kube-apiserver', 'kube-controller-manager'] });
  if (NEEDS_ETCD === undefined) recording = await stage.plane.etcd.record([...WRITTEN.values()]);
});

afterAll(async () => {
  recording?.stop();
  await stage?.stop();
});

const disturbance = NEEDS_ETCD === undefined ? ', restarts of kube-apiserver and compactions of etcd' : '';

describe(`${SECONDS} s of random writes${disturbance} under informers with the inconsistency detector on`, () => {
  let story: string;
  let report: Report;
  let since: number;
  let from: number;

  test(
    'no informer panics, and all come to equal a direct LIST',
    async () => {
      story = join(stage.plane.dir, 'story.jsonl');
      const informers = await stage.plane.startChild('informers', {
        asset: 'informers',
        args: [
          'verify',
          `--kubeconfig=${await stage.kubeconfig('admin')}`,
          `--direct-kubeconfig=${await stage.plane.kubeconfig('admin')}`,
          `--duration=${SECONDS}s`,
          `--settle=${SETTLE_SECONDS}s`,
          `--story=${story}`,
          `--seed=${SEED}`,
        ],
        env: { ...process.env, KUBE_WATCHLIST_INCONSISTENCY_DETECTOR: 'true' },
        pipe: true,
      });
      const lines = new LineReader('informers', informers.stdout);
      await lines.until(/"synced"/, 90_000);
      since = Date.now();
      from = recording?.revision ?? 0;
      const disturbed = await disturbUntil(AbortSignal.timeout(SECONDS * 1_000));
      const line = await lines.next((SECONDS + SETTLE_SECONDS) * 1_000);
      const { code } = await informers.exited;
      report = JSON.parse(line) as Report;
      recordClaim('informers', {
        seed: SEED,
        informers: report.informers,
        writes: report.writes,
        events: report.events,
        beginners: report.beginners,
        beginnersSynced: report.beginnersSynced,
        relists: Object.entries(report.relists).map(([informer, count]) => `${informer}: ${count}`),
        ...disturbed,
      });
      expect(report.differences, `${informers.tail()}`).toEqual({});
      expect(report.informers).toBe(INFORMERS);
      expect(code, `${informers.tail(60)}`).toBe(0);
      expect(report.writes).toBeGreaterThan(1_000);
      expect(report.events).toBeGreaterThan(report.writes);
      expect(report.beginnersSynced).toBeGreaterThan(report.beginners / 2);
      if (disturbed === undefined) return;
      expect(disturbed.restarts).toBeGreaterThanOrEqual(FULL_SIZE ? 5 : 1);
      expect(disturbed.compactions).toBeGreaterThanOrEqual(FULL_SIZE ? 10 : 1);
    },
    (SECONDS + SETTLE_SECONDS + 180) * 1_000,
  );

  // A kube-apiserver that goes soon after the lane of a custom resource was opened ends it: see redefinition.ts.
  test('none of a built-in resource had to list again', (context) => {
    context.skip(NEEDS_DOGWATCH !== undefined, NEEDS_DOGWATCH);
    const relists = Object.entries(report.relists).filter(([informer]) => !informer.endsWith(' widgets'));
    expect(relists, `${report.samples.join('\n')}`).toEqual([]);
    const { errorEvents, http410 } = report;
    expect({ errorEvents, http410 }, `${report.samples.join('\n')}`).toEqual({ errorEvents: 0, http410: 0 });
  });

  test("nothing was doubled, out of order or left out of etcd's history", async (context) => {
    context.skip(NEEDS_DOGWATCH !== undefined, NEEDS_DOGWATCH);
    context.skip(NEEDS_ETCD !== undefined, NEEDS_ETCD);
    if (recording === undefined) throw new Error('there is no recording of etcd');
    const stories = await readStory(story);
    const readings = await passedBy(stage, since);
    const found: string[] = [];
    let [owed, told, lists] = [0, 0, 0];
    for (const [informer, its] of stories) {
      const [, resource = ''] = informer.split(' ');
      const history = recording.history(WRITTEN.get(resource) ?? resource);
      const passed = passedFor(its, readings(resource), recording);
      const to = Number(report.comparedAt[resource]);
      owed += history.filter(({ rv }) => rv > from && rv <= to).length;
      told += its.filter(({ type }) => type !== 'LISTED').length;
      lists += readings(resource).length;
      const relisted = report.relists[informer] !== undefined;
      found.push(...checkStory(its, { history, from, to, passed, relisted }).map((what) => `${informer}: ${what}`));
    }
    recordClaim('informers-history', { eventsOfEtcd: owed, told, listsOfDogwatch: lists, violations: found.length });
    expect(found.slice(0, 20)).toEqual([]);
    expect(stories.size).toBe(INFORMERS);
  });
});

function disturbUntil(signal: AbortSignal): Promise<Disturbed | undefined> {
  if (recording === undefined) return Promise.resolve(undefined);
  return disturb(stage, { random: new SeededRandom(SEED), recording, signal });
}
