import { describe, expect, onTestFinished, test } from 'vitest';
import { StatusError, tooManyRequests } from '@dogwatch/kube/status.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createMetrics } from '@dogwatch/process/metrics.ts';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import { Copies } from './copies.ts';
import { createIngestSupply } from './ingest-supply.ts';
import { registerReplicaMetrics } from './replica-metrics.ts';
import { PODS, TestIngest, silent, whole, rejection } from './test-ingest.ts';

const IDLE_MS = 60_000;
const OPEN_TIMEOUT_MS = 10_000;

function started() {
  const ingest = new TestIngest();
  const clock = createFakeClock();
  const metrics = createMetrics();
  const copies = new Copies(
    { bus: ingest.bus, supply: createIngestSupply(ingest.bus), clock, log: silent },
    { windowBytesMax: 1_000_000, tombstoneBytesMax: 100_000, laneIdleMs: IDLE_MS, openTimeoutMs: OPEN_TIMEOUT_MS },
  );
  registerReplicaMetrics(metrics, () => copies.replicas);
  const abort = new AbortController();
  const running = copies.run(abort.signal);
  ingest.open = async () => ingest.listing(10, [pod('a', 5)]);
  const stop = async (): Promise<void> => {
    abort.abort();
    await running;
    expect(clock.pending).toBe(0);
  };
  onTestFinished(stop);
  return { ingest, clock, copies, metrics, stop };
}

describe('acquire', () => {
  test('opens a lane once for all who use it', async () => {
    const { ingest, copies } = started();
    const [first, second] = await Promise.all([copies.acquire(PODS), copies.acquire(PODS)]);
    expect(first.view).toBe(second.view);
    expect(first.view.cache.watermark).toBe(10);
    expect(ingest.asked).toEqual(['open']);
  });

  test('a lane is open from when it is asked for until nobody has used it for the idle time', async () => {
    const { clock, copies } = started();
    expect(copies.isOpen(PODS)).toBe(false);
    const acquired = copies.acquire(PODS);
    expect(copies.isOpen(PODS)).toBe(true);
    (await acquired).release();
    await clock.advanceAsync(IDLE_MS - 1);
    expect(copies.isOpen(PODS)).toBe(true);
    await clock.advanceAsync(1);
    expect(copies.isOpen(PODS)).toBe(false);
  });

  test('a lane that is read already is listed again for the late follower', async () => {
    const { ingest, copies } = started();
    ingest.open = () => Promise.resolve();
    ingest.repair = async () => void setImmediate(() => ingest.listing(20, [pod('a', 5)]));
    const { view } = await copies.acquire(PODS);
    expect(view.cache.watermark).toBe(20);
    expect(ingest.asked).toEqual(['open', 'repair']);
  });

  test('is told to come again while the lane does not open (G11), and the lane goes on opening', async () => {
    const { ingest, clock, copies } = started();
    const opening = Promise.withResolvers<void>();
    ingest.open = () => opening.promise;
    const acquired = rejection(copies.acquire(PODS));
    await clock.advanceAsync(OPEN_TIMEOUT_MS);
    expect(await acquired).toMatchObject({ status: { code: 429 } });
    ingest.listing(10, []);
    opening.resolve();
    await copies.acquire(PODS);
    expect(ingest.asked).toEqual(['open']);
  });

  test('of a lane that cannot be opened is refused; the next tries anew', async () => {
    const { ingest, copies } = started();
    const { open } = ingest;
    ingest.open = () => Promise.reject(new StatusError(tooManyRequests('no', 1)));
    await expect(copies.acquire(PODS)).rejects.toMatchObject({ status: { code: 429 } });
    ingest.open = open;
    expect((await copies.acquire(PODS)).view.cache.watermark).toBe(10);
  });

  test('is refused once the copies stops', async () => {
    const { copies, stop } = started();
    await stop();
    await expect(copies.acquire(PODS)).rejects.toMatchObject({ status: { code: 429 } });
  });
});

