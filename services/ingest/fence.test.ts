import { readFileSync } from 'node:fs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import { createCounters } from './counters.ts';
import { Fence } from './fence.ts';
import { Follower, POD_TYPE, leadingPublisher, silent } from './test-lane.ts';
import { PODS, type TestRequest, type TestStream, TestUpstream, turns, until, rejection } from './test-upstream.ts';

function started(rv = 10) {
  const bus = new MemoryBus();
  const clock = createFakeClock();
  const upstream = new TestUpstream();
  const publisher = leadingPublisher(bus);
  const follower = new Follower(bus, 't');
  const counters = createCounters();
  const abort = new AbortController();
  void publisher.listing({ ...POD_TYPE, bookmark: undefined, warnings: [] }, { rv, objects: [pod('a', 5)] }, true);
  const fence = new Fence({ upstream, lane: PODS, publisher, clock, log: silent, counters, signal: abort.signal });
  onTestFinished(async () => {
    abort.abort();
    await turns();
    expect(clock.pending).toBe(0);
  });
  const read = (...objects: ReturnType<typeof pod>[]): void => {
    for (const object of objects) publisher.change(change('MODIFIED', object));
  };
  return { clock, upstream, publisher, follower, counters, abort, fence, read, cache: follower.cache };
}

/** Answers the probe with `rv`, and gives what `raise` gives. */
async function probed(lane: ReturnType<typeof started>, rv: number): Promise<number> {
  const raised = lane.fence.raise();
  const probe = await lane.upstream.next();
  probe.page(rv, []);
  return await raised;
}

/** The verification watch that follows a probe the lane has not reached. */
async function verification(lane: ReturnType<typeof started>): Promise<{ request: TestRequest; stream: TestStream }> {
  await lane.clock.advanceAsync(20);
  const request = await lane.upstream.next();
  return { request, stream: request.stream() };
}

describe('the probe', () => {
  test('is a consistent list of at most one object, whatever the size of the lane', async () => {
    const lane = started();
    const raised = lane.fence.raise();
    const probe = await lane.upstream.next();
    expect(probe.isWatch).toBe(false);
    expect(probe.query.toString(), 'no resourceVersion').toBe('limit=1');
    probe.page(12, [pod('a', 5)], 'more');
    expect(await raised).toBe(12);
  });

  test('that nobody wants to wait for leaves the lane alone', async () => {
    const lane = started();
    const probed = lane.fence.probe();
    (await lane.upstream.next()).page(15, []);
    expect(await probed).toBe(15);
    await lane.clock.advanceAsync(1_000);
    expect(lane.upstream.requests).toHaveLength(1);
  });

  test('I6: older than what was read before proves that upstream was restored: nothing held is fresh, and all is listed', async () => {
    const lane = started();
    lane.read(pod('a', 40));
    const lost: string[] = [];
    lane.publisher.onLost = (reason) => lost.push(reason);
    const raised = rejection(lane.fence.raise());
    (await lane.upstream.next()).page(39, []);
    expect(await raised).toMatchObject({ status: { code: 503 } });
    expect(lost).toHaveLength(1);
    // What is read while a list is under way may well be newer.
    const next = lane.fence.raise();
    const probe = await lane.upstream.next();
    lane.read(pod('a', 50));
    probe.page(41, []);
    expect(await next).toBe(41);
    expect(lost).toHaveLength(1);
  });

  test('I6: is shared by who asks before it leaves, and not by who asks after', async () => {
    const lane = started();
    const early = [lane.fence.raise(), lane.fence.raise()];
    const first = await lane.upstream.next();
    const late = lane.fence.raise();
    first.page(12, []);
    expect(await Promise.all(early)).toEqual([12, 12]);
    (await lane.upstream.next()).page(14, []);
    expect(await late).toBe(14);
    expect(lane.counters.fences).toBe(2);
  });

  test.each([403, 410, 422, 429, 500])(
    'that upstream refuses (%i) is told, and the next is made anew',
    async (code) => {
      const lane = started();
      const raised = rejection(lane.fence.raise());
      (await lane.upstream.next()).refuse(code);
      expect(await raised).toMatchObject({ status: { code } });
      expect(await probed(lane, 12)).toBe(12);
    },
  );

  test('that is cut short, breaks or brings garbage gives no version', async () => {
    const lane = started();
    for (const [spoil, message] of [
      [(stream: TestStream) => stream.end(), 'malformed'],
      [(stream: TestStream) => stream.break(), 'connection lost'],
      [(stream: TestStream) => stream.raw('garbage\n'), 'malformed'],
    ] as const) {
      const raised = rejection(lane.fence.raise());
      spoil((await lane.upstream.next()).stream());
      expect(await raised).toMatchObject({ message: expect.stringContaining(message) });
    }
  });
});

