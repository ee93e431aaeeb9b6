import { describe, expect, test } from 'vitest';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import type { LaneFacts } from '@dogwatch/watch/lane-view.ts';
import { change, pod, podSchema } from '@dogwatch/watch/test-objects.ts';
import { WatchCache } from '@dogwatch/watch/watch-cache.ts';
import { leadingPublisher } from './test-lane.ts';
import { turns } from './test-upstream.ts';

const FACTS = { schema: podSchema, kind: 'Pod', apiVersion: 'v1', listKind: 'PodList' } as LaneFacts;

/** A publisher, and a follower that applies what it publishes: it throws ChainGap at any gap. */
function started(rv = 10, objects = [pod('a', 1), pod('b', 2), pod('c', 3)]) {
  const bus = new MemoryBus();
  const envelopes: Envelope[] = [];
  let cache: WatchCache | undefined;
  bus.follow('t', (envelope) => {
    envelopes.push(envelope);
    const limits = { windowBytesMax: 1_000_000, tombstoneBytesMax: 0, stateDiff: false };
    if (envelope.kind === 'listing') cache = new WatchCache(podSchema, envelope.listing, limits);
    else if (envelope.kind === 'batch') cache!.apply(envelope.batch);
    else if (envelope.kind === 'watermark') cache!.advance(envelope.rv, envelope.previous);
  });
  const publisher = leadingPublisher(bus);
  void publisher.listing(FACTS, { rv, objects }, true);
  envelopes.length = 0;
  return {
    publisher,
    envelopes,
    get cache() {
      return cache!;
    },
  };
}

describe('batches', () => {
  test('what is read in one turn travels together, in order', async () => {
    const { publisher, envelopes, cache } = started();
    publisher.change(change('MODIFIED', pod('a', 11)));
    publisher.change(change('MODIFIED', pod('b', 12)));
    expect(envelopes).toEqual([]);
    await turns();
    publisher.change(change('MODIFIED', pod('c', 13)));
    await turns();
    expect(envelopes.map(({ kind }) => kind)).toEqual(['batch', 'batch']);
    expect(cache.watermark).toBe(13);
  });

  test('where publications are kept apart, what is read between them travels with the next', async () => {
    const clock = createFakeClock();
    const bus = new MemoryBus();
    const versions: number[][] = [];
    bus.follow('t', (envelope) => {
      if (envelope.kind === 'batch') versions.push(envelope.batch.changes.map(({ object }) => object.rv));
    });
    const publisher = leadingPublisher(bus, { clock, gatherMs: 10 });
    void publisher.listing(FACTS, { rv: 10, objects: [] }, true);
    await clock.advanceAsync(10);
    publisher.change(change('ADDED', pod('a', 11)));
    await turns();
    expect(versions).toEqual([[11]]);
    publisher.change(change('ADDED', pod('b', 12)));
    await clock.advanceAsync(9);
    publisher.change(change('ADDED', pod('c', 13)));
    await turns();
    expect(versions).toEqual([[11]]);
    await clock.advanceAsync(1);
    expect(versions).toEqual([[11], [12, 13]]);
    publisher.standBy();
    expect(clock.pending).toBe(0);
  });

  test('one version over two batches is continued by its index (one RV over two envelopes)', async () => {
    const { publisher, cache } = started();
    publisher.change(change('DELETED', pod('a', 11)));
    await turns();
    publisher.change(change('DELETED', pod('b', 11)));
    publisher.change(change('DELETED', pod('c', 11)));
    await turns();
    expect(cache.size).toBe(0);
    expect(cache.position).toEqual({ rv: 11, index: 2 });
  });

  test('a watermark goes out behind the batch that is gathering, never before it', async () => {
    const { publisher, envelopes, cache } = started();
    publisher.change(change('MODIFIED', pod('a', 11)));
    publisher.watermark(15);
    expect(envelopes.map(({ kind }) => kind)).toEqual(['batch', 'watermark']);
    expect(cache.get('default/a')?.rv).toBe(11);
    expect(cache.settled).toBe(15);
    await turns();
    expect(envelopes).toHaveLength(2);
  });

  test('a watermark below what was read is no news', () => {
    const { publisher, envelopes } = started();
    publisher.change(change('MODIFIED', pod('a', 20)));
    publisher.watermark(15);
    expect(envelopes.map(({ kind }) => kind)).toEqual(['batch']);
    publisher.watermark(20);
    publisher.watermark(20);
    expect(envelopes.map(({ kind }) => kind)).toEqual(['batch', 'watermark']);
  });
});

describe('a watch that is resumed', () => {
  test('asks again for a version of which a part may be missing, and drops the part that is not', () => {
    const { publisher, cache } = started();
    publisher.change(change('DELETED', pod('a', 11)));
    publisher.change(change('DELETED', pod('b', 11)));
    expect(publisher.resumeFrom(false)).toBe(10);
    expect(publisher.change(change('DELETED', pod('a', 11)))).toBe(false);
    expect(publisher.change(change('DELETED', pod('b', 11)))).toBe(false);
    expect(publisher.change(change('DELETED', pod('c', 11)))).toBe(true);
    publisher.flush();
    expect(cache.size).toBe(0);
  });

  test('that breaks again in the middle of the repeats drops them all the next time', () => {
    const { publisher } = started();
    publisher.change(change('DELETED', pod('a', 11)));
    publisher.change(change('DELETED', pod('b', 11)));
    publisher.resumeFrom(false);
    expect(publisher.change(change('DELETED', pod('a', 11)))).toBe(false);
    expect(publisher.resumeFrom(false)).toBe(10);
    expect(publisher.change(change('DELETED', pod('a', 11)))).toBe(false);
    expect(publisher.change(change('DELETED', pod('b', 11)))).toBe(false);
    expect(publisher.change(change('DELETED', pod('c', 11)))).toBe(true);
  });

  test('after a while takes the version for whole; an event that comes all the same is no gap', () => {
    const { publisher, cache } = started();
    publisher.change(change('DELETED', pod('a', 11)));
    expect(publisher.resumeFrom(true)).toBe(11);
    publisher.change(change('DELETED', pod('b', 11)));
    publisher.flush();
    publisher.change(change('ADDED', pod('d', 12)));
    publisher.flush();
    expect(cache.watermark).toBe(12);
    expect(cache.size).toBe(2);
  });
});

describe('who may be vouched for', () => {
  test('between a loss and the next listing nobody', () => {
    const { publisher, envelopes } = started();
    publisher.interrupt();
    publisher.watermark(99);
    expect(envelopes).toEqual([]);
    expect(publisher.rv).toBe(10);
    void publisher.listing(FACTS, { rv: 20, objects: [] }, false);
    publisher.watermark(99);
    expect(publisher.rv).toBe(99);
  });

  test('a lane is quiet while no change comes, whatever vouches for it', () => {
    const { publisher } = started();
    expect(publisher.quiet()).toBe(true);
    publisher.watermark(20);
    expect(publisher.quiet()).toBe(true);
    publisher.change(change('MODIFIED', pod('a', 21)));
    expect(publisher.quiet()).toBe(false);
    expect(publisher.quiet()).toBe(true);
  });

  test('a new epoch ends the watches of the one before', () => {
    const { publisher, envelopes } = started();
    void publisher.listing(FACTS, { rv: 5, objects: [] }, true);
    expect(envelopes.map(({ kind, epoch }) => `${kind} ${epoch}`)).toEqual(['end 1', 'listing 2']);
  });
});
