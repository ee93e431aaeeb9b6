import { describe, expect, onTestFinished, test } from 'vitest';
import { pod } from '@dogwatch/watch/test-objects.ts';
import { TestLane } from './test-lane.ts';
import { type TestStream, turns, until, rejection } from './test-upstream.ts';
import { Turnstile } from './turnstile.ts';

const forever = new AbortController().signal;

function started(listings?: Turnstile, stands?: () => Promise<boolean>): TestLane {
  const lane = new TestLane(listings, stands);
  onTestFinished(async () => {
    lane.abort.abort();
    await lane.running;
    // Nothing of a lane outlives it.
    expect(lane.clock.pending).toBe(0);
  });
  return lane;
}

async function listed(lane: TestLane, rv = 10, objects = [pod('a', 5), pod('b', 6)]): Promise<TestStream> {
  const stream = (await lane.upstream.next()).listing(rv, objects);
  await lane.reflector.opened;
  return stream;
}

describe('the listing', () => {
  test('is a watch-list, and the same stream goes on as the watch', async () => {
    const lane = started();
    const request = await lane.upstream.next();
    expect(request.path).toBe('/api/v1/pods');
    expect(Object.fromEntries(request.query)).toMatchObject({
      watch: 'true',
      sendInitialEvents: 'true',
      resourceVersionMatch: 'NotOlderThan',
      resourceVersion: '',
      allowWatchBookmarks: 'true',
    });
    const stream = request.listing(10, [pod('a', 5)]);
    await lane.reflector.opened;
    stream.send('MODIFIED', pod('a', 11));
    stream.bookmark(15);
    await until(() => lane.cache.settled === 15);
    expect(lane.follower.since(10)).toEqual(['MODIFIED a@11']);
    expect(lane.upstream.requests).toHaveLength(1);
  });

  test('under way will do for a follower that asks for a repair', async () => {
    const lane = started();
    const half = (await lane.upstream.next()).stream();
    half.send('ADDED', pod('a', 5));
    await turns();
    lane.reflector.repair();
    half.bookmark(10, true);
    await lane.reflector.opened;
    await turns();
    expect(half.cancelled).toBe(false);
    expect(lane.upstream.requests).toHaveLength(1);
  });

  test.each(['break', 'end'] as const)('that %ss half way is begun anew, without what it brought', async (how) => {
    const lane = started();
    const half = (await lane.upstream.next()).stream();
    half.send('ADDED', pod('gone', 3));
    await turns();
    half[how]();
    await turns();
    await lane.clock.advanceAsync(100);
    await listed(lane);
    expect(lane.cache.get('default/gone')).toBeUndefined();
    expect(lane.cache.size).toBe(2);
    expect(lane.follower.seen).toEqual(['listing 1']);
  });

  test('that hangs is given up, and other lanes may list meanwhile', async () => {
    const listings = new Turnstile(1);
    const lane = started(listings);
    const hanging = (await lane.upstream.next()).stream();
    let passed = false;
    const other = listings.enter(forever).then((leave) => {
      passed = true;
      leave();
    });
    await lane.clock.advanceAsync(20_000);
    hanging.send('ADDED', pod('a', 5));
    await turns();
    await lane.clock.advanceAsync(29_000);
    expect(passed, 'it moved').toBe(false);
    await lane.clock.advanceAsync(1_000);
    await other;
    expect(hanging.cancelled).toBe(true);
    await lane.clock.advanceAsync(100);
    await listed(lane);
    expect(lane.cache.size).toBe(2);
  });

  test('lets the next lane list as soon as it is whole, and may then be quiet as long as it likes', async () => {
    const listings = new Turnstile(1);
    const lane = started(listings);
    const stream = await listed(lane);
    (await listings.enter(forever))();
    await lane.clock.advanceAsync(600_000);
    expect(stream.cancelled).toBe(false);
  });

  test('is paged, and then watched, where upstream has no watch-list (422)', async () => {
    const lane = started();
    (await lane.upstream.next()).refuse(422, { reason: 'Invalid' });
    const first = await lane.upstream.next();
    expect(first.isWatch).toBe(false);
    first.page(10, [pod('a', 5)], 'more');
    const second = await lane.upstream.next();
    expect(second.query.get('continue')).toBe('more');
    second.page(10, [pod('b', 6)]);
    const watch = await lane.upstream.next();
    expect(watch.from).toBe(10);
    expect(lane.cache.size).toBe(2);
  });

  test('that expires between two pages (410) is begun anew from the first', async () => {
    const lane = started();
    (await lane.upstream.next()).refuse(422, { reason: 'Invalid' });
    (await lane.upstream.next()).page(10, [pod('a', 5)], 'more');
    (await lane.upstream.next()).refuse(410, { reason: 'Expired' });
    await turns();
    await lane.clock.advanceAsync(100);
    const again = await lane.upstream.next();
    expect(again.query.get('continue')).toBeNull();
    again.page(20, []);
    await lane.reflector.opened;
    expect(lane.cache.size).toBe(0);
  });

  test('that is cut in the middle of a page is begun anew', async () => {
    const lane = started();
    (await lane.upstream.next()).refuse(422, { reason: 'Invalid' });
    const cut = (await lane.upstream.next()).stream();
    cut.raw('{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"10"},"items":[{"metadata":{"na');
    cut.end();
    await turns();
    await lane.clock.advanceAsync(100);
    (await lane.upstream.next()).page(10, [pod('a', 5)]);
    await lane.reflector.opened;
    expect(lane.cache.size).toBe(1);
  });

  test.each([
    [403, 'closed'],
    [404, 'closed'],
    [406, 'closed'],
  ])('that upstream refuses for good (%i) is told to who opens', async (code, how) => {
    const lane = started();
    (await lane.upstream.next()).refuse(code, { message: 'no' });
    await expect(lane.reflector.opened).rejects.toMatchObject({ status: { code, message: 'no' } });
    expect(await lane.running).toBe(how);
    expect(lane.follower.seen).toEqual([]);
  });

  test.each([401, 429, 500, 503])(
    'that upstream refuses for now (%i) is asked for again, ever more slowly',
    async (code) => {
      const lane = started();
      for (const wait of [100, 200, 400]) {
        (await lane.upstream.next()).refuseText(code, 'later');
        await turns();
        await lane.clock.advanceAsync(wait - 1);
        const asked = lane.upstream.requests.length;
        await lane.clock.advanceAsync(1);
        await until(() => lane.upstream.requests.length === asked + 1);
      }
      await listed(lane);
      expect(lane.cache.watermark).toBe(10);
    },
  );
});

