import { describe, expect, onTestFinished, test } from 'vitest';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createMetrics } from '@dogwatch/process/metrics.ts';
import type { Discovery, ResourceInfo } from '@dogwatch/upstream/discovery.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { pod } from '@dogwatch/watch/test-objects.ts';
import { Ingest } from './ingest.ts';
import { SoloReigns } from './reigns.ts';
import { silent } from './test-lane.ts';
import { PODS, TestUpstream, turns, until, rejection } from './test-upstream.ts';

const INFO: ResourceInfo = { kind: 'Pod', namespaced: true, watchable: true, local: true, custom: false };
const NODES = { ...PODS, resource: 'nodes' };

function started(maxLanes = 10) {
  const bus = new MemoryBus();
  const clock = createFakeClock();
  const upstream = new TestUpstream();
  const metrics = createMetrics();
  const lookup = { answer: (): Promise<ResourceInfo | undefined> => Promise.resolve(INFO) };
  const discovery = { lookup: () => lookup.answer() } as unknown as Discovery;
  const reigns = new SoloReigns();
  const deps = { bus, upstream, discovery, reigns, clock, log: silent, metrics, random: () => 1 };
  const ingest = new Ingest(deps, { maxLanes });
  const abort = new AbortController();
  const running = ingest.run(abort.signal);
  const envelopes: Envelope[] = [];
  bus.follow(trackOf(PODS), (envelope) => envelopes.push(envelope));
  const stop = async (): Promise<void> => {
    abort.abort();
    await running;
    expect(clock.pending).toBe(0);
  };
  onTestFinished(stop);
  return { bus, clock, upstream, metrics, lookup, envelopes, stop, abort };
}

async function opened(lane: ReturnType<typeof started>) {
  const open = lane.bus.request('open', { lane: PODS });
  const stream = (await lane.upstream.next()).listing(10, [pod('a', 5)]);
  await open;
  return stream;
}

describe('opening a lane', () => {
  test('replies once its listing is published; one request upstream for all who ask', async () => {
    const at = started();
    const opens = [1, 2, 3].map(() => at.bus.request('open', { lane: PODS }));
    const request = await at.upstream.next();
    expect(at.envelopes).toEqual([]);
    request.listing(10, [pod('a', 5)]);
    await Promise.all(opens);
    expect(at.envelopes.map(({ kind }) => kind)).toEqual(['listing']);
    await at.bus.request('open', { lane: PODS });
    expect(at.upstream.requests).toHaveLength(1);
  });

  test('is refused at the bound (429)', async () => {
    const at = started(1);
    await opened(at);
    await expect(at.bus.request('open', { lane: NODES })).rejects.toMatchObject({ status: { code: 429 } });
  });

  test("that upstream refuses is told in upstream's words, and can be tried again", async () => {
    const at = started();
    const open = rejection(at.bus.request('open', { lane: PODS }));
    (await at.upstream.next()).refuse(403);
    expect(await open).toMatchObject({ status: { code: 403 } });
    await turns();
    await opened(at);
  });

  test('of a resource that upstream does not have is a 404', async () => {
    const at = started();
    at.lookup.answer = () => Promise.resolve(undefined);
    await expect(at.bus.request('open', { lane: PODS })).rejects.toMatchObject({ status: { code: 404 } });
  });

  test('while upstream cannot be asked is a 503, never a crash', async () => {
    const at = started();
    at.lookup.answer = () => Promise.reject(new Error('ECONNREFUSED'));
    await expect(at.bus.request('open', { lane: PODS })).rejects.toMatchObject({ status: { code: 503 } });
  });

  test('lists one lane at a time', async () => {
    const at = started();
    const pods = at.bus.request('open', { lane: PODS });
    const nodes = at.bus.request('open', { lane: NODES });
    const first = await at.upstream.next();
    await turns();
    expect(at.upstream.requests).toHaveLength(1);
    first.listing(10, []);
    await pods;
    (await at.upstream.next()).listing(11, []);
    await nodes;
  });
});

describe('closing a lane', () => {
  test('ends its watch upstream, and tells nobody that it ended', async () => {
    const at = started();
    const stream = await opened(at);
    await at.bus.request('close', { lane: PODS });
    expect(stream.cancelled).toBe(true);
    expect(at.envelopes.map(({ kind }) => kind)).toEqual(['listing']);
    await expect(at.bus.request('fence', { lane: PODS, inventory: false })).rejects.toMatchObject({
      status: { code: 429 },
    });
  });

  test('and opening it in the same moment lists it anew for whoever follows now', async () => {
    const at = started();
    await opened(at);
    const close = at.bus.request('close', { lane: PODS });
    const open = at.bus.request('open', { lane: PODS });
    (await at.upstream.next()).listing(20, [pod('a', 15)]);
    await Promise.all([close, open]);
    expect(at.envelopes.map(({ kind }) => kind)).toEqual(['listing', 'listing']);
  });

  test('that is not open is nothing', async () => {
    await expect(started().bus.request('close', { lane: PODS })).resolves.toBeUndefined();
  });

  test('of a resource that is gone tells the followers, who may open it at once', async () => {
    const at = started();
    (await opened(at)).error(404);
    let again: Promise<unknown> | undefined;
    at.bus.follow(trackOf(PODS), ({ kind }) => {
      if (kind === 'end') again = at.bus.request('open', { lane: PODS });
    });
    const request = await at.upstream.next();
    request.listing(20, []);
    await again;
    expect(at.envelopes.map(({ kind }) => kind)).toEqual(['listing', 'end', 'listing']);
  });
});

