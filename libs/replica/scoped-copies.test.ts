import { describe, expect, onTestFinished, test } from 'vitest';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import { StatusError, forbidden } from '@dogwatch/kube/status.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import type { LaneView } from '@dogwatch/watch/lane-view.ts';
import { interest, pod } from '@dogwatch/watch/test-objects.ts';
import type { LaneSupply } from './lane-supply.ts';
import { scopeOf } from './scope.ts';
import { ScopedCopies } from './scoped-copies.ts';
import { PODS, rejection, silent, whole } from './test-ingest.ts';
import { FOLLOWER, TestShard, stateAt, turn } from './test-shards.ts';

const IDLE_MS = 60_000;
const OPEN_TIMEOUT_MS = 10_000;
const NODE = interest({ fields: 'spec.nodeName=n1' });
const NAME = interest({ namespace: 'default', name: 'a', fields: 'metadata.name=a' });
const WHOLE = { key: 'whole' } as LaneView;

function started(scopesMax = 100) {
  const bus = new MemoryBus();
  const clock = createFakeClock();
  const shard = new TestShard(bus, 'shard-0');
  const asked: string[] = [];
  const supply = {
    open: (): Promise<number> => (asked.push('open'), Promise.resolve(1)),
    release: async () => void asked.push('release'),
    ended: () => void asked.push('ended'),
    recover: () => Promise.reject(new Error('never asked')),
  } satisfies LaneSupply;
  const wholeLanes = {
    isOpen: () => asked.includes('whole'),
    acquire: async () => (asked.push('whole'), { view: WHOLE, release: () => undefined }),
  };
  const copies = new ScopedCopies(
    { bus, clock, log: silent, whole: wholeLanes, supply, follower: FOLLOWER, ownersOf: () => ['shard-0'] },
    {
      windowBytesMax: 1_000_000,
      tombstoneBytesMax: 1_000,
      laneIdleMs: IDLE_MS,
      openTimeoutMs: OPEN_TIMEOUT_MS,
      scopesMax,
    },
  );
  const abort = new AbortController();
  const running = copies.run(abort.signal);
  const stop = async (): Promise<void> => {
    abort.abort();
    await running;
    expect(clock.pending).toBe(0);
  };
  onTestFinished(stop);
  const acquire = async (of = NODE) => {
    const acquired = copies.acquire(PODS, of);
    await turn();
    while (shard.asked.length > 0) await shard.answer(stateAt(10, [pod('a', 5, { node: 'n1' })]));
    return await acquired;
  };
  /** Time passes, and the shard says so. */
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 1_000) {
      shard.watermark(whole(10), 10);
      await clock.advanceAsync(1_000);
    }
  };
  return { clock, shard, asked, supply, copies, acquire, pass, stop };
}

describe('what is a scope', () => {
  test.each([
    [NODE, 'pods', 'indexed'],
    [NAME, 'pods', 'name'],
    [interest({ namespace: 'ci', fields: 'spec.nodeName=n1', labels: 'app' }), 'pods', 'indexed'],
    [interest({ name: 'n1', fields: 'metadata.name=n1' }), 'nodes', 'name'],
    [NAME, 'configmaps', 'name'],
    [NAME, 'services', undefined],
    [interest(), 'pods', undefined],
    [interest({ name: 'a', fields: 'metadata.name=a' }), 'pods', undefined],
    [interest({ fields: 'spec.nodeName=' }), 'pods', undefined],
    [interest({ labels: 'app=web' }), 'pods', undefined],
  ])('%o of %s: %s', (of, resource, kind) => {
    expect(scopeOf({ ...PODS, resource }, of)?.kind).toBe(kind);
  });

  test('nodes of pods are known where the objects are, not their metadata', () => {
    expect(scopeOf({ ...PODS, view: 'metadata' }, NODE)).toBeUndefined();
  });
});

