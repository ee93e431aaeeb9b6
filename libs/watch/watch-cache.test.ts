import { describe, expect, test } from 'vitest';
import { change, pod, podSchema } from './test-objects.ts';
import { type Change, ChainGap, type Listing, WHOLE_VERSION, WatchCache } from './watch-cache.ts';

const WINDOW_BYTES = 1024 * 1024;

function cacheAt(rv: number, objects: Listing['objects'] = [], windowBytes = WINDOW_BYTES): WatchCache {
  return new WatchCache(podSchema, { rv, objects }, windowBytes);
}

/** A batch that continues right behind `rv`, all events of which are held. */
function after(rv: number, ...changes: Change[]) {
  return { previous: { rv, index: WHOLE_VERSION }, changes };
}

function next(cache: WatchCache, ...changes: Change[]): void {
  cache.apply({ previous: cache.position, changes });
}

/** What a client that holds `rv` has yet to see, as `TYPE name@rv`. */
function missed(cache: WatchCache, rv: number): string[] | 'expired' {
  const since = cache.since(rv);
  if (since.kind === 'expired') return 'expired';
  const found: string[] = [];
  for (let at = since.sequence; at < cache.window.end; at++) {
    const { type, object, rv: version } = cache.window.at(at);
    found.push(`${type} ${object.name}@${version}`);
  }
  return found;
}

describe('I4: a batch is applied only if it continues what is held', () => {
  test('the next batch is applied', () => {
    const cache = cacheAt(10);
    cache.apply(after(10, change('ADDED', pod('a', 11)), change('MODIFIED', pod('a', 12))));
    expect(cache.watermark).toBe(12);
    expect(cache.get('default/a')?.rv).toBe(12);
  });

  test('a gap is refused and changes nothing', () => {
    const cache = cacheAt(10);
    expect(() => cache.apply(after(12, change('ADDED', pod('a', 13))))).toThrow(ChainGap);
    expect(cache.watermark).toBe(10);
    expect(cache.size).toBe(0);
  });

  test('what is held already is skipped, the rest of the batch is applied', () => {
    const cache = cacheAt(10);
    const batch = after(10, change('ADDED', pod('a', 11)), change('ADDED', pod('b', 12)));
    cache.apply(batch);
    cache.apply({ ...batch, changes: [...batch.changes, change('ADDED', pod('c', 13))] });
    expect(missed(cache, 10)).toEqual(['ADDED a@11', 'ADDED b@12', 'ADDED c@13']);
  });

  test('one version over two batches: its later events are new, its earlier ones are not', () => {
    const cache = cacheAt(10, [pod('a', 1), pod('b', 2), pod('c', 3)]);
    const first = {
      previous: { rv: 10, index: WHOLE_VERSION },
      changes: [change('DELETED', pod('a', 11)), change('DELETED', pod('b', 11))],
    };
    cache.apply(first);
    cache.apply({ previous: { rv: 11, index: 1 }, changes: [change('DELETED', pod('c', 11))] });
    cache.apply(first);
    expect(missed(cache, 10)).toEqual(['DELETED a@11', 'DELETED b@11', 'DELETED c@11']);
    expect(cache.size).toBe(0);
  });

  test('one version over two batches: a lost first half is a gap', () => {
    const cache = cacheAt(10);
    expect(() => cache.apply({ previous: { rv: 11, index: 1 }, changes: [change('DELETED', pod('c', 11))] })).toThrow(
      ChainGap,
    );
  });

  test('an event that comes after its version was vouched for is still applied', () => {
    const cache = cacheAt(10, [pod('a', 1), pod('b', 2)]);
    cache.apply(after(10, change('DELETED', pod('a', 11))));
    cache.advance(11, { rv: 11, index: 0 });
    cache.apply(after(11, change('DELETED', pod('b', 11))));
    expect(cache.size).toBe(0);
  });

  test('a watermark over a batch that was lost is a gap', () => {
    const cache = cacheAt(10);
    expect(() => cache.advance(20, { rv: 15, index: 0 })).toThrow(ChainGap);
    expect(cache.watermark).toBe(10);
  });
});