describe('requests about an open lane', () => {
  test('a fence is raised, or an inventory made', async () => {
    const at = started();
    await opened(at);
    const raised = at.bus.request('fence', { lane: PODS, inventory: false });
    (await at.upstream.next()).page(10, []);
    expect(await raised).toEqual({ rv: 10, inventory: undefined });
    const listed = at.bus.request('fence', { lane: PODS, inventory: true });
    (await at.upstream.next()).page(12, [pod('a', 5)]);
    expect((await listed).rv).toBe(12);
  });

  test('I6: a fence is of the history the follower holds, or there is none (503)', async () => {
    const at = started();
    await opened(at);
    const other = at.bus.request('fence', { lane: PODS, inventory: false, epoch: 2 });
    await expect(other).rejects.toMatchObject({ status: { code: 503 } });
    expect(at.upstream.requests).toHaveLength(1);
    const same = at.bus.request('fence', { lane: PODS, inventory: false, epoch: 1, moving: true });
    (await at.upstream.next()).page(12, []);
    expect(await same).toEqual({ rv: 12, inventory: undefined });
    await at.clock.advanceAsync(1_000);
    expect(at.upstream.requests, 'a lane on the move is not verified').toHaveLength(2);
    // It is restored while upstream is asked: what that says may be of the other history.
    const late = rejection(at.bus.request('fence', { lane: PODS, inventory: true, epoch: 1 }));
    const inventory = await at.upstream.next();
    await at.bus.request('repair', { lane: PODS });
    (await at.upstream.next()).listing(4, []);
    await until(() => at.envelopes.some(({ epoch }) => epoch === 2));
    inventory.page(12, []);
    expect(await late).toMatchObject({ status: { code: 503 } });
  });

  test('what upstream refuses to dogwatch itself (401) is a 503 to whoever asked', async () => {
    const at = started();
    await opened(at);
    for (const kind of ['fence', 'backfill'] as const) {
      const asked =
        kind === 'fence'
          ? at.bus.request('fence', { lane: PODS, inventory: true })
          : at.bus.request('backfill', { lane: PODS, from: 1, to: 10 });
      const rejected = rejection(asked);
      (await at.upstream.next()).refuse(401);
      expect(await rejected).toMatchObject({ status: { code: 503 } });
    }
  });

  test('at most two backfills read at once', async () => {
    const at = started();
    await opened(at);
    const asked = [1, 2, 3].map((from) => at.bus.request('backfill', { lane: PODS, from, to: 10 }));
    const first = await at.upstream.next();
    await at.upstream.next();
    await turns();
    expect(at.upstream.requests).toHaveLength(3);
    first.stream().bookmark(10);
    (await at.upstream.next()).refuse(410);
    at.upstream.requests[2]!.refuse(410);
    expect(await Promise.all(asked)).toEqual([[], undefined, undefined]);
  });

  test('a repair lists anew', async () => {
    const at = started();
    await opened(at);
    await at.bus.request('repair', { lane: PODS });
    (await at.upstream.next()).listing(15, []);
    await until(() => at.envelopes.length === 2);
    expect(at.envelopes.map(({ kind, epoch }) => `${kind} ${epoch}`)).toEqual(['listing 1', 'listing 1']);
  });
});

test('I10: a quiet lane is probed and verified every minute; a busy one is not', async () => {
  const at = started();
  const stream = await opened(at);
  await at.clock.advanceAsync(60_000);
  for (const rv of [20, 30]) {
    const probe = await at.upstream.next();
    expect(probe.query.toString()).toBe('limit=1');
    probe.page(rv, []);
    await turns();
    await at.clock.advanceAsync(20);
    (await at.upstream.next()).stream().bookmark(rv);
    await until(() => at.envelopes.at(-1)!.kind === 'watermark');
    await at.clock.advanceAsync(59_980);
  }
  (await at.upstream.next()).page(30, []);
  const asked = at.upstream.requests.length;
  stream.send('MODIFIED', pod('a', 31));
  await turns();
  await at.clock.advanceAsync(60_000);
  expect(at.upstream.requests).toHaveLength(asked);
});

test('stopping closes every lane, and answers nobody any more', async () => {
  const at = started();
  const stream = await opened(at);
  const opening = rejection(at.bus.request('open', { lane: NODES }));
  await at.upstream.next();
  await at.stop();
  expect(await opening).toMatchObject({ status: { code: 429 } });
  expect(stream.cancelled).toBe(true);
  await expect(at.bus.request('open', { lane: PODS })).rejects.toMatchObject({ code: 'NoResponder' });
});
