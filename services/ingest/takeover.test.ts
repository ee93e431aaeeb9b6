import { describe, expect, onTestFinished, test } from 'vitest';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { pod } from '@dogwatch/watch/test-objects.ts';
import { WHOLE_VERSION } from '@dogwatch/watch/watch-cache.ts';
import { KEY, type TestMember, TestRealm } from './test-realm.ts';
import { PODS, type TestStream, rejection, turns, until } from './test-upstream.ts';

const TRACK = trackOf(PODS);
const whole = (rv: number) => ({ rv, index: WHOLE_VERSION });

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

/** The leader stands still, as a process that was paused: neither table nor upstream reach it. */
async function pause({ all, leader }: Awaited<ReturnType<typeof led>>): Promise<void> {
  leader.control.reachable = false;
  all.living.delete(leader.name);
  await all.expire();
}

describe('a takeover', () => {
  test('goes on from the ring: nothing is lost, and nothing listed', async () => {
    const at = await led();
    const { all, follower, stream, watch, standby } = at;
    stream.send('MODIFIED', pod('a', 11));
    await until(() => follower.cache.watermark === 11);
    const epoch = all.entry.lanes[0]!.epoch;
    const other = watch.stream();
    other.send('MODIFIED', pod('a', 11));
    other.send('MODIFIED', pod('b', 12));
    other.send('DELETED', pod('a', 13));
    await pause(at);
    await until(() => follower.cache.watermark === 13);
    other.send('ADDED', pod('c', 14));
    await until(() => follower.cache.watermark === 14);
    expect(follower.since(10)).toEqual(['MODIFIED a@11', 'MODIFIED b@12', 'DELETED a@13', 'ADDED c@14']);
    expect(all.entry).toMatchObject({ holder: 'b', lanes: [{ epoch }] });
    expect(standby.upstream.requests).toHaveLength(1);
    expect([await standby.metric('upstream_listings_total'), await standby.metric('takeovers_total')]).toEqual([0, 1]);
    expect(all.log.told(TRACK).slice(0, 2)).toEqual(['listing 10', 'batch 11']);
    expect(all.log.told(TRACK).at(-1)).toBe('batch 14');
  });

  test('happens at once when the leader ends cleanly', async () => {
    const { all, follower, watch, leader } = await led();
    const other = watch.stream();
    await leader.stop();
    await all.clock.advanceAsync(50);
    other.send('MODIFIED', pod('a', 11));
    await until(() => follower.cache.watermark === 11);
    expect(all.entry.holder).toBe('b');
  });

  test('is noticed by the one that was paused: its log refuses, and it stands by', async () => {
    const at = await led();
    const { all, follower, leader, stream, watch } = at;
    const other = watch.stream();
    await pause(at);
    stream.send('MODIFIED', pod('a', 11));
    await turns();
    expect(all.log.told(TRACK)).toEqual(['listing 10']);
    // What it published was a fact, which followers have from both.
    other.send('MODIFIED', pod('a', 11));
    other.send('MODIFIED', pod('b', 12));
    await until(() => follower.cache.watermark === 12);
    expect(await leader.metric('lanes_led')).toBe(0);
    stream.send('MODIFIED', pod('b', 12));
    stream.send('MODIFIED', pod('b', 13));
    await turns();
    expect(follower.cache.watermark).toBe(12);
    leader.control.reachable = true;
    await all.clock.advanceAsync(1_000);
    expect(await rejection(leader.ask('repair', { lane: PODS }))).toMatchObject({
      status: { message: 'a does not lead pods: b does' },
    });
    expect([await leader.metric('lanes'), await leader.metric('lanes_led')]).toEqual([1, 0]);
  });

  test('where the ring does not reach the end of the log reads upstream from there', async () => {
    const at = await led({ ringBytesMax: 1_500 });
    const { follower, stream, watch, standby, all } = at;
    const stall = Promise.withResolvers<void>();
    all.log.stalled = stall.promise;
    const other = watch.stream();
    for (let rv = 11; rv < 30; rv++) {
      stream.send('MODIFIED', pod('a', rv));
      other.send('MODIFIED', pod('a', rv));
      await until(() => follower.cache.watermark === rv);
    }
    await pause(at);
    const again = await standby.upstream.next();
    expect([again.isWatchList, again.from]).toEqual([false, 10]);
    const resumed = again.stream();
    for (let rv = 11; rv < 31; rv++) resumed.send('MODIFIED', pod('a', rv));
    await until(() => follower.cache.watermark === 30);
    stall.resolve();
    await until(() => all.log.told(TRACK).at(-1) === 'batch 30');
    expect(await standby.metric('upstream_listings_total')).toBe(0);
  });

  test('that upstream cannot continue either is a repair in the same history', async () => {
    const at = await led({ ringBytesMax: 1_500 });
    const { follower, stream, watch, standby, all } = at;
    all.log.stalled = Promise.withResolvers<void>().promise;
    const other = watch.stream();
    for (let rv = 11; rv < 30; rv++) {
      stream.send('MODIFIED', pod('a', rv));
      other.send('MODIFIED', pod('a', rv));
      await until(() => follower.cache.watermark === rv);
    }
    await pause(at);
    all.log.stalled = undefined;
    (await standby.upstream.next()).refuse(410, { reason: 'Expired' });
    (await standby.upstream.next()).listing(40, [pod('a', 29), pod('c', 35)]);
    await until(() => follower.cache.watermark === 40);
    expect(new Set(follower.seen.map((it) => it.split(' ')[1])).size).toBe(1);
    expect(follower.since(29)).toEqual(['DELETED b@29', 'ADDED c@35']);
  });

  test('of a log that was lost goes on from what was published, if the ring has that', async () => {
    const at = await led();
    const { all, follower, stream, watch, standby } = at;
    const other = watch.stream();
    stream.send('MODIFIED', pod('a', 11));
    other.send('MODIFIED', pod('a', 11));
    other.send('MODIFIED', pod('a', 12));
    await until(() => follower.cache.watermark === 11);
    await all.clock.advanceAsync(1_000);
    all.log.wipe();
    await pause(at);
    await until(() => follower.cache.watermark === 12);
    expect(await standby.metric('upstream_listings_total')).toBe(0);
    expect(all.log.told(TRACK)).toEqual(['batch 12']);
  });

  test('of a history whose beginning nobody was told of lists it', async () => {
    const at = await led();
    const { all, follower, standby, watch } = at;
    // The leader declared a new epoch, and died before it could publish.
    watch.stream();
    const { lanes } = all.entry;
    const epoch = lanes[0]!.epoch + 1;
    all.table.change(KEY, { holder: 'a', lanes: [{ ...lanes[0]!, epoch, rv: 4 }] }, undefined);
    const again = await standby.upstream.next();
    expect(again.from).toBe(4);
    again.stream();
    await pause(at);
    (await standby.upstream.next()).listing(5, [pod('a', 2)]);
    await until(() => follower.seen.at(-1) === `listing ${epoch}`);
    expect(follower.cache.size).toBe(1);
  });
});