describe('the watch', () => {
  test.each(['break', 'end'] as const)('that %ss is resumed where it was, and nothing is read twice', async (how) => {
    const lane = started();
    const stream = await listed(lane);
    stream.send('MODIFIED', pod('a', 11));
    await until(() => lane.cache.watermark === 11);
    stream[how]();
    await turns();
    await lane.clock.advanceAsync(100);
    const resumed = await lane.upstream.next();
    // Version 11 may have more events than the one that was read.
    expect(resumed.from).toBe(10);
    const next = resumed.stream();
    next.send('MODIFIED', pod('a', 11));
    next.send('MODIFIED', pod('b', 12));
    await until(() => lane.cache.watermark === 12);
    expect(lane.follower.since(10)).toEqual(['MODIFIED a@11', 'MODIFIED b@12']);
    expect(lane.counters).toMatchObject({ events: 2, repeats: 1, listings: 1 });
  });

  test('that ends in the middle of a frame loses nothing: the frame is sent again', async () => {
    const lane = started();
    const stream = await listed(lane);
    stream.raw('{"type":"MODIFIED","object":{"kind":"Pod","apiV');
    stream.end();
    await turns();
    await lane.clock.advanceAsync(100);
    const resumed = await lane.upstream.next();
    expect(resumed.from).toBe(10);
    resumed.stream().send('MODIFIED', pod('a', 11));
    await until(() => lane.cache.watermark === 11);
  });

  test.each([
    ['not JSON at all\n'],
    ['{"type":"MODIFIED","object":{"kind":"Pod","metadata":{"name":"a","namespace":"default"}}}\n'],
    ['{"type":"MODIFIED","object":{"metadata":{"resourceVersion":"99"}}}\n'],
    [
      '{"type":"MODIFIED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"default","uid":"u","resourceVersion":"99","labels":{"app":7}}}}\n',
    ],
    ['{"type":"NONSENSE","object":{}}\n'],
    ['{"type":"ERROR","object":{"kind":"Status"\n'],
  ])('that brings garbage is read anew, and nothing crashes: %s', async (garbage) => {
    const lane = started();
    const stream = await listed(lane);
    stream.raw(garbage);
    await turns();
    expect(stream.cancelled).toBe(true);
    await lane.clock.advanceAsync(100);
    const resumed = await lane.upstream.next();
    expect(resumed.from).toBe(10);
    resumed.stream().send('MODIFIED', pod('a', 11));
    await until(() => lane.cache.watermark === 11);
    expect(lane.follower.seen).toEqual(['listing 1', 'batch 1']);
  });

  test('that brings the same garbage behind what is known again and again is asked for ever more slowly', async () => {
    const lane = started();
    let stream = await listed(lane);
    stream.send('MODIFIED', pod('a', 11));
    stream.raw('garbage\n');
    for (const wait of [100, 200, 400, 800]) {
      await turns();
      await lane.clock.advanceAsync(wait);
      stream = (await lane.upstream.next()).stream();
      stream.send('MODIFIED', pod('a', 11));
      stream.raw('garbage\n');
    }
    expect(lane.upstream.requests).toHaveLength(5);
  });

  test.each(['event', 'answer'] as const)(
    'that expired (410 as an %s) is listed anew, and published as a repair',
    async (as) => {
      const lane = started();
      const stream = await listed(lane);
      if (as === 'event') {
        stream.error(410, { reason: 'Expired' });
      } else {
        stream.end();
        await turns();
        await lane.clock.advanceAsync(100);
        (await lane.upstream.next()).refuse(410, { reason: 'Expired' });
      }
      const again = await lane.upstream.next();
      expect(again.isWatchList).toBe(true);
      again.listing(30, [pod('b', 20)]);
      await until(() => lane.cache.watermark === 30);
      expect(lane.follower.since(10)).toEqual(['DELETED a@10', 'MODIFIED b@20']);
      expect(lane.follower.seen).toEqual(['listing 1', 'listing 1']);
      expect(lane.counters.expired).toBe(1);
    },
  );

  test('that is lost lets nobody vouch for the lane until it is listed: else that would look like a step back', async () => {
    const lane = started();
    const stream = await listed(lane);
    stream.error(410);
    const again = await lane.upstream.next();
    // As a verification watch does that began before.
    lane.publisher.watermark(40);
    again.listing(30, []);
    await until(() => lane.cache.watermark === 30);
    expect(lane.follower.seen).toEqual(['listing 1', 'listing 1']);
  });

  test('whose upstream went back in time (a restore) begins a new epoch', async () => {
    const lane = started();
    const stream = await listed(lane);
    stream.error(410);
    (await lane.upstream.next()).listing(4, [pod('a', 2)]);
    await until(() => lane.follower.seen.length > 1);
    expect(lane.follower.seen).toEqual(['listing 1', 'end 1', 'listing 2']);
    expect(lane.cache.watermark).toBe(4);
  });

  test('is listed anew when a follower asks for it', async () => {
    const lane = started();
    const stream = await listed(lane);
    lane.reflector.repair();
    const again = await lane.upstream.next();
    expect(stream.cancelled).toBe(true);
    expect(again.isWatchList).toBe(true);
    again.listing(12, [pod('a', 5), pod('b', 6)]);
    await until(() => lane.cache.watermark === 12);
  });

  test('that is refused for a moment (403), as by a kube-apiserver that has just started, goes on', async () => {
    const lane = started();
    (await listed(lane)).end();
    await turns();
    await lane.clock.advanceAsync(100);
    (await lane.upstream.next()).refuse(403, { reason: 'Forbidden' });
    await turns();
    await lane.clock.advanceAsync(1_000);
    const again = await lane.upstream.next();
    expect(again.isWatchList).toBe(false);
    again.stream().send('ADDED', pod('b', 12));
    await until(() => lane.cache.watermark === 12);
  });

  test('whose resource is gone (404) says so', async () => {
    const lane = started();
    (await listed(lane)).end();
    await turns();
    await lane.clock.advanceAsync(100);
    (await lane.upstream.next()).refuseText(404, '404 page not found');
    expect(await lane.running).toBe('gone');
  });

  test('that upstream ends at once, again and again, does not spin', async () => {
    const lane = started();
    await listed(lane).then((stream) => stream.end());
    await lane.upstream.next().then((request) => request.stream().end());
    await turns();
    const asked = lane.upstream.requests.length;
    await lane.clock.advanceAsync(99);
    expect(lane.upstream.requests).toHaveLength(asked);
    await lane.clock.advanceAsync(1);
    await until(() => lane.upstream.requests.length === asked + 1);
  });
});

test('closing it ends the request, and who waits for it to open is told', async () => {
  const lane = started();
  const request = await lane.upstream.next();
  const opened = rejection(lane.reflector.opened);
  lane.abort.abort();
  expect(await lane.running).toBe('closed');
  expect(request.signal.aborted).toBe(true);
  expect(await opened).toMatchObject({ status: { code: 429 } });
});

describe('a history that another ingest began', () => {
  test.each([
    ['goes on with a new listing', undefined, 7],
    ['of a custom resource, maybe of another definition, does not (W19)', () => Promise.resolve(true), 8],
  ])('%s', async (_, stands, epoch) => {
    const lane = started(undefined, stands);
    await listed(lane);
    await lane.reflector.rewind({ epoch: 7, rv: 20 });
    (await lane.upstream.next()).refuse(410, { reason: 'Expired' });
    (await lane.upstream.next()).listing(30, [pod('a', 25)]);
    await until(() => lane.follower.seen.length > 1);
    expect(lane.publisher.epoch).toBe(epoch);
  });
});