describe('release', () => {
  test('a lane closes when it was idle for its time, counted from the last release', async () => {
    const { ingest, clock, copies } = started();
    const [first, second] = await Promise.all([copies.acquire(PODS), copies.acquire(PODS)]);
    first.release();
    first.release();
    await clock.advanceAsync(IDLE_MS * 2);
    expect(ingest.asked).toEqual(['open']);
    second.release();
    await clock.advanceAsync(IDLE_MS - 1);
    const third = await copies.acquire(PODS);
    await clock.advanceAsync(IDLE_MS * 2);
    expect(ingest.asked).toEqual(['open']);
    third.release();
    await clock.advanceAsync(IDLE_MS);
    expect(ingest.asked).toEqual(['open', 'close']);
  });

  test('by users of a lane that ended does not close the one that was opened since', async () => {
    const { ingest, clock, copies } = started();
    const before = await copies.acquire(PODS);
    const ends: string[] = [];
    before.view.onEnd((end) => ends.push(end));
    ingest.publish({ kind: 'end', epoch: 1, end: 'ended' });
    expect(ends).toContain('ended');
    const after = await copies.acquire(PODS);
    expect(after.view).not.toBe(before.view);
    before.release();
    await clock.advanceAsync(IDLE_MS * 2);
    expect(ingest.asked).toEqual(['open', 'open']);
    ingest.batch(whole(10), change('MODIFIED', pod('a', 11)));
    expect(after.view.cache.watermark).toBe(11);
    expect(before.view.cache.watermark, 'nobody feeds it').toBe(10);
  });

  test('of a lane that did not open does not close the one that did', async () => {
    const { ingest, clock, copies } = started();
    const { open } = ingest;
    ingest.open = () => Promise.reject(new StatusError(tooManyRequests('no', 1)));
    await expect(copies.acquire(PODS)).rejects.toThrow('no');
    ingest.open = open;
    await copies.acquire(PODS);
    await clock.advanceAsync(IDLE_MS * 2);
    expect(ingest.asked).toEqual(['open', 'open']);
  });

  test('a lane that was closed for idleness is opened anew', async () => {
    const { ingest, clock, copies } = started();
    (await copies.acquire(PODS)).release();
    await clock.advanceAsync(IDLE_MS);
    ingest.open = async () => ingest.listing(30, []);
    expect((await copies.acquire(PODS)).view.cache.watermark).toBe(30);
  });
});

describe('the supply is given back what it opened', () => {
  test('of a lane that does not open in time', async () => {
    const { ingest, clock, copies } = started();
    ingest.open = () => Promise.resolve();
    ingest.repair = () => Promise.resolve();
    const acquired = rejection(copies.acquire(PODS));
    await clock.advanceAsync(OPEN_TIMEOUT_MS);
    expect(await acquired).toMatchObject({ status: { code: 429 } });
    expect(ingest.asked).toEqual(['open', 'repair', 'close']);
  });

  test('of a lane that opened after it was let go', async () => {
    const { ingest, clock, copies } = started();
    const opening = Promise.withResolvers<void>();
    ingest.open = () => opening.promise;
    const acquired = rejection(copies.acquire(PODS));
    await clock.advanceAsync(OPEN_TIMEOUT_MS + IDLE_MS);
    expect(await acquired).toMatchObject({ status: { code: 429 } });
    ingest.partitions = 3;
    opening.resolve();
    await clock.advanceAsync(0);
    expect(ingest.asked).toEqual(['open', 'close']);
    expect(copies.replicas).toEqual([]);
  });

  test('I9: what comes while a lane is opened is bounded: it is recovered like all that was lost', async () => {
    const { ingest, copies } = started();
    ingest.open = async () => {
      ingest.listing(10, []);
      for (let i = 0; i < 10_000; i++) ingest.watermark(whole(10), 10);
    };
    ingest.repair = async () => void setImmediate(() => ingest.listing(20, []));
    expect((await copies.acquire(PODS)).view.cache.watermark).toBe(20);
  });
});

test('stopping closes all lanes, whoever uses them, and bears that they were closed already', async () => {
  const { ingest, copies, metrics, stop } = started();
  const { view } = await copies.acquire(PODS);
  expect(await metrics.text()).toContain('dogwatch_cache_objects{');
  const ends: string[] = [];
  view.onEnd((end) => ends.push(end));
  ingest.close = () => Promise.reject(new Error('closed already'));
  await stop();
  expect(ends).toEqual(['ended']);
  expect(ingest.asked).toEqual(['open', 'close']);
  expect(await metrics.text()).not.toContain('dogwatch_cache_objects{');
});
