import assert from 'node:assert/strict';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { History } from './history.ts';
import type { Interest } from './interest.ts';
import { type Step, TestLane } from './test-lane.ts';
import { change, interest, pod, podSchema } from './test-objects.ts';
import { type Change, WHOLE_VERSION, WatchCache, comparePositions } from './watch-cache.ts';

const LIMITS = { windowBytesMax: 1_000_000, tombstoneBytesMax: 1_000_000, stateDiff: true };

function cacheAt(rv: number, objects: readonly ReturnType<typeof pod>[] = [], limits = LIMITS): WatchCache {
  return new WatchCache(podSchema, { rv, objects }, limits);
}

function next(cache: WatchCache, ...changes: Change[]): void {
  cache.apply({ previous: cache.position, changes });
}

/** What a follower makes of all there is. */
function follower({ history, limits = LIMITS }: { history: History; limits?: typeof LIMITS }) {
  const { listing, tombstones, horizon, changes } = history;
  const cache = new WatchCache(podSchema, listing, { ...limits, tombstones, horizon });
  next(cache, ...changes);
  return cache;
}

function versions(changes: readonly Change[] | undefined): number[] | undefined {
  return changes?.map(({ object }) => object.rv);
}

describe('part', () => {
  test('is what concerns the keys and values named, and how it came to be', () => {
    const on = (name: string, rv: number, node: string): KubeObject => pod(name, rv, { node });
    const cache = cacheAt(10, [pod('a', 3), pod('b', 4), on('c', 5, 'n1'), on('d', 6, 'n2')]);
    next(
      cache,
      change('MODIFIED', pod('a', 11)),
      change('DELETED', pod('b', 12)),
      change('DELETED', on('c', 13, 'n1')),
      change('MODIFIED', on('d', 14, 'n2')),
      change('ADDED', on('e', 15, 'n1')),
    );
    const { listing, tombstones, horizon, changes } = cache.part(
      ['default/a', 'default/e', 'default/none'],
      ['n1', ''],
    );
    expect([listing.rv, listing.objects.map(({ name, rv }) => `${name}@${rv}`)]).toEqual([10, ['a@3', 'c@5']]);
    expect(versions(changes)).toEqual([11, 13, 15]);
    expect([horizon, tombstones]).toEqual([10, []]);
    expect(versions(cache.part(['default/b'], []).changes)).toEqual([12]);
  });

  test('of all is the history', () => {
    const cache = cacheAt(10, [pod('a', 3)]);
    next(cache, change('DELETED', pod('a', 11)), change('ADDED', pod('b', 12)));
    expect(cache.part(['default/a', 'default/b'], [])).toEqual(cache.history());
  });

  test('goes back a thousand changes, with the deletes from before', () => {
    const cache = cacheAt(10, [pod('a', 3), pod('b', 4), pod('c', 5)]);
    next(cache, change('DELETED', pod('a', 11)), change('MODIFIED', pod('b', 12)));
    for (let rv = 13; rv < 1_013; rv++) next(cache, change('MODIFIED', pod('c', rv)));
    next(cache, change('MODIFIED', pod('b', 1_013)));
    const { listing, tombstones, horizon, changes } = cache.part(['default/a', 'default/b'], []);
    expect([listing.rv, listing.objects.map(({ name, rv }) => `${name}@${rv}`)]).toEqual([13, ['b@12']]);
    expect(tombstones.map(({ object }) => `${object.name}@${object.rv}`)).toEqual(['a@11']);
    expect([horizon, versions(changes)]).toEqual([10, [1_013]]);
  });
});

