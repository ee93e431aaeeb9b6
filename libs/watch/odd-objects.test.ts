import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { frameEvent, withResourceVersion } from '@dogwatch/kube/event-framer.ts';
import { kubeObject } from '@dogwatch/kube/kube-object.ts';
import { Random, oddJson, oddText, spellJson } from '@dogwatch/kube/test-odd-objects.ts';
import type { Interest } from './interest.ts';
import { change, interest, pod, podSchema } from './test-objects.ts';
import { Lane } from './test-watchers.ts';
import { type Change, WatchCache } from './watch-cache.ts';
import { WatchGroups } from './watch-groups.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 40);
const MAX = { windowBytesMax: 2 ** 26, tombstoneBytesMax: 2 ** 26, stateDiff: false };

/** A pod, and what of it the model knows. */
interface OddPod {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly node: string;
  readonly rv: number;
  readonly bytes: Buffer;
}

/** Names may hold anything but a slash and a percent sign (those of roles do). */
function oddName(random: Random): string {
  return `n${oddText(random, 2).replaceAll(/[/%]/g, '')}`;
}

function oddPod(random: Random, of: { namespace: string; name: string }, rv: number): OddPod {
  const labels = new Map([['odd', oddText(random)]]);
  if (random.once(2)) labels.set('app', random.pick(['web', 'db']));
  const node = random.pick(['', 'n1', '\u2028😀']);
  const identity = { ...of, kind: 'Pod', apiVersion: 'v1', uid: oddText(random), rv, labels };
  const bytes = oddJson(random, identity, [['spec', `{"other":{},"nodeName":${spellJson(random, node)}}`]]);
  return { ...of, key: `${of.namespace}/${of.name}`, labels, node, rv, bytes };
}

/** Interests, and what the model says of them. */
const INTERESTS: readonly (readonly [Interest, (pod: OddPod) => boolean])[] = [
  [interest(), () => true],
  [interest({ namespace: 'a' }), ({ namespace }) => namespace === 'a'],
  [interest({ labels: 'app=web' }), ({ labels }) => labels.get('app') === 'web'],
  [
    interest({ labels: 'app!=web', namespace: 'a-b' }),
    (it) => it.namespace === 'a-b' && it.labels.get('app') !== 'web',
  ],
  [interest({ fields: 'spec.nodeName=\u2028😀' }), ({ node }) => node === '\u2028😀'],
  [interest({ fields: 'spec.nodeName!=n1' }), ({ node }) => node !== 'n1'],
];

interface Event {
  readonly type: Change['type'];
  readonly now: OddPod;
  readonly before: OddPod | undefined;
}

/** A history of few names, so that they come back with other uids; of `count` changes from version 11 on. */
function oddHistory(random: Random, count: number): Event[] {
  const names = Array.from({ length: 4 }, () => ({ namespace: random.pick(['a', 'a-b', 'b']), name: oddName(random) }));
  const held = new Map<string, OddPod>();
  return Array.from({ length: count }, (_, at) => {
    const now = oddPod(random, names[random.below(names.length)]!, 11 + at);
    const before = held.get(now.key);
    const type = before === undefined ? 'ADDED' : random.once(3) ? 'DELETED' : 'MODIFIED';
    if (type === 'DELETED') held.delete(now.key);
    else held.set(now.key, now);
    return { type, now, before };
  });
}

/** What a watcher is owed of an event, byte for byte (protocol row W15). */
function owed({ type, now, before }: Event, selects: (pod: OddPod) => boolean): Buffer | undefined {
  const was = before !== undefined && selects(before);
  if (type === 'DELETED') return was ? frameEvent('json', 'DELETED', now.bytes) : undefined;
  if (selects(now)) return frameEvent('json', was ? 'MODIFIED' : 'ADDED', now.bytes);
  return was ? frameEvent('json', 'DELETED', withResourceVersion('json', before.bytes, now.rv)) : undefined;
}

function changesOf(events: readonly Event[]): Change[] {
  return events.map(({ type, now }) => change(type, kubeObject(podSchema, now.bytes)));
}