describe('a quiet lane', () => {
  test('is verified from the version it holds, and its watermark moves', async () => {
    const lane = started();
    await probed(lane, 15);
    const { request, stream } = await verification(lane);
    expect(request.from).toBe(10);
    expect(request.query.get('timeoutSeconds')).toBe('3');
    stream.bookmark(17);
    await until(() => lane.cache.settled === 17);
    expect(stream.cancelled).toBe(true);
    expect(lane.counters.verifications).toBe(1);
  });

  test('that gets there by itself is not verified', async () => {
    const lane = started();
    await probed(lane, 15);
    lane.read(pod('a', 16));
    await lane.clock.advanceAsync(20);
    expect(lane.upstream.requests).toHaveLength(1);
  });

  test('I4: is vouched for only once it has read everything that the verification has shown', async () => {
    const lane = started();
    await probed(lane, 15);
    const { stream } = await verification(lane);
    stream.send('MODIFIED', pod('a', 12), pod('b', 13));
    stream.bookmark(16);
    await lane.clock.advanceAsync(50);
    lane.read(pod('a', 12));
    await lane.clock.advanceAsync(50);
    expect(lane.cache.watermark).toBe(12);
    lane.read(pod('b', 13));
    await lane.clock.advanceAsync(5);
    expect(lane.cache.watermark).toBe(16);
  });

  test('I4: late events of the version it holds are not taken for those that the verification has shown', async () => {
    const lane = started();
    lane.read(pod('a', 12));
    await turns();
    await probed(lane, 15);
    const { request, stream } = await verification(lane);
    // A part of 12 may be missing, so the verification begins before it.
    expect(request.from).toBe(11);
    stream.send('MODIFIED', pod('a', 12), pod('b', 12), pod('c', 13));
    stream.bookmark(16);
    lane.read(pod('b', 12));
    await lane.clock.advanceAsync(50);
    expect(lane.cache.watermark, '13 is not read yet').toBe(12);
    lane.read(pod('c', 13));
    await lane.clock.advanceAsync(5);
    expect(lane.cache.settled).toBe(16);
    expect(lane.follower.since(10)).toEqual(['MODIFIED a@12', 'MODIFIED b@12', 'MODIFIED c@13']);
  });

  test('is not vouched for by a verification from before its history was lost', async () => {
    const lane = started();
    await probed(lane, 15);
    const { stream } = await verification(lane);
    lane.publisher.interrupt();
    stream.bookmark(40);
    await turns();
    expect(lane.publisher.rv).toBe(10);
    // Else this listing would look like a history that went backwards.
    void lane.publisher.listing({ ...POD_TYPE, bookmark: undefined, warnings: [] }, { rv: 30, objects: [] }, false);
    expect(lane.follower.seen).not.toContain('listing 2');
  });

  test('is not vouched for by a verification of another epoch', async () => {
    const lane = started();
    await probed(lane, 15);
    const { stream } = await verification(lane);
    void lane.publisher.listing({ ...POD_TYPE, bookmark: undefined, warnings: [] }, { rv: 4, objects: [] }, true);
    stream.bookmark(40);
    await turns();
    await lane.clock.advanceAsync(100);
    expect(lane.publisher.rv).toBe(4);
  });

  test('is verified again for who asks meanwhile, as long as that brings something', async () => {
    const lane = started();
    await probed(lane, 11);
    for (let rv = 11; rv < 20; rv++) {
      const { stream } = await verification(lane);
      await probed(lane, rv + 1);
      stream.bookmark(rv);
      await until(() => lane.publisher.rv === rv);
    }
    (await verification(lane)).stream.bookmark(20);
    await until(() => lane.publisher.rv === 20);
    await lane.clock.advanceAsync(100);
    expect(lane.counters.verifications).toBe(10);
  });

  test('is left alone after three verifications that bring nothing, until somebody asks again', async () => {
    const lane = started();
    await probed(lane, 15);
    for (let i = 0; i < 3; i++) (await verification(lane)).stream.end();
    await turns();
    await lane.clock.advanceAsync(10_000);
    expect(lane.counters.verifications).toBe(3);
    await probed(lane, 15);
    (await verification(lane)).stream.bookmark(15);
    await until(() => lane.publisher.rv === 15);
  });

  test.each(['refused', 'expired', 'broken'] as const)('whose verification is %s moves nowhere', async (how) => {
    const lane = started();
    await probed(lane, 15);
    await lane.clock.advanceAsync(20);
    const request = await lane.upstream.next();
    if (how === 'refused') request.refuse(410);
    else if (how === 'expired') request.stream().error(410);
    else request.stream().break();
    await turns();
    expect(lane.publisher.rv).toBe(10);
    await probed(lane, 15);
    (await verification(lane)).stream.bookmark(15);
    await until(() => lane.publisher.rv === 15);
  });

  test('that is closed meanwhile leaves nothing behind', async () => {
    const lane = started();
    await probed(lane, 15);
    const { stream } = await verification(lane);
    stream.send('MODIFIED', pod('a', 12));
    stream.bookmark(16);
    await lane.clock.advanceAsync(10);
    lane.abort.abort();
    await turns();
    expect(lane.clock.pending).toBe(0);
    expect(lane.publisher.rv).toBe(10);
  });
});

