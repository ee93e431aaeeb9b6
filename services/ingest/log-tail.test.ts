import { describe, expect, onTestFinished, test } from 'vitest';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import { WHOLE_VERSION } from '@dogwatch/watch/watch-cache.ts';
import { createCounters } from './counters.ts';
import { LogTail } from './log-tail.ts';
import { Ring } from './ring.ts';
import { POD_TYPE, silent } from './test-lane.ts';
import { TestLog } from './test-log.ts';
import { turns } from './test-upstream.ts';

const whole = (rv: number) => ({ rv, index: WHOLE_VERSION });
const FACTS = { ...POD_TYPE, bookmark: undefined, warnings: [] };

/** The tail of one track over a ring that continues version 10. */
async function started({ ringBytesMax = 1_000_000, gatherMs = 0 } = {}) {
  const clock = createFakeClock();
  const store = new TestLog();
  const ring = new Ring(1, ringBytesMax);
  const counters = createCounters();
  const terms: number[] = [];
  let deposed = 0;
  ring.restart(10);
  const tail = new LogTail({
    gatherMs,
    ring,
    partition: 0,
    track: 't',
    appender: await store.campaign('t'),
    renew: () => store.campaign('t'),
    clock,
    log: silent,
    counters,
    random: () => 1,
    onTerm: (term) => terms.push(term),
    onDeposed: () => deposed++,
  });
  tail.start(0);
  const read = (...versions: number[]): void => {
    for (const rv of versions) {
      const previous = ring.last(0);
      ring.push(0, { change: change('MODIFIED', pod('a', rv)), previous, position: { rv, index: 0 }, readAt: 0 });
    }
    tail.wake(1, ring.end(0));
    ring.trim();
  };
  onTestFinished(() => {
    tail.close();
    expect(clock.pending).toBe(0);
  });
  return { clock, store, ring, counters, terms, tail, read, deposed: () => deposed };
}

const previousOf = (envelope: Envelope) => (envelope.kind === 'batch' ? envelope.batch.previous : undefined);

describe('the live path', () => {
  test('is followed with one envelope in flight; what comes meanwhile is gathered', async () => {
    const at = await started();
    const stall = Promise.withResolvers<void>();
    at.store.stalled = stall.promise;
    at.read(11);
    await turns();
    at.read(12);
    at.read(13, 14);
    await turns();
    expect(at.store.told('t')).toEqual([]);
    expect(at.tail.backlogBytes).toBeGreaterThan(0);
    stall.resolve();
    await turns();
    expect(at.store.told('t')).toEqual(['batch 11', 'batch 14']);
    expect(at.tail.backlogBytes).toBe(0);
    expect(at.counters.appends).toBe(2);
  });

  test('is appended to once in a while, but at once where a whole envelope waits', async () => {
    const at = await started({ gatherMs: 50 });
    at.read(11);
    await turns();
    at.read(12);
    await at.clock.advanceAsync(49);
    at.read(13);
    await turns();
    expect(at.store.told('t')).toEqual(['batch 11']);
    await at.clock.advanceAsync(1);
    await turns();
    expect(at.store.told('t')).toEqual(['batch 11', 'batch 13']);
    for (let rv = 14; rv < 2_000; rv++) at.read(rv);
    await at.clock.advanceAsync(50);
    await turns();
    expect(at.store.told('t').length).toBeGreaterThan(3);
  });

  test('is never waited for: what the ring lets go of is a hole, which the chain shows', async () => {
    const at = await started({ ringBytesMax: 1_500 });
    const stall = Promise.withResolvers<void>();
    at.store.stalled = stall.promise;
    at.read(11);
    for (let rv = 12; rv <= 30; rv++) at.read(rv);
    stall.resolve();
    await turns();
    const [first, second] = at.store.stored.get('t')!;
    expect(at.store.told('t')).toEqual(['batch 11', 'batch 30']);
    expect(previousOf(first!)).toEqual(whole(10));
    expect(previousOf(second!)!.rv).toBeGreaterThan(11);
    expect(at.counters.holes).toBe(1);
  });
});

describe('a track without changes', () => {
  test('is told how far it is, once, and only if it does not know', async () => {
    const at = await started();
    at.read(11);
    await turns();
    at.tail.vouch(1, 11);
    at.tail.vouch(1, 20);
    await turns();
    at.tail.vouch(1, 20);
    await turns();
    expect(at.store.told('t')).toEqual(['batch 11', 'watermark 20']);
  });
});

test('an event of a version that was vouched for comes behind word of that', async () => {
  const at = await started();
  at.read(11);
  await turns();
  const late = { change: change('DELETED', pod('b', 11)), previous: whole(11) };
  at.ring.push(0, { ...late, position: { rv: 11, index: WHOLE_VERSION + 1 }, readAt: 0 });
  at.tail.wake(1, at.ring.end(0));
  await turns();
  expect(at.store.told('t')).toEqual(['batch 11', 'watermark 11', 'batch 11']);
});

test('a listing goes before all that continues it, and what came before is not needed any more', async () => {
  const at = await started();
  const stall = Promise.withResolvers<void>();
  at.store.stalled = stall.promise;
  at.read(11);
  await turns();
  at.read(12);
  at.ring.restart(50);
  at.tail.listing({ kind: 'listing', epoch: 1, facts: FACTS, listing: { rv: 50, objects: [] } }, at.ring.end(0));
  at.read(51);
  stall.resolve();
  await turns();
  expect(at.store.told('t')).toEqual(['batch 11', 'listing 50', 'batch 51']);
});

test('a listing too long for the log is only mentioned in it', async () => {
  const at = await started();
  const long = pod('a', 20, { labels: { noise: 'x'.repeat(9 * 1024 * 1024) } });
  at.tail.listing({ kind: 'listing', epoch: 2, facts: FACTS, listing: { rv: 20, objects: [long] } }, at.ring.end(0));
  await turns();
  expect(at.store.told('t')).toEqual(['listed 20']);
});

describe('a log that is lost', () => {
  test('is led anew, and given what the ring still has', async () => {
    const at = await started();
    at.read(11, 12);
    await turns();
    at.store.wipe();
    at.read(13);
    await at.clock.advanceAsync(100);
    await turns();
    expect(at.terms).toHaveLength(1);
    const [first] = at.store.stored.get('t')!;
    expect(at.store.told('t')).toEqual(['batch 13']);
    expect(previousOf(first!)).toEqual(whole(10));
    at.read(14);
    await turns();
    expect(at.store.told('t')).toEqual(['batch 13', 'batch 14']);
  });
});

test('a log that somebody else leads is left to them', async () => {
  const at = await started();
  at.read(11);
  await turns();
  await at.store.campaign('t');
  at.read(12);
  await turns();
  expect(at.deposed()).toBe(1);
  expect(at.store.told('t')).toEqual(['batch 11']);
});