describe('history', () => {
  test('the objects as they were, and what came since', () => {
    const cache = cacheAt(10, [pod('a', 3), pod('b', 4)]);
    next(cache, change('MODIFIED', pod('a', 11)), change('DELETED', pod('b', 12)), change('ADDED', pod('c', 13)));
    const { listing, tombstones, horizon, changes } = cache.history();
    expect(listing.rv).toBe(10);
    expect(listing.objects.map(({ name, rv }) => `${name}@${rv}`)).toEqual(['a@3', 'b@4']);
    expect(changes.map(({ type, object, frame }) => [type, object.rv, frame.toString().includes(type)])).toEqual([
      ['MODIFIED', 11, true],
      ['DELETED', 12, true],
      ['ADDED', 13, true],
    ]);
    expect(tombstones).toEqual([]);
    expect(horizon).toBe(10);
  });

  test('begins behind what was evicted, with the deletes from before', () => {
    const cache = cacheAt(10, [pod('a', 3), pod('b', 4)], { ...LIMITS, windowBytesMax: 1_500 });
    next(cache, change('DELETED', pod('b', 11)));
    for (let rv = 12; rv <= 30; rv++) next(cache, change('MODIFIED', pod('a', rv)));
    const { listing, tombstones, horizon, changes } = cache.history();
    expect(listing.rv).toBe(cache.window.start);
    expect(listing.objects.map(({ rv }) => rv)).toEqual([listing.rv]);
    expect(tombstones.map(({ object }) => object.rv)).toEqual([11]);
    expect(horizon).toBe(10);
    expect(versions(changes)).toEqual(Array.from({ length: 30 - listing.rv }, (_, i) => listing.rv + 1 + i));
  });

  test('begins behind a repair, which also is its horizon: inside it nobody may resume', () => {
    const cache = cacheAt(10, [pod('a', 3), pod('b', 4)]);
    next(cache, change('MODIFIED', pod('a', 11)));
    cache.repair({ rv: 20, objects: [pod('a', 15)] });
    next(cache, change('MODIFIED', pod('a', 21)));
    const history = cache.history();
    expect([history.listing.rv, history.horizon, versions(history.changes)]).toEqual([20, 20, [21]]);
    expect(history.tombstones).toEqual([]);
    expect(follower({ history }).since(15, interest()).kind).toBe('expired');
  });

  test('leaves out what was read from upstream from before the first listing', () => {
    const cache = cacheAt(10, [pod('a', 8)]);
    cache.backfill(5, [change('MODIFIED', pod('a', 8))]);
    next(cache, change('MODIFIED', pod('a', 11)));
    expect(cache.history()).toMatchObject({ listing: { rv: 10 }, horizon: 10 });
    expect(versions(cache.history().changes)).toEqual([11]);
  });

  test('a client that lacks what a repair found at its very version cannot resume at a follower', () => {
    const cache = cacheAt(10, [pod('a', 1), pod('b', 2)], { ...LIMITS, stateDiff: false });
    next(cache, change('DELETED', pod('a', 11)));
    cache.repair({ rv: 11, objects: [] });
    const history = cache.history();
    expect([history.listing.rv, history.horizon]).toEqual([11, 12]);
    const other = follower({ history, limits: { ...LIMITS, stateDiff: false } });
    expect(other.since(11, interest()).kind).toBe('expired');
    expect(other.severed(11)).toBe(true);
    next(other, change('ADDED', pod('c', 12)));
    expect(other.since(12, interest()).kind).toBe('from');
  });

  test('a version of which a part is evicted and a part may come is no listing: who follows finds the gap', () => {
    const limits = { ...LIMITS, stateDiff: false, windowBytesMax: 1_000 };
    const cache = cacheAt(10, [pod('a', 1), pod('b', 2), pod('c', 3), pod('d', 4)], limits);
    next(cache, ...['a', 'b', 'c'].map((name) => change('DELETED', pod(name, 11))));
    for (const history of [cache.history(), cache.present()]) {
      expect([history.listing.rv, history.horizon, history.changes]).toEqual([10, 11, []]);
      const other = follower({ history, limits });
      expect(other.since(10, interest()).kind).toBe('expired');
      expect(() => other.apply({ previous: cache.position, changes: [change('DELETED', pod('d', 11))] })).toThrow(
        'a batch continues 11.2',
      );
    }
  });

  test('is never of a version above what is held, even where the last that was held cannot be resumed from', () => {
    const limits = { ...LIMITS, stateDiff: false, windowBytesMax: 600 };
    const cache = cacheAt(10, [pod('a', 1), pod('b', 2), pod('c', 3), pod('d', 4)], limits);
    next(cache, change('DELETED', pod('a', 11)));
    cache.repair({ rv: 11, objects: [pod('c', 3), pod('d', 4)] });
    next(cache, change('DELETED', pod('c', 11)), change('DELETED', pod('d', 11)));
    expect(cache.window.start).toBe(12);
    expect(cache.history()).toMatchObject({ listing: { rv: 11, objects: [] }, horizon: 12, changes: [] });
  });

  test('present: the objects as they are, and every delete', () => {
    const cache = cacheAt(10, [pod('a', 3), pod('b', 4)]);
    next(cache, change('MODIFIED', pod('a', 11)), change('DELETED', pod('b', 12)));
    const { listing, tombstones, horizon, changes } = cache.present();
    expect([listing.rv, listing.objects.map(({ rv }) => rv), horizon, changes]).toEqual([12, [11], 10, []]);
    expect(tombstones.map(({ object }) => object.rv)).toEqual([12]);
  });
});