describe('the inventory', () => {
  test('is names and versions alone, at the version of the list', async () => {
    const lane = started();
    const asked = lane.fence.inventory();
    const request = await lane.upstream.next();
    expect(request.accept).toContain('as=PartialObjectMetadataList');
    expect(request.query.get('resourceVersion'), 'consistent').toBeNull();
    request.page(12, [pod('a', 5), pod('b', 7, { namespace: 'other' })]);
    const { rv, objects, more } = await asked;
    expect([rv, more]).toEqual([12, undefined]);
    expect([...objects]).toEqual([
      ['default/a', { uid: 'uid-a', rv: 5 }],
      ['other/b', { uid: 'uid-b', rv: 7 }],
    ]);
  });

  test('of a part asks for that alone, and says if there is more', async () => {
    const lane = started();
    const part = { namespace: 'kube-system', labelSelector: 'a in (b,c)', fieldSelector: 'spec.nodeName=n', limit: 2 };
    const asked = lane.fence.inventory(part);
    const request = await lane.upstream.next();
    expect(request.path).toBe('/api/v1/namespaces/kube-system/pods');
    expect(Object.fromEntries(request.query)).toEqual({
      labelSelector: 'a in (b,c)',
      fieldSelector: 'spec.nodeName=n',
      limit: '2',
    });
    request.page(12, [pod('a', 5), pod('b', 7)], 'token');
    expect(await asked).toMatchObject({ rv: 12, more: true });
  });

  test('is shared by who asks for the same before it leaves', async () => {
    const lane = started();
    const whole = [lane.fence.inventory(), lane.fence.inventory()];
    const part = lane.fence.inventory({ namespace: 'a', labelSelector: '', fieldSelector: '', limit: 0 });
    const first = await lane.upstream.next();
    const second = await lane.upstream.next();
    const late = [lane.fence.inventory(), lane.fence.inventory()];
    first.page(12, []);
    second.page(13, []);
    expect((await Promise.all([...whole, part])).map(({ rv }) => rv)).toEqual([12, 12, 13]);
    (await lane.upstream.next()).page(14, []);
    expect((await Promise.all(late)).map(({ rv }) => rv)).toEqual([14, 14]);
    expect(lane.counters.fences).toBe(3);
  });

  test('is read as protobuf where upstream gives it as that', async () => {
    const lane = started();
    const asked = lane.fence.inventory();
    const recorded = (encoding: string): Buffer =>
      readFileSync(new URL(`../../libs/kube/testdata/leases-metadata-list-${encoding}.raw`, import.meta.url));
    const protobuf = (await lane.upstream.next()).stream({ 'content-type': 'application/vnd.kubernetes.protobuf' });
    protobuf.raw(recorded('protobuf'));
    protobuf.end();
    const again = lane.fence.inventory();
    const json = (await lane.upstream.next()).stream({ 'content-type': 'application/json' });
    json.raw(recorded('json'));
    json.end();
    const { rv, objects } = await asked;
    expect(objects.size).toBeGreaterThan(0);
    expect([...objects.values()].every((object) => object.uid.length === 36 && object.rv <= rv)).toBe(true);
    expect((await again).objects).toEqual(objects);
  });

  test('that is cut short is none', async () => {
    const lane = started();
    const asked = rejection(lane.fence.inventory());
    const stream = (await lane.upstream.next()).stream();
    stream.raw('{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"12"},"items":[');
    stream.end();
    expect(await asked).toMatchObject({ message: expect.stringContaining('malformed') });
  });
});
