import { describe, expect, test } from 'vitest';
import { change, interest, pod, podSchema } from './test-objects.ts';
import { type Change, ChainGap, type Listing, WHOLE_VERSION, WatchCache } from './watch-cache.ts';

const WINDOW_BYTES = 1024 * 1024;

function cacheAt(rv: number, objects: Listing['objects'] = [], windowBytes = WINDOW_BYTES): WatchCache {
  const options = { windowBytesMax: windowBytes, tombstoneBytesMax: 0, stateDiff: false };
  return new WatchCache(podSchema, { rv, objects }, options);
}

/** A batch that continues right behind `rv`, all events of which are held. */
function after(rv: number, ...changes: Change[]) {
  return { previous: { rv, index: WHOLE_VERSION }, changes };
}

function next(cache: WatchCache, ...changes: Change[]): void {
  cache.apply({ previous: cache.position, changes });
}

/** What a client that holds `rv` has yet to see, as `TYPE name@rv`. */
function missed(cache: WatchCache, rv: number, asked = interest()): string[] | 'expired' {
  const since = cache.since(rv, asked);
  if (since.kind !== 'from') return 'expired';
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

  test('I5: history from before the first listing serves no interest that an object may have left in it', () => {
    const cache = cacheAt(10, []);
    cache.backfill(5, [change('MODIFIED', pod('a', 7, { labels: { app: 'db' } }))]);
    expect(missed(cache, 6)).toEqual(['MODIFIED a@7']);
    // Whether it had app=web before, nobody here knows.
    expect(missed(cache, 6, interest({ labels: 'app=web' }))).toBe('expired');
    expect(missed(cache, 6, interest({ fields: 'status.phase=Running' }))).toBe('expired');
    expect(missed(cache, 10, interest({ labels: 'app=web' }))).toEqual([]);
  });

  test('the version before the present one is known to be whole', () => {
    const cache = cacheAt(10);
    expect(cache.settled).toBe(10);
    next(cache, change('ADDED', pod('a', 12)), change('ADDED', pod('b', 12)));
    expect(cache.settled).toBe(10);
    next(cache, change('ADDED', pod('c', 15)));
    expect(cache.settled).toBe(12);
    cache.advance(20, cache.position);
    expect(cache.settled).toBe(20);
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

  test('a change at or below the watermark that was not held is our own fault: only a new history can follow', () => {
    const cache = cacheAt(10, held);
    expect(cache.repair({ rv: 20, objects: [pod('kept', 3), pod('changed', 9), pod('late', 10)] })).toBe(false);
    expect(cache.watermark).toBe(10);
    expect(cache.get('default/gone')?.rv).toBe(5);
    expect(cache.window.size).toBe(0);
  });

  test('a version of which only a part was read is completed by a listing at that version', () => {
    const cache = cacheAt(10, [pod('a', 1), pod('b', 2)]);
    next(cache, change('DELETED', pod('a', 11)));
    expect(cache.repair({ rv: 11, objects: [] })).toBe(true);
    expect(missed(cache, 10)).toEqual(['DELETED a@11', 'DELETED b@11']);
    // What comes next continues the whole version: no gap.
    cache.apply(after(11, change('ADDED', pod('c', 12))));
    expect(cache.watermark).toBe(12);
  });

  test('late events of the version a repair stands at are found behind its deletes', () => {
    const cache = cacheAt(10, [pod('a', 1), pod('b', 2), pod('c', 3)]);
    next(cache, change('DELETED', pod('a', 11)));
    cache.repair({ rv: 11, objects: [pod('c', 3)] });
    next(cache, change('DELETED', pod('c', 11)), change('ADDED', pod('d', 12)));
    expect(missed(cache, 11)).toEqual(['DELETED b@11', 'DELETED c@11', 'ADDED d@12']);
  });

  test('eviction of such late events does not make the lost deletes resumable again', () => {
    const cache = cacheAt(10, [pod('a', 1), pod('b', 2)], 1_500);
    cache.repair({ rv: 10, objects: [pod('b', 2)] });
    next(cache, change('DELETED', pod('b', 10)));
    for (let rv = 11; rv <= 20; rv++) {
      next(cache, change('ADDED', pod(`p${rv}`, rv)));
      expect(missed(cache, 10)).toSatisfy((found) => found === 'expired' || found[0] === 'DELETED a@10');
    }
    expect(missed(cache, 10)).toBe('expired');
  });

  test('an object at its old version with other bytes, as of an upgraded kube-apiserver, is taken without an event', () => {
    const cache = cacheAt(10, [pod('a', 3), pod('b', 4), pod('gone', 5)]);
    const before = cache.snapshot();
    const upgraded = pod('a', 3, { labels: { defaulted: 'yes' } });
    const same = cache.get('default/b');
    expect(cache.repair({ rv: 10, objects: [upgraded, pod('b', 4), pod('gone', 5)] })).toBe(true);
    expect(missed(cache, 10)).toEqual([]);
    expect(cache.window.size).toBe(0);
    expect([...cache.select(interest())].map(({ bytes }) => bytes.toString())).toEqual(
      [upgraded, pod('b', 4), pod('gone', 5)].map(({ bytes }) => bytes.toString()),
    );
    expect(cache.get('default/b')).toBe(same); // equal bytes are not exchanged for a copy of them
    expect(before.get('default/a')?.bytes).toEqual(pod('a', 3).bytes);
    // What comes next is told with the new bytes as those before it.
    next(cache, change('MODIFIED', pod('a', 12)));
    expect(cache.window.at(cache.window.end - 1).previous?.bytes).toEqual(upgraded.bytes);
  });

  test('and so are its bytes where other objects have changed meanwhile', () => {
    const cache = cacheAt(10, held);
    const kept = pod('kept', 3, { labels: { defaulted: 'yes' } });
    cache.repair({ ...listing, objects: listing.objects.map((object) => (object.name === 'kept' ? kept : object)) });
    expect(missed(cache, 10)).toHaveLength(5);
    expect(cache.get('default/kept')?.bytes).toEqual(kept.bytes);
  });

  test('of more repairs than are remembered, the oldest stays impossible to resume from', () => {
    const cache = cacheAt(10, held);
    for (let rv = 20; rv <= 1_000; rv += 10) cache.repair({ rv, objects: held });
    expect(missed(cache, 15)).toBe('expired');
    expect(missed(cache, 995)).toBe('expired');
    expect(missed(cache, 1_000)).toEqual([]);
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
