import { systemClock } from '@dogwatch/process/clock.ts';
import { interest, pod } from '@dogwatch/watch/test-objects.ts';
import { StatusError, notFound } from '@dogwatch/kube/status.ts';
import { describe, expect, test } from 'vitest';
import { type Freshness, ResourceGone, freshnessOf, whenFresh } from './freshness.ts';
import { PODS, TestLaneView } from './test-lane-view.ts';

const asked = (view: TestLaneView, freshness: Freshness): Promise<number> =>
  whenFresh({ view, clock: systemClock, freshness, extent: { interest: interest(), limit: 0 } }, (rv) => rv);
const atLeast = (rv: number): Freshness => ({ kind: 'not-older-than', rv });

test('what a resourceVersion asks for', () => {
  expect(['', '0', '7', '007'].map(freshnessOf)).toEqual([{ kind: 'fresh' }, { kind: 'any' }, atLeast(7), atLeast(7)]);
  // L9, and what upstream's checks do not agree on.
  expect(['x', '-1', '00', '9007199254740993'].map(freshnessOf)).toEqual([undefined, undefined, undefined, undefined]);
});

describe('a version that is asked for', () => {
  test('L3: need not be waited for where it is held', async () => {
    expect(await asked(new TestLaneView(10), atLeast(9))).toBe(10);
  });

  test('L3: is waited for', async () => {
    const view = new TestLaneView(10);
    const answered = asked(view, atLeast(12));
    view.change({ type: 'ADDED', object: pod('a', 13), frame: Buffer.from('') });
    expect(await answered).toBe(13);
  });

  test('L3: may be one of another resource, of which a quiet lane hears when it is proved fresh', async () => {
    const view = new TestLaneView(10);
    view.timeOut();
    view.proof = Promise.resolve(14);
    expect(await asked(view, atLeast(12))).toBe(14);
  });

  test('L10: is a 504 where upstream has not got there either, with the version it is at', async () => {
    const view = new TestLaneView(10);
    view.timeOut();
    view.proof = Promise.resolve(11);
    await expect(asked(view, atLeast(12))).rejects.toMatchObject({
      status: { code: 504, message: 'Timeout: Too large resource version: 12, current: 11' },
    });
  });
});

test('L10: where upstream keeps no cache, it neither waits nor says when to come again', async () => {
  const events = { ...PODS, resource: 'events' };
  const view = new (class extends TestLaneView {
    override readonly lane = events;
  })(10);
  const waited: number[] = [];
  view.reached = (_rv, timeoutMs) => {
    waited.push(timeoutMs);
    return Promise.resolve(false);
  };
  await expect(asked(view, atLeast(12))).rejects.toMatchObject({
    status: { code: 504, details: { causes: [{ reason: 'ResourceVersionTooLarge' }] } },
  });
  expect(Math.max(...waited)).toBeLessThan(100);
});

test.each(['fresh', 'not-older-than'] as const)('W19: the 404 of a proof (%s) is for upstream to say', async (kind) => {
  const view = new TestLaneView(10);
  view.timeOut();
  view.proof = Promise.reject(new StatusError(notFound(PODS, '')));
  const freshness: Freshness = kind === 'fresh' ? { kind } : { kind, rv: 12 };
  await expect(asked(view, freshness)).rejects.toBeInstanceOf(ResourceGone);
});