describe('changesSince', () => {
  test('what stands behind a position', () => {
    const cache = cacheAt(10, [], { ...LIMITS, stateDiff: false });
    next(cache, change('ADDED', pod('a', 11)), change('DELETED', pod('b', 12)), change('ADDED', pod('c', 13)));
    expect(versions(cache.changesSince({ rv: 10, index: WHOLE_VERSION }))).toEqual([11, 12, 13]);
    expect(versions(cache.changesSince({ rv: 11, index: 0 }))).toEqual([12, 13]);
    expect(versions(cache.changesSince(cache.position))).toEqual([]);
    expect(versions(cache.changesSince({ rv: 99, index: 0 })), 'what it holds itself nobody knows yet').toEqual([]);
  });

  test('inside a version', () => {
    const cache = cacheAt(10, [pod('a', 1), pod('b', 2), pod('c', 3)], { ...LIMITS, stateDiff: false });
    next(cache, ...['a', 'b', 'c'].map((name) => change('DELETED', pod(name, 11))));
    expect(cache.changesSince({ rv: 11, index: 0 })?.map(({ object }) => object.name)).toEqual(['b', 'c']);
  });

  test('not what was evicted, repaired, or was there from the beginning', () => {
    const cache = cacheAt(10, [], { ...LIMITS, windowBytesMax: 1_500 });
    expect(cache.changesSince({ rv: 9, index: WHOLE_VERSION })).toBeUndefined();
    for (let rv = 11; rv <= 30; rv++) next(cache, change('MODIFIED', pod('a', rv)));
    const { start } = cache.window;
    expect(cache.changesSince({ rv: start - 1, index: 0 })).toBeUndefined();
    expect(versions(cache.changesSince({ rv: start, index: 0 }))?.[0]).toBe(start + 1);
    cache.repair({ rv: 40, objects: [pod('a', 35)] });
    next(cache, change('MODIFIED', pod('a', 41)));
    expect(cache.changesSince({ rv: 30, index: 0 })).toBeUndefined();
    expect(versions(cache.changesSince({ rv: 40, index: WHOLE_VERSION }))).toEqual([41]);
  });
});

