import assert from 'node:assert/strict';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareKeys } from './object-store.ts';
import type { PastState } from './past-state.ts';
import { type Step, TestLane } from './test-lane.ts';
import { change, interest, pod, podSchema } from './test-objects.ts';
import { type Change, WatchCache } from './watch-cache.ts';

const LIMITS = { windowBytesMax: 1_000_000, tombstoneBytesMax: 1_000_000, stateDiff: true };

function next(cache: WatchCache, ...changes: Change[]): void {
  cache.apply({ previous: cache.position, changes });
}

function told(state: PastState | undefined): string[] | undefined {
  return state === undefined ? undefined : [...state.range()].map(({ name, rv }) => `${name}@${rv}`);
}

describe('L4, L5: the objects at a version', () => {
  const cache = new WatchCache(podSchema, { rv: 10, objects: [pod('a', 3), pod('b', 4)] }, LIMITS);
  next(cache, change('MODIFIED', pod('a', 11)), change('DELETED', pod('b', 14)), change('ADDED', pod('c', 15)));

  test('are those of the present, with what came since undone', () => {
    expect(told(cache.at(10, interest()))).toEqual(['a@3', 'b@4']);
    expect(told(cache.at(12, interest()))).toEqual(['a@11', 'b@4']);
    expect(told(cache.at(14, interest()))).toEqual(['a@11']);
    expect(told(cache.at(15, interest()))).toEqual(['a@11', 'c@15']);
  });

  test('are not known from before the lane was listed, nor of what is to come', () => {
    expect(cache.at(9, interest())).toBeUndefined();
    expect(cache.at(16, interest())).toBeUndefined();
  });

  test('are known of a version that has only been proved, once it was', () => {
    const proved = new WatchCache(podSchema, { rv: 10, objects: [pod('a', 3)] }, LIMITS);
    proved.keep(17, interest());
    next(proved, change('MODIFIED', pod('a', 20)));
    expect(told(proved.at(17, interest()))).toEqual(['a@3']);
  });

  test('are not known of a version of which a part may still come', () => {
    const events = new WatchCache(
      podSchema,
      { rv: 10, objects: [pod('a', 3), pod('b', 4)] },
      { ...LIMITS, stateDiff: false },
    );
    next(events, change('DELETED', pod('a', 11)));
    expect(events.at(11, interest())).toBeUndefined();
    expect(told(events.at(10, interest()))).toEqual(['a@3', 'b@4']);
    next(events, change('ADDED', pod('c', 12)));
    expect(told(events.at(11, interest()))).toEqual(['b@4']);
  });

  test('I9: are kept for the last 16 versions asked for, and none from before the window', () => {
    const lane = new WatchCache(podSchema, { rv: 10, objects: [] }, { ...LIMITS, windowBytesMax: 20_000 });
    for (let rv = 11; rv <= 30; rv++) next(lane, change('MODIFIED', pod('a', rv)));
    const states = Array.from({ length: 17 }, (_, i) => lane.at(11 + i, interest())!);
    expect(lane.at(12, interest())).toBe(states[1]);
    const again = lane.at(11, interest())!;
    expect(again).not.toBe(states[0]);
    expect(told(again)).toEqual(told(states[0]));
    for (let rv = 31; rv <= 200; rv++) next(lane, change('MODIFIED', pod('a', rv)));
    expect(lane.at(12, interest())).toBeUndefined();
  });
});

describe('L13 to L15: pages', () => {
  const cache = new WatchCache(podSchema, { rv: 10, objects: [] }, LIMITS);
  const namespaces = ['a', 'a-b', 'b'];
  for (const namespace of namespaces)
    for (const name of ['x', 'y', 'z']) next(cache, change('ADDED', pod(name, cache.watermark + 1, { namespace })));
  const past = cache.watermark;
  next(
    cache,
    change('DELETED', pod('y', past + 1, { namespace: 'a' })),
    change('ADDED', pod('w', past + 2, { namespace: 'b' })),
  );

  const keys = (page: { objects: readonly { key: string }[] }): string[] => page.objects.map(({ key }) => key);

  test('in the order of the joined key, with what is left', () => {
    const state = cache.at(past, interest())!;
    const first = state.page(interest(), { start: '', limit: 4 });
    expect(keys(first)).toEqual(['a-b/x', 'a-b/y', 'a-b/z', 'a/x']);
    expect([first.last, first.remaining]).toEqual(['a/x', 5]);
    const second = state.page(interest(), { start: 'a/x\0', limit: 5 });
    expect(keys(second)).toEqual(['a/y', 'a/z', 'b/x', 'b/y', 'b/z']);
    expect([second.last, second.remaining]).toEqual([undefined, undefined]);
  });

  test('of a namespace, told below it', () => {
    const page = cache.at(past, interest())!.page(interest({ namespace: 'b' }), { start: 'x\0', limit: 1 });
    expect([keys(page), page.last, page.remaining]).toEqual([['b/y'], 'y', 1]);
    expect(keys(cache.at(past + 2, interest())!.page(interest({ namespace: 'b' }), { start: '', limit: 9 }))).toEqual([
      'b/w',
      'b/x',
      'b/y',
      'b/z',
    ]);
  });

  test('of a selection: nothing is counted, and the last may be empty', () => {
    const some = interest({ fields: 'metadata.name=x' });
    const page = cache.at(past, interest())!.page(some, { start: '', limit: 3 });
    expect([keys(page), page.last, page.remaining]).toEqual([['a-b/x', 'a/x', 'b/x'], 'b/x', undefined]);
    const end = cache.at(past, interest())!.page(some, { start: 'b/x\0', limit: 3 });
    expect([keys(end), end.last]).toEqual([[], undefined]);
  });
});

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

test('L5: whatever happened, the state at a version is what it was, or it is not told', () => {
  const limits = fc.record({
    windowBytesMax: fc.constantFrom(600, 1_500, 4_000, 1_000_000),
    tombstoneBytesMax: fc.constant(1_000_000),
    stateDiff: fc.boolean(),
    lagBytesMax: fc.constant(1_000_000),
  });
  const before = fc.array(fc.array(put, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 6 });
  let states = 0;
  fc.assert(
    fc.property(
      before,
      limits,
      fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }),
      (commits, options, all) => {
        const lane = new TestLane(commits, options);
        for (const each of all) {
          lane.run(each);
          for (let rv = Math.max(1, lane.listedAt - 2); rv <= lane.history.rv + 1; rv++) {
            const state = lane.cache.at(rv, interest());
            if (state === undefined) continue;
            states++;
            const objects = [...state.range()];
            assert.deepEqual(
              objects.map(({ key }) => key),
              objects.map(({ key }) => key).toSorted(compareKeys),
            );
            assert.deepEqual(
              objects.map(({ key, rv: version, uid }) => `${key}@${version} ${uid}`).toSorted(),
              lane.history.selectedAt(rv, interest()),
              `at ${rv}`,
            );
            for (const prefix of ['', 'a/', 'a-b/', 'b/']) {
              for (const from of [prefix, `${prefix}x\0`, `${prefix}y`]) {
                const found: KubeObject[] = [...state.range(prefix, from)];
                assert.deepEqual(
                  found,
                  objects.filter(({ key }) => key.startsWith(prefix) && compareKeys(key, from) >= 0),
                );
                assert.equal(state.count(prefix, from), found.length);
              }
            }
          }
        }
      },
    ),
    { numRuns: 40 },
  );
  expect(states, 'states compared').toBeGreaterThan(1_000);
});