describe('resume', () => {
  test('after a version the client gets what came since', () => {
    const cache = cacheAt(10);
    cache.apply(after(10, change('ADDED', pod('a', 11)), change('ADDED', pod('b', 12))));
    expect(missed(cache, 11)).toEqual(['ADDED b@12']);
    expect(missed(cache, 12)).toEqual([]);
  });

  test('below the first listing it is expired', () => {
    expect(missed(cacheAt(10), 9)).toBe('expired');
  });

  test('the window is bounded by bytes, and moves its start', () => {
    const cache = cacheAt(10, [], 2_000);
    for (let rv = 11; rv <= 40; rv++) next(cache, change('MODIFIED', pod('a', rv)));
    expect(cache.window.bytes).toBeLessThanOrEqual(2_000);
    expect(cache.window.complete).toBe(false);
    const { start } = cache.window;
    expect(missed(cache, start - 1)).toBe('expired');
    expect(missed(cache, start)).toHaveLength(40 - start);
  });

  test("upstream's own history is put before the first listing", () => {
    const cache = cacheAt(10, [pod('a', 8)]);
    cache.apply(after(10, change('MODIFIED', pod('a', 11))));
    cache.backfill(5, [
      change('ADDED', pod('gone', 6)),
      change('DELETED', pod('gone', 7)),
      change('MODIFIED', pod('a', 8)),
      change('MODIFIED', pod('a', 11)),
    ]);
    expect(missed(cache, 5)).toEqual(['ADDED gone@6', 'DELETED gone@7', 'MODIFIED a@8', 'MODIFIED a@11']);
    expect(missed(cache, 4)).toBe('expired');
  });
});

describe('repair', () => {
  const held = [pod('kept', 3), pod('changed', 4), pod('gone', 5), pod('reborn', 6)];
  const listing = {
    rv: 20,
    objects: [pod('changed', 15), pod('kept', 3), pod('new', 12), pod('reborn', 18, { uid: 'uid-2' })],
  };

  test('deletes first, standing at the watermark, then changes in order of their versions', () => {
    const cache = cacheAt(10, held);
    expect(cache.repair(listing)).toBe(true);
    expect(missed(cache, 10)).toEqual([
      'DELETED gone@10',
      'DELETED reborn@10',
      'ADDED new@12',
      'MODIFIED changed@15',
      'ADDED reborn@18',
    ]);
    expect(cache.watermark).toBe(20);
    expect(cache.size).toBe(4);
  });

  test('a version inside the repaired interval cannot be resumed from; its ends can', () => {
    const cache = cacheAt(10, held);
    cache.repair(listing);
    expect(missed(cache, 11)).toBe('expired');
    expect(missed(cache, 15)).toBe('expired');
    expect(missed(cache, 19)).toBe('expired');
    expect(missed(cache, 20)).toEqual([]);
    expect(missed(cache, 10)).toHaveLength(5);
  });

  test('a newer fact is not undone by an older listing', () => {
    const cache = cacheAt(10, [pod('a', 3)]);
    cache.apply(after(10, change('MODIFIED', pod('a', 12))));
    expect(cache.repair({ rv: 12, objects: [pod('a', 11)] })).toBe(true);
    expect(cache.get('default/a')?.rv).toBe(12);
  });

  test('a listing from before the watermark is another history', () => {
    const cache = cacheAt(10, held);
    expect(cache.repair({ rv: 9, objects: [] })).toBe(false);
    expect(cache.size).toBe(4);
  });

  test('once its deletes are evicted, the version they stand at is expired', () => {
    const cache = cacheAt(10, held, 3_000);
    cache.repair(listing);
    for (let rv = 21; rv <= 40; rv++) next(cache, change('MODIFIED', pod('kept', rv)));
    expect(missed(cache, 10)).toBe('expired');
  });
});