function stateAfter(events: readonly Event[]): OddPod[] {
  const held = new Map<string, OddPod>();
  for (const { type, now } of events)
    if (type === 'DELETED') held.delete(now.key);
    else held.set(now.key, now);
  return [...held.values()].toSorted((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
}

describe('I1 I2: odd objects', () => {
  test('reach every watch they concern, byte for byte and in order, and no other', () => {
    fc.assert(
      fc.property(fc.integer(), fc.nat(20), (seed, count) => {
        const events = oddHistory(new Random(seed), count);
        const cache = new WatchCache(podSchema, { rv: 10, objects: [] }, MAX);
        const groups = new WatchGroups(cache, {});
        const clients = INTERESTS.map(([asked, selects]) => {
          const got: Buffer[] = [];
          const owner = { wake: () => {}, conflated: () => expect.unreachable() };
          const start = { kind: 'resume', sequence: cache.window.end, rv: 10 } as const;
          return { selects, got, watcher: groups.join(asked, { start, allowBookmarks: false, owner }) };
        });
        cache.apply({ previous: cache.position, changes: changesOf(events) });
        for (const { selects, got, watcher } of clients) {
          watcher.pump({ write: (bytes) => got.push(Buffer.from(bytes)) > 0 });
          const expected = events.map((event) => owed(event, selects)).filter((frame) => frame !== undefined);
          expect(Buffer.concat(got).toString()).toBe(Buffer.concat(expected).toString());
        }
      }),
      { numRuns },
    );
  });

  test('are listed in the order of their bytes, page by page as at once', () => {
    fc.assert(
      fc.property(fc.integer(), fc.nat(40), fc.integer({ min: 1, max: 4 }), (seed, count, limit) => {
        const events = oddHistory(new Random(seed), count);
        const cache = new WatchCache(podSchema, { rv: 10, objects: [] }, MAX);
        cache.apply({ previous: cache.position, changes: changesOf(events) });
        for (const [asked, selects] of INTERESTS) {
          const expected = stateAfter(events)
            .filter(selects)
            .map(({ bytes }) => bytes.toString());
          const got: string[] = [];
          let page = cache.select(asked).page(limit);
          const past = cache.keep(cache.watermark, asked);
          for (;;) {
            got.push(...page.objects.map(({ bytes }) => bytes.toString()));
            if (page.last === undefined) break;
            page = past.page(asked, { start: `${page.last}\0`, limit });
          }
          expect(got).toEqual(expected);
          expect([...cache.select(asked)].map(({ bytes }) => bytes.toString())).toEqual(expected);
        }
      }),
      { numRuns },
    );
  });
});

describe('a namespace of 10,000 objects', () => {
  const names = Array.from({ length: 10_000 }, (_, i) => `p${String(i).padStart(5, '0')}`);
  const objects = names.map((name, i) => pod(name, i + 1, { namespace: 'doomed' }));
  const deletes = names.map((name, i) => change('DELETED', pod(name, 10_001 + i, { namespace: 'doomed' })));

  test('that is deleted is told to those who saw it, object by object, and to nobody else', () => {
    const lane = new Lane(
      { rv: 10_000, objects: [...objects, pod('other', 5, { namespace: 'kept' })] },
      { windowBytesMax: 2 ** 26 },
    );
    const [all, doomed, kept] = [{}, { namespace: 'doomed' }, { namespace: 'kept' }].map((of) =>
      lane.resume(interest(of), 10_000),
    );
    for (let at = 0; at < deletes.length; at += 1_000) lane.change(...deletes.slice(at, at + 1_000));
    const expected = names.map((name, i) => `DELETED ${name}@${10_001 + i}`);
    expect(all!.received()).toEqual(expected);
    expect(doomed!.received()).toEqual(expected);
    expect(kept!.received()).toEqual([]);
    expect(lane.cache.size).toBe(1);
    // Who comes back: the same names, other objects.
    lane.change(
      ...names
        .slice(0, 3)
        .map((name, i) => change('ADDED', pod(name, 20_001 + i, { namespace: 'doomed', uid: `new-${i}` }))),
    );
    expect(doomed!.received()).toEqual(['ADDED p00000@20001', 'ADDED p00001@20002', 'ADDED p00002@20003']);
    expect(lane.cache.get('doomed/p00001')?.uid).toBe('new-1');
  });

  test('I9: that is deleted behind the window is told as a state, or its watch ends', () => {
    const lane = new Lane(
      { rv: 10_000, objects },
      { windowBytesMax: 100_000, tombstoneBytesMax: 2 ** 26, stateDiff: true },
    );
    lane.change(...deletes);
    expect(lane.cache.since(10_000, interest()).kind).toBe('diff');
    const late = lane.resume(interest({ namespace: 'doomed' }), 10_000);
    expect(late.received().filter((event) => event.startsWith('DELETED')).length).toBe(10_000);
    const small = new Lane(
      { rv: 10_000, objects },
      { windowBytesMax: 100_000, tombstoneBytesMax: 1_000, stateDiff: true },
    );
    small.change(...deletes);
    expect(small.cache.since(10_000, interest()).kind).toBe('expired');
  });
});

test('an object of 1.5 MB with 50,000 labels is watched by any of them', () => {
  const labels = Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`key-${i}`, `value-${i % 100}-of-many`]));
  const lane = new Lane({ rv: 10, objects: [] }, { windowBytesMax: 2 ** 26 });
  const clients = ['key-49999', 'key-7=value-7-of-many', '!key-0', 'key-7=other'].map((text) =>
    lane.resume(interest({ labels: text }), 10),
  );
  const big = pod('big', 11, { labels });
  expect(big.bytes.length).toBeGreaterThan(1_500_000);
  lane.change(change('ADDED', big));
  expect(clients.map((client) => client.received())).toEqual([['ADDED big@11'], ['ADDED big@11'], [], []]);
});
