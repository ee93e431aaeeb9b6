import { describe, expect, onTestFinished, test } from 'vitest';
import { ownersOf } from '@dogwatch/bus/ownership.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { pod } from '@dogwatch/watch/test-objects.ts';
import { KEY, type TestMember, TestRealm } from './test-realm.ts';
import { PODS, type TestStream, rejection, turns, until } from './test-upstream.ts';

const TRACK = trackOf(PODS);
function realm(): TestRealm {
  const made = new TestRealm();
  onTestFinished(async () => {
    await made.stop();
    expect(made.clock.pending).toBe(0);
  });
  return made;
}

/** Opens pods at the member, listed at 10; resolves with the stream of its watch. */
async function opened(member: TestMember): Promise<TestStream> {
  const open = member.ask('open', { lane: PODS });
  const stream = (await member.upstream.next()).listing(10, [pod('a', 5), pod('b', 6)]);
  await open;
  return stream;
}

/** Two ingests: the first leads pods, listed at 10, the second stands by. */
async function led(options: Parameters<TestRealm['start']>[1] = {}) {
  const all = realm();
  const follower = all.follow();
  const leader = all.start('a', options);
  await turns();
  const standby = all.start('b', options);
  await turns();
  const stream = await opened(leader);
  const watch = await standby.upstream.next();
  return { all, follower, leader, standby, stream, watch };
}

describe('a leader', () => {
  test('is whoever is asked first; the directory says what it reads, and others say who leads', async () => {
    const { all, standby } = await led();
    expect(all.entry).toMatchObject({
      holder: 'a',
      lanes: [{ version: 'v1', encoding: 'json', view: 'object', partitions: 1, rv: 10 }],
    });
    for (const kind of ['open', 'repair'] as const) {
      const refused = await rejection(standby.ask(kind, { lane: PODS }));
      expect(refused).toMatchObject({ status: { code: 503, message: 'b does not lead pods: a does' } });
    }
    const sync = { lane: PODS, partition: 0, from: undefined };
    expect(await rejection(standby.ask('sync', sync))).toMatchObject({ status: { code: 503 } });
  });

  test('publishes nothing of a lane before the table knows its epoch', async () => {
    const all = realm();
    const follower = all.follow();
    const leader = all.start('a');
    await turns();
    const open = leader.ask('open', { lane: PODS });
    const request = await leader.upstream.next();
    all.table.available = false;
    const stream = request.listing(10, [pod('a', 5)]);
    stream.send('MODIFIED', pod('a', 11));
    await all.clock.advanceAsync(1_000);
    expect(follower.seen).toEqual([]);
    all.table.available = true;
    await all.clock.advanceAsync(1_000);
    expect(await open).toEqual({ partitions: 1 });
    expect(follower.cache.get('default/a')?.rv).toBe(11);
    expect(all.entry.lanes[0]!.epoch).toBe(Number(follower.seen[0]!.split(' ')[1]));
  });

  test('appends behind the live path what it publishes, and goes on while the log stands still', async () => {
    const { all, follower, stream } = await led();
    const stall = Promise.withResolvers<void>();
    all.log.stalled = stall.promise;
    for (const rv of [11, 12, 13]) {
      stream.send('MODIFIED', pod('a', rv));
      await until(() => follower.cache.watermark === rv);
    }
    expect(all.log.told(TRACK)).toEqual(['listing 10']);
    stall.resolve();
    await until(() => all.log.told(TRACK).at(-1) === 'batch 13');
  });

  test('goes on publishing while the control table is away', async () => {
    const { all, follower, stream } = await led();
    all.table.available = false;
    await all.expire();
    stream.send('MODIFIED', pod('a', 11));
    await until(() => follower.cache.watermark === 11);
    expect(follower.seen).toHaveLength(2);
  });

  test('answers followers from what it keeps, and says what it does not (410)', async () => {
    const { all, leader, stream, follower } = await led();
    const { epoch } = all.entry.lanes[0]!;
    stream.send('MODIFIED', pod('a', 11), pod('a', 12));
    await until(() => follower.cache.watermark === 12);
    const ask = (from: { epoch: number; position: { rv: number; index: number } } | undefined) =>
      leader.ask('sync', { lane: PODS, partition: 0, from });
    expect(await ask({ epoch, position: { rv: 11, index: 0 } })).toMatchObject({ kind: 'changes', epoch });
    expect((await ask(undefined)).kind).toBe('state');
    await all.clock.advanceAsync(60_000);
    expect(await rejection(ask(undefined))).toMatchObject({ status: { code: 410 } });
  });

  test('closes a lane nobody asks for, and says so in the directory', async () => {
    const { all, leader, standby, stream } = await led({ laneIdleMs: 8_000 });
    await all.clock.advanceAsync(6_000);
    await leader.ask('open', { lane: PODS });
    await all.clock.advanceAsync(6_000);
    expect(stream.cancelled).toBe(false);
    await all.clock.advanceAsync(6_000);
    expect(stream.cancelled).toBe(true);
    expect(all.entry).toMatchObject({ holder: 'a', lanes: [] });
    expect(await standby.metric('lanes')).toBe(0);
  });

  test('tells the log every 5 s where a quiet track stands', async () => {
    const { all, stream, follower } = await led();
    stream.bookmark(20);
    await until(() => follower.cache.watermark === 20);
    await all.clock.advanceAsync(5_000);
    expect(all.log.told(TRACK)).toEqual(['listing 10', 'watermark 20']);
  });
});