describe('acquire', () => {
  test('gives one view to all who want the same, of a lane that is opened once', async () => {
    const { acquire, asked, copies } = started();
    const [first, second, other] = [await acquire(), await acquire(), await acquire(NAME)];
    expect(first.view).toBe(second.view);
    expect(first.view).not.toBe(other.view);
    expect(first.view.cache.get('default/a')?.rv).toBe(5);
    expect(asked).toEqual(['open']);
    expect(copies.status()).toEqual({ scopes: [{ lane: 'core/v1/pods/json/object', scopes: 2 }] });
  });

  test('gives all else, and scopes beyond what there is room for, out of whole copies', async () => {
    const { acquire, asked } = started(1);
    expect((await acquire(interest())).view).toBe(WHOLE);
    await acquire(NODE);
    expect((await acquire(NAME)).view).toBe(WHOLE);
    expect((await acquire(NODE)).view).not.toBe(WHOLE);
    expect(asked).toEqual(['whole', 'open', 'whole']);
  });

  test('a scoped lane is open with its first scope, for all scopes; the whole copy is another', async () => {
    const { acquire, copies } = started();
    const open = (): boolean[] => [NODE, NAME, interest()].map((of) => copies.isOpen(PODS, of));
    expect(open()).toEqual([false, false, false]);
    await acquire(NODE);
    expect(open()).toEqual([true, true, false]);
    await acquire(interest());
    expect(open()).toEqual([true, true, true]);
  });

  test('is told to come again while there is nothing yet (G11)', async () => {
    const { clock, copies, shard } = started();
    const acquired = rejection(copies.acquire(PODS, NODE));
    await clock.advanceAsync(OPEN_TIMEOUT_MS);
    expect(await acquired).toMatchObject({ status: { code: 429 } });
    expect(shard.next).toBe('=n1');
  });

  test('is told to come again while the lane does not open, which is then not kept for nobody', async () => {
    const { clock, copies, supply, asked } = started();
    const opening = Promise.withResolvers<number>();
    supply.open = () => opening.promise;
    const acquired = rejection(copies.acquire(PODS, NODE));
    await clock.advanceAsync(OPEN_TIMEOUT_MS);
    expect(await acquired).toMatchObject({ status: { code: 429 } });
    opening.resolve(1);
    await clock.advanceAsync(IDLE_MS);
    expect(asked).toEqual(['release']);
  });

  test('of a lane that cannot be opened is refused in the same words; the next tries anew', async () => {
    const { copies, supply, acquire } = started();
    const { open } = supply;
    const denied = { isResourceRequest: false, path: '/', verb: 'get', group: '', resource: 'pods' };
    supply.open = () =>
      Promise.reject(new StatusError(forbidden({ ...denied, subresource: '', namespace: '', name: '' }, 'me', '')));
    await expect(copies.acquire(PODS, NODE)).rejects.toMatchObject({ status: { code: 403 } });
    supply.open = open;
    expect((await acquire()).view.cache.watermark).toBe(10);
  });

  test('is refused once it stops, which leaves the shard', async () => {
    const { acquire, copies, shard, stop, asked } = started();
    const { view } = await acquire();
    const ends: string[] = [];
    view.onEnd((end) => ends.push(end));
    await stop();
    await expect(copies.acquire(PODS, NODE)).rejects.toMatchObject({ status: { code: 429 } });
    expect([ends, shard.unlinked, asked]).toEqual([['ended'], ['0 ;'], ['open', 'release']]);
  });
});

describe('a scope is let go', () => {
  test('when it was idle for its time, and the lane with the last', async () => {
    const { acquire, pass, shard, asked } = started();
    const [first, second] = [await acquire(), await acquire(NAME)];
    first.release();
    first.release();
    await pass(IDLE_MS);
    expect([shard.unlinked, asked]).toEqual([['0 ;n1'], ['open']]);
    second.release();
    await pass(IDLE_MS - 1_000);
    const third = await acquire(NAME);
    await pass(IDLE_MS);
    expect(asked).toEqual(['open']);
    third.release();
    await pass(IDLE_MS);
    expect([shard.unlinked, asked]).toEqual([
      ['0 ;n1', '0 ;'],
      ['open', 'release'],
    ]);
    await acquire();
    expect(asked).toEqual(['open', 'release', 'open']);
  });

  test('when its resource is gone: watches end cleanly, and whoever asks again finds out anew', async () => {
    const { acquire, shard, asked, clock } = started();
    const before = await acquire();
    const ends: string[] = [];
    before.view.onEnd((end) => ends.push(end));
    shard.put({ kind: 'end', epoch: 1, end: 'ended' });
    expect([ends, asked]).toEqual([['ended'], ['open', 'ended']]);
    const after = await acquire();
    expect(after.view).not.toBe(before.view);
    before.release();
    await clock.advanceAsync(IDLE_MS * 2);
    expect(asked).toEqual(['open', 'ended', 'open']);
  });
});