const INTERESTS = [interest(), interest({ namespace: 'a' }), interest({ fields: 'spec.nodeName=n1' })];
const put = fc.record({
  object: fc.nat(4),
  app: fc.constantFrom('web' as const, undefined),
  node: fc.constantFrom('n1' as const, '' as const),
  kind: fc.constantFrom('put' as const, 'put' as const, 'delete' as const),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      step: fc.constant('commit' as const),
      writes: fc.array(put, { minLength: 1, maxLength: 3 }),
      gap: fc.nat(2),
    }),
  },
  { weight: 8, arbitrary: fc.record({ step: fc.constant('apply' as const), count: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 2, arbitrary: fc.record({ step: fc.constant('advance' as const) }) },
  { weight: 1, arbitrary: fc.record({ step: fc.constant('repair' as const) }) },
  { weight: 1, arbitrary: fc.record({ step: fc.constant('backfill' as const), back: fc.integer({ min: 1, max: 5 }) }) },
);

/** How a client of `asked` that holds `rv` goes on, and what it is sent. */
function resumed(cache: WatchCache, rv: number, asked: Interest): { kind: string; events: string[] } {
  const since = cache.since(rv, asked);
  const events: string[] = [];
  const add = (type: string, { key, rv: version, uid }: KubeObject): void =>
    void events.push(`${type} ${key}@${version} ${uid}`);
  if (since.kind === 'from') {
    for (let at = since.sequence; at < cache.window.end; at++)
      add(cache.window.at(at).type, cache.window.at(at).object);
  } else if (since.kind === 'diff') {
    const walk = cache.diff(rv, asked);
    // When an object was created is known again only of what came since.
    for (let event = walk.next(); event.done !== true; event = walk.next()) {
      add(event.value.type === 'DELETED' ? 'DELETED' : 'PUT', event.value.object);
    }
  }
  return { kind: since.kind, events };
}

interface Comparison {
  readonly follower: WatchCache;
  readonly source: WatchCache;
  readonly history: History;
  /** Whether the follower was given the changes too. */
  readonly whole: boolean;
}

/** Fails if the follower tells anybody less than it could, or what the source does not. Returns how many diffs it compared. */
function compare({ follower: mine, source, history, whole }: Comparison, rv: number): number {
  let diffs = 0;
  for (const asked of INTERESTS) {
    const [found, expected] = [resumed(mine, rv, asked), resumed(source, rv, asked)];
    if (expected.kind === 'expired') assert.equal(found.kind, 'expired', `${rv} is expired at the source`);
    if (whole && rv >= Math.max(history.listing.rv, history.horizon)) assert.deepEqual(found, expected);
    if (expected.kind === 'diff' && rv >= history.horizon)
      assert.equal(found.kind, 'diff', `${rv} is above the horizon`);
    if (found.kind !== 'diff' || expected.kind !== 'diff') continue;
    diffs++;
    // Deletes of what came since are told where it is not known any more that it did.
    const needed = new Set(expected.events);
    const told = found.events.filter((event) => needed.has(event) || !event.startsWith('DELETED'));
    assert.deepEqual(told, expected.events, `from ${rv}`);
  }
  return diffs;
}

test('a follower answers every client as the cache it follows does, above its horizon', () => {
  const limits = fc.record({
    windowBytesMax: fc.constantFrom(600, 1_500, 4_000, 1_000_000),
    tombstoneBytesMax: fc.constantFrom(0, 1_000, 3_000, 1_000_000),
    stateDiff: fc.boolean(),
    lagBytesMax: fc.constant(1_000_000),
  });
  const before = fc.array(fc.array(put, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 6 });
  const steps = fc.array(step, { maxLength: 60, size: 'max', minLength: 10 });
  const count = { diffs: 0, followed: 0 };
  fc.assert(
    fc.property(before, limits, steps, fc.nat(60), (commits, options, all, syncAt) => {
      const lane = new TestLane(commits, options);
      for (const each of all.slice(0, syncAt)) lane.run(each);
      const { cache: source } = lane;
      const { position, settled } = source;
      const followers = [true, false].map((whole): Comparison => {
        const history = whole ? source.history() : source.present();
        const cache = follower({ history, limits: options });
        cache.advance(settled, cache.position);
        return { follower: cache, source, history, whole };
      });
      for (const each of all.slice(syncAt)) if (each.step === 'commit' || each.step === 'apply') lane.run(each);
      const changes = source.changesSince(position);
      for (const comparison of followers) {
        const { follower: cache } = comparison;
        if (changes === undefined || comparePositions(position, cache.position) > 0) continue;
        cache.apply({ previous: position, changes });
        count.followed++;
        const objects = (of: WatchCache): unknown[] => [...of.snapshot().range()].map(({ key, rv }) => [key, rv]);
        expect(objects(cache)).toEqual(objects(source));
        for (let rv = Math.max(1, lane.listedAt - 2); rv <= source.watermark; rv++) {
          count.diffs += compare(comparison, rv);
        }
      }
    }),
    { numRuns: 300 },
  );
  expect(count.followed, 'followers that went on').toBeGreaterThan(300);
  expect(count.diffs, 'diffs compared').toBeGreaterThan(300);
});
