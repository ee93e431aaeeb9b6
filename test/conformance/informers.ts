import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SeededRandom } from '../support/cluster-random.ts';
import type { EtcdRecording } from '../support/etcd.ts';
import type { Passed, Told } from '../support/informer-story.ts';
import type { Stage } from './stage.ts';
import { initialReadsOf } from './upstream-reads.ts';

/** The resources that `informers verify` writes to: their plurals, and what etcd's keys call them. */
export const WRITTEN: ReadonlyMap<string, string> = new Map([
  ...['configmaps', 'secrets', 'serviceaccounts', 'namespaces', 'pods'].map((name) => [name, name] as const),
  ...['leases', 'endpointslices', 'controllerrevisions'].map((name) => [name, name] as const),
  ['services', 'services/specs'],
  ['widgets', 'dogwatch.test/widgets'],
]);

/** Comes round and round, each time in another order. */
const DISTURBANCES = ['restart', 'compaction', 'compaction'] as const;
/** Between two disturbances, in ms. */
const CALM = { least: 3_000, most: 12_000 };
const OUTAGE_MAX_MS = 8_000;
/** A compaction forgets all but at most so many revisions. */
const KEPT_MAX = 200;

/** What befell the control plane. */
export interface Disturbed {
  restarts: number;
  compactions: number;
  /** Written past kube-apiserver while there was none. */
  behindItsBack: number;
}

export interface DisturbOptions {
  readonly random: SeededRandom;
  readonly recording: EtcdRecording;
  /** No new disturbance begins after it. */
  readonly signal: AbortSignal;
}

/**
 * Kills and restarts kube-apiserver and compacts etcd at random moments, until the signal. While kube-apiserver is away
 * another one, as it were, writes and deletes; and in half of the outages what it held before is compacted.
 */
export async function disturb(stage: Stage, options: DisturbOptions): Promise<Disturbed> {
  const { random, recording, signal } = options;
  const done: Disturbed = { restarts: 0, compactions: 0, behindItsBack: 0 };
  let compacted = 0;
  const compact = async (kept: number): Promise<void> => {
    const revision = recording.revision - kept;
    if (revision <= compacted) return;
    await stage.plane.etcd.compact(revision);
    compacted = revision;
    done.compactions += 1;
  };
  let next: (typeof DISTURBANCES)[number][] = [];
  for (;;) {
    if (next.length === 0) next = random.shuffled(DISTURBANCES);
    await sleep(CALM.least + random.below(CALM.most - CALM.least), undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return done;
    if (next.pop() === 'compaction') {
      await compact(random.below(KEPT_MAX));
      continue;
    }
    await stage.plane.kill9('kube-apiserver');
    for (let left = 3; left > 0; left -= 1) done.behindItsBack += await writeBehindItsBack(stage, random);
    if (random.below(2) === 0) await compact(0);
    await sleep(random.below(OUTAGE_MAX_MS));
    await stage.plane.restart('kube-apiserver');
    done.restarts += 1;
  }
}

/** Deletes an object of each of some resources and touches others. Returns how many. */
async function writeBehindItsBack(stage: Stage, random: SeededRandom): Promise<number> {
  const { etcd } = stage.plane;
  let written = 0;
  for (const resource of ['configmaps', 'leases', 'secrets', 'dogwatch.test/widgets']) {
    const keys = random.shuffled((await etcd.keys(resource)).filter((key) => key.startsWith('verify-')));
    for (const [index, key] of keys.slice(0, 4).entries()) {
      if (index === 0) await etcd.delete(resource, key);
      else await etcd.touch(resource, key);
      written += 1;
    }
  }
  return written;
}

/** What each informer was told, by its name: `KIND PLURAL`. */
export async function readStory(file: string): Promise<Map<string, Told[]>> {
  const stories = new Map<string, Told[]>();
  for (const line of (await readFile(file, 'utf8')).split('\n')) {
    if (line === '') continue;
    const { informer, rv, ...told } = JSON.parse(line) as Omit<Told, 'rv'> & { informer: string; rv: string };
    const story = stories.get(informer) ?? [];
    story.push({ ...told, rv: Number(rv) });
    stories.set(informer, story);
  }
  return stories;
}

/** What may come in the answer to a read after its head: upstream waits so long for its own cache. */
const READ_MS = 5_000;

/**
 * The versions that upstream could tell of by a list only: by the audit log each watch-list that dogwatch asked it for,
 * from what an informer held then to what upstream was at when it was answered.
 */
export async function passedBy(stage: Stage, since: number): Promise<(resource: string) => Reading[]> {
  const reads = initialReadsOf(await stage.plane.audit(), since).filter(({ verb }) => verb === 'watch-list');
  return (resource) =>
    reads.filter(({ path }) => path.endsWith(`/${resource}`)).map(({ from, to }) => ({ from, to: to + READ_MS }));
}

/** When a list was read, in milliseconds since 1970. */
export interface Reading {
  readonly from: number;
  readonly to: number;
}

/** The versions that lists passed over for an informer. */
export function passedFor(told: readonly Told[], readings: readonly Reading[], recording: EtcdRecording): Passed[] {
  return readings.map(({ from, to }) => ({
    after: told.reduce((held, { rv, at }) => (at < from ? Math.max(held, rv) : held), 0),
    upTo: recording.revisionAt(to),
  }));
}