describe('a standby', () => {
  test('reads from where the leader has published, without a list, and says nothing', async () => {
    const { watch, standby, follower } = await led();
    expect([watch.isWatch, watch.isWatchList, watch.from]).toEqual([true, false, 10]);
    watch.stream().send('MODIFIED', pod('a', 11));
    await turns();
    expect(follower.seen).toHaveLength(1);
    expect([await standby.metric('lanes'), await standby.metric('lanes_led')]).toEqual([1, 0]);
    expect(await standby.metric('ring_bytes')).toBeGreaterThan(0);
  });

  test('whose watch expired begins where the leader is now', async () => {
    const { all, watch, stream, follower, standby } = await led();
    stream.send('MODIFIED', pod('a', 50));
    stream.bookmark(60);
    await until(() => follower.cache.watermark === 60);
    await all.clock.advanceAsync(500);
    watch.refuse(410, { reason: 'Expired' });
    await all.clock.advanceAsync(1_000);
    const again = await standby.upstream.next();
    expect([again.isWatchList, again.from]).toEqual([false, 60]);
  });
});

describe('a leader of the lease', () => {
  test('whom the log disowns stops at once, shows that the lease is its own, and goes on where the log ends', async () => {
    const { all, follower, leader, stream } = await led();
    await all.log.campaign(TRACK);
    stream.send('MODIFIED', pod('a', 11));
    await turns();
    expect([follower.cache.watermark, await leader.metric('lanes_led')]).toEqual([11, 1]);
    stream.send('MODIFIED', pod('a', 12));
    await until(() => follower.cache.watermark === 12);
    expect(all.log.told(TRACK)).toEqual(['listing 10', 'batch 11', 'batch 12']);
    expect(await leader.metric('takeovers_total')).toBe(1);
    expect(all.entry.holder).toBe('a');
  });

  test('whose log was made anew leads it again, and appends what it still has', async () => {
    const { all, follower, stream } = await led();
    stream.send('MODIFIED', pod('a', 11));
    await until(() => follower.cache.watermark === 11);
    all.log.wipe();
    stream.send('MODIFIED', pod('a', 12));
    await turns();
    await all.clock.advanceAsync(200);
    expect(all.log.told(TRACK)).toEqual(['batch 12']);
    stream.send('MODIFIED', pod('a', 13));
    await until(() => follower.cache.watermark === 13);
  });
});

test('a lease that is free is taken by the ingest that is preferred for the resource', async () => {
  const { all, leader } = await led();
  for (const name of ['c', 'd']) all.start(name);
  await turns();
  const [preferred] = ownersOf(KEY, ['b', 'c', 'd']);
  await leader.stop();
  await all.clock.advanceAsync(100);
  expect(all.entry.holder).toBe(preferred);
});