describe('starting over', () => {
  test('all ingests at once resumes every lane from the log, and lists nothing', async () => {
    const { all, leader, standby, stream, follower } = await led();
    stream.send('MODIFIED', pod('a', 11));
    await until(() => follower.cache.watermark === 11);
    await leader.stop();
    await standby.stop();
    await all.clock.advanceAsync(5_000);
    const next = all.start('c');
    await all.expire();
    const watch = await next.upstream.next();
    expect([watch.isWatchList, watch.from]).toEqual([false, 10]);
    expect(await next.ask('open', { lane: PODS })).toEqual({ partitions: 1 });
    const resumed = watch.stream();
    resumed.send('MODIFIED', pod('a', 11));
    resumed.send('MODIFIED', pod('a', 12));
    await until(() => follower.cache.watermark === 12);
    expect(await next.metric('upstream_listings_total')).toBe(0);
  });

  test('is the first thing asked for: whoever is asked takes what nobody leads', async () => {
    const { all, leader, standby } = await led();
    await standby.stop();
    await leader.stop();
    const next = all.start('c');
    await turns();
    const open = next.ask('open', { lane: PODS });
    await all.clock.advanceAsync(100);
    expect(await open).toEqual({ partitions: 1 });
  });
});

test('partitions: a takeover goes on in each from its own end', async () => {
  const all = realm();
  const followers = [0, 1, 2, 3].map((partition) => all.follow(partition));
  const leader = all.start('a', { partitions: () => 4 });
  const standby = all.start('b', { partitions: () => 4 });
  await turns();
  const spaces = Array.from({ length: 12 }, (_, i) => `ns${i}`);
  const open = leader.ask('open', { lane: PODS });
  const stream = (await leader.upstream.next()).listing(10, []);
  expect(await open).toEqual({ partitions: 4 });
  const other = (await standby.upstream.next()).stream();
  const added = spaces.map((namespace, i) => pod('a', 11 + i, { namespace }));
  stream.send('ADDED', ...added.slice(0, 6));
  other.send('ADDED', ...added);
  await turns();
  await all.clock.advanceAsync(20);
  expect(followers.map(({ cache }) => cache.watermark)).toEqual([16, 16, 16, 16]);
  leader.control.reachable = false;
  all.living.delete('a');
  await all.expire();
  await all.clock.advanceAsync(20);
  expect(followers.map(({ cache }) => cache.watermark)).toEqual([22, 22, 22, 22]);
  expect(followers.reduce((sum, { cache }) => sum + cache.size, 0)).toBe(12);
  expect(standby.upstream.requests).toHaveLength(1);
  const state = await standby.ask('sync', {
    lane: PODS,
    partition: 0,
    from: { epoch: all.entry.lanes[0]!.epoch, position: whole(10) },
  });
  expect(state.changes).toHaveLength(followers[0]!.cache.size);
});
