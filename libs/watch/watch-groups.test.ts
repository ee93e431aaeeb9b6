import { fnv1a64 } from '@dogwatch/kube/fnv1a64.ts';
import { describe, expect, test } from 'vitest';
import { change, interest, pod } from './test-objects.ts';
import { Lane } from './test-watchers.ts';

const HALVES = [
  "shardRange(object.metadata.uid, '0x0000000000000000', '0x8000000000000000')",
  "shardRange(object.metadata.uid, '0x8000000000000000', '0x10000000000000000')",
];

/** The shard of two that objects of this uid are in. */
function halfOf(uid: string): string {
  return HALVES[fnv1a64(uid).high < 2 ** 31 ? 0 : 1]!;
}

function otherHalf(half: string): string {
  return HALVES.find((shard) => shard !== half)!;
}

describe('what a watch is sent', () => {
  test('initial events in key order with their own versions, the end bookmark, then what comes', () => {
    const lane = new Lane({ rv: 10, objects: [pod('b', 3), pod('a', 9), pod('c', 1, { namespace: 'other' })] });
    const client = lane.initial(interest({ namespace: 'default' }));
    expect(client.received()).toEqual(['ADDED a@9', 'ADDED b@3', 'BOOKMARK @10']);
    lane.change(change('MODIFIED', pod('a', 11)), change('MODIFIED', pod('c', 12, { namespace: 'other' })));
    expect(client.received()).toEqual(['MODIFIED a@11']);
  });

  test('W15: entering a selector is ADDED, leaving it DELETED with the previous object at the new version', () => {
    const lane = new Lane({ rv: 10, objects: [] });
    const client = lane.resume(interest({ labels: 'app=web' }), 10);
    const web = { labels: { app: 'web' } };
    lane.change(
      change('ADDED', pod('a', 11)),
      change('MODIFIED', pod('a', 12, web)),
      change('MODIFIED', pod('a', 13, web)),
      change('MODIFIED', pod('a', 14, { labels: { app: 'db' } })),
      change('MODIFIED', pod('a', 15, web)),
      change('DELETED', pod('a', 16, web)),
    );
    expect(client.received()).toEqual(['ADDED a@12', 'MODIFIED a@13', 'DELETED a@14', 'ADDED a@15', 'DELETED a@16']);
  });

  test('an object that left a selector before a resume is told as gone', () => {
    const lane = new Lane({ rv: 10, objects: [pod('a', 5, { node: 'n1' })] });
    lane.change(change('MODIFIED', pod('a', 11, { node: 'n2' })));
    expect(lane.resume(interest({ fields: 'spec.nodeName=n1' }), 10).received()).toEqual(['DELETED a@11']);
    expect(lane.resume(interest({ fields: 'spec.nodeName=n2' }), 10).received()).toEqual(['ADDED a@11']);
  });

  test('watches of one node are found by index, whatever the other selectors', () => {
    const lane = new Lane({ rv: 10, objects: [] });
    const mine = lane.resume(interest({ fields: 'spec.nodeName=n1' }), 10);
    const other = lane.resume(interest({ fields: 'spec.nodeName=n2' }), 10);
    const named = lane.resume(interest({ namespace: 'default', name: 'a', fields: 'metadata.name=a' }), 10);
    lane.change(change('ADDED', pod('a', 11, { node: 'n1' })), change('ADDED', pod('b', 12, { node: 'n1' })));
    expect(other.wakes.count).toBe(0);
    expect(mine.received()).toEqual(['ADDED a@11', 'ADDED b@12']);
    expect(named.received()).toEqual(['ADDED a@11']);
  });

  test('watches of shards are found by the ranges of hashes, in groups by what they select', () => {
    const lane = new Lane({ rv: 10, objects: [] });
    const { high } = fnv1a64('uid-a');
    const bounds = ['0x0000000000000000', `0x${high.toString(16).padStart(8, '0')}00000000`, '0x10000000000000000'];
    const shard = (from: number, to: number): string =>
      `shardRange(object.metadata.uid, '${bounds[from]}', '${bounds[to]}')`;
    const without = lane.resume(interest({ shards: shard(0, 1) }), 10);
    const within = lane.resume(interest({ shards: shard(1, 2) }), 10);
    const all = lane.resume(interest({ shards: `${shard(1, 2)} || ${shard(0, 1)}` }), 10);
    const same = lane.resume(interest({ shards: shard(0, 2) }), 10);
    expect(lane.groups.groupCount).toBe(3);
    lane.change(change('ADDED', pod('a', 11)), change('MODIFIED', pod('a', 12)), change('DELETED', pod('a', 13)));
    expect(without.wakes.count).toBe(0);
    for (const client of [within, all, same]) {
      expect(client.received()).toEqual(['ADDED a@11', 'MODIFIED a@12', 'DELETED a@13']);
    }
  });

  test('a new uid under the same name goes from one shard to another', () => {
    const lane = new Lane({ rv: 10, objects: [] });
    const lower = lane.resume(interest({ shards: halfOf('uid-1') }), 10);
    const upper = lane.resume(interest({ shards: otherHalf(halfOf('uid-1')) }), 10);
    const other = '6-uid';
    expect(halfOf(other)).not.toBe(halfOf('uid-1'));
    lane.change(
      change('ADDED', pod('a', 11, { uid: 'uid-1' })),
      change('DELETED', pod('a', 12, { uid: 'uid-1' })),
      change('ADDED', pod('a', 13, { uid: other })),
      // Upstream never says so, but if it did, nobody may be left with an object that is gone.
      change('MODIFIED', pod('a', 14, { uid: 'uid-1' })),
    );
    expect(lower.received()).toEqual(['ADDED a@11', 'DELETED a@12', 'ADDED a@14']);
    expect(upper.received()).toEqual(['ADDED a@13', 'DELETED a@14']);
  });

  test('W7: a watch from a version not reached yet hides what comes up to it', () => {
    const lane = new Lane({ rv: 10, objects: [] });
    const client = lane.resume(interest(), 12);
    lane.change(change('ADDED', pod('a', 11)), change('ADDED', pod('b', 12)), change('ADDED', pod('c', 13)));
    expect(client.received()).toEqual(['ADDED c@13']);
  });

  test('a fence above the watermark hides what comes up to it behind the initial events', () => {
    const lane = new Lane({ rv: 10, objects: [pod('a', 5)] });
    const client = lane.initial(interest(), 15);
    expect(client.received()).toEqual(['ADDED a@5', 'BOOKMARK @15']);
    lane.change(change('ADDED', pod('flash', 12)), change('DELETED', pod('flash', 13)), change('ADDED', pod('b', 16)));
    expect(client.received()).toEqual(['ADDED b@16']);
  });

  test('events of one version that come after a snapshot within it are not lost', () => {
    const lane = new Lane({ rv: 10, objects: [pod('a', 1), pod('b', 2)] });
    lane.change(change('DELETED', pod('a', 11)));
    const client = lane.initial(interest());
    lane.change(change('DELETED', pod('b', 11)));
    expect(client.received()).toEqual(['ADDED b@2', 'BOOKMARK @11', 'DELETED b@11']);
  });

  test('a repair reaches open watches: deletes first, then changes', () => {
    const lane = new Lane({ rv: 10, objects: [pod('a', 1), pod('b', 2)] });
    const client = lane.resume(interest(), 10);
    lane.cache.repair({ rv: 20, objects: [pod('b', 15)] });
    expect(client.received()).toEqual(['DELETED a@10', 'MODIFIED b@15']);
  });
});

describe('a watch that holds more than the lane does', () => {
  test('ends when a repair passes over its version: what came and went in between nobody can tell it', () => {
    const lane = new Lane({ rv: 10, objects: [pod('a', 5)] });
    const client = lane.resume(interest(), 15);
    lane.cache.repair({ rv: 20, objects: [] });
    lane.bookmark(true);
    expect(client.pump()).toBe('overrun');
    expect(client.received()).toEqual([]);
    expect(lane.cache.since(15, interest()).kind).toBe('expired');
  });

  test('goes on where a repair ends at or below it', () => {
    const lane = new Lane({ rv: 10, objects: [pod('a', 5)] });
    const client = lane.resume(interest(), 20);
    lane.cache.repair({ rv: 20, objects: [] });
    lane.change(change('ADDED', pod('b', 21)));
    expect(client.received()).toEqual(['ADDED b@21']);
  });

  test('is told of a repair that stands at its very version', () => {
    const lane = new Lane({ rv: 10, objects: [pod('a', 5)] });
    const client = lane.initial(interest(), 15);
    lane.cache.repair({ rv: 15, objects: [pod('a', 5)] });
    lane.cache.repair({ rv: 20, objects: [] });
    expect(client.received()).toEqual(['ADDED a@5', 'BOOKMARK @15', 'DELETED a@15']);
  });

  test('is told of a later repair once the lane has passed it', () => {
    const lane = new Lane({ rv: 10, objects: [pod('a', 5)] });
    const client = lane.resume(interest(), 12);
    lane.cache.advance(15, lane.cache.position);
    lane.bookmark(true);
    expect(client.received()).toEqual(['BOOKMARK @15']);
    lane.cache.repair({ rv: 20, objects: [] });
    expect(client.received()).toEqual(['DELETED a@15']);
  });
});

describe('I3: bookmarks', () => {
  test('a bookmark comes behind what a lagging cursor has yet to send', () => {
    const lane = new Lane({ rv: 10, objects: [] });
    const client = lane.resume(interest(), 10);
    lane.change(change('ADDED', pod('a', 11)), change('ADDED', pod('b', 12)));
    lane.bookmark(true);
    client.capacity = 1;
    expect(client.pump()).toBe('blocked');
    client.capacity = 10;
    expect(client.received().at(-1)).toBe('BOOKMARK @12');
  });

  test('on a busy lane it waits for the next version, which proves the one before complete', () => {
    const lane = new Lane({ rv: 10, objects: [] });
    const client = lane.resume(interest(), 10);
    lane.change(change('ADDED', pod('a', 11)));
    lane.bookmark(false);
    expect(client.received()).toEqual(['ADDED a@11']);
    lane.change(change('ADDED', pod('b', 11)), change('ADDED', pod('c', 12)));
    expect(client.received()).toEqual(['ADDED b@11', 'BOOKMARK @11', 'ADDED c@12']);
  });

  test('of many that a cursor has yet to pass only the newest is kept (I9), and it is sent once', () => {
    const lane = new Lane({ rv: 10, objects: [] });
    const client = lane.resume(interest(), 10);
    lane.change(change('ADDED', pod('a', 11)));
    for (let rv = 20; rv < 1_000; rv++) {
      lane.cache.advance(rv, lane.cache.position);
      lane.bookmark(true);
      lane.bookmark(true);
    }
    const { group } = client.watcher;
    expect(group.end - group.first).toBe(1);
    expect(client.received()).toEqual(['ADDED a@11', 'BOOKMARK @999']);
    expect(client.received()).toEqual([]);
  });

  test('events behind a bookmark do not overtake it', () => {
    const lane = new Lane({ rv: 10, objects: [] });
    const client = lane.resume(interest(), 10);
    lane.change(change('ADDED', pod('a', 11)));
    lane.bookmark(true);
    lane.change(change('ADDED', pod('b', 12)), change('ADDED', pod('c', 13)));
    client.capacity = 1;
    expect(client.pump()).toBe('blocked');
    client.capacity = 1;
    expect(client.pump()).toBe('blocked');
    client.capacity = 10;
    expect(client.received()).toEqual(['ADDED a@11', 'BOOKMARK @11', 'ADDED b@12', 'ADDED c@13']);
  });

  test('none goes to a watch that did not ask, or that began at its version', () => {
    const lane = new Lane({ rv: 10, objects: [] });
    const without = lane.resume(interest(), 10, false);
    const fresh = lane.resume(interest(), 10);
    lane.bookmark(true);
    // A version that was vouched for as the start of one watch is no news to another.
    expect(without.received()).toEqual([]);
    expect(fresh.received()).toEqual([]);
  });
});

describe('slow and young watchers', () => {
  test('I8: one that does not read keeps its place and holds nobody up', () => {
    const lane = new Lane({ rv: 10, objects: [] });
    const slow = lane.resume(interest(), 10);
    const quick = lane.resume(interest(), 10);
    slow.capacity = 1;
    lane.change(change('ADDED', pod('a', 11)));
    expect(slow.pump()).toBe('blocked');
    lane.change(change('ADDED', pod('b', 12)));
    expect(quick.received()).toEqual(['ADDED a@11', 'ADDED b@12']);
    slow.capacity = 10;
    expect(slow.received()).toEqual(['ADDED a@11', 'ADDED b@12']);
  });

  test('one the window has moved past is overrun, and not sent what comes after the hole', () => {
    const lane = new Lane({ rv: 10, objects: [] }, { windowBytesMax: 3_000 });
    const slow = lane.resume(interest(), 10);
    for (let rv = 11; rv < 40; rv++) lane.change(change('MODIFIED', pod('a', rv)));
    lane.groups.trim();
    expect(slow.pump()).toBe('overrun');
    expect(slow.received()).toEqual([]);
  });

  test('frames that all members were sent are let go of, and found in the window by who resumes', () => {
    const lane = new Lane({ rv: 10, objects: [] });
    const [slow, quick] = [lane.resume(interest(), 10), lane.resume(interest(), 10)];
    slow.capacity = 1;
    for (let rv = 11; rv < 21; rv++) {
      lane.change(change('MODIFIED', pod('a', rv)));
      quick.pump();
      slow.pump();
    }
    const { group } = quick.watcher;
    lane.groups.trim();
    expect([group.size, group.end - group.first]).toEqual([10 - slow.watcher.cursor, 10 - slow.watcher.cursor]);
    slow.capacity = 10;
    slow.pump();
    lane.groups.trim();
    expect(group.size).toBe(0);
    expect(lane.resume(interest(), 15).received()).toHaveLength(5);
    lane.change(change('MODIFIED', pod('a', 21)));
    expect([slow.received().at(-1), quick.received().at(-1)]).toEqual(['MODIFIED a@21', 'MODIFIED a@21']);
  });

  test('I9: many groups of clients that do not read are overrun, not kept frames for', () => {
    const lane = new Lane({ rv: 10, objects: [] }, { framesMax: 100 });
    const stuck = Array.from({ length: 50 }, (_, i) => lane.resume(interest({ labels: `app!=v${i}` }), 10));
    const reading = lane.resume(interest(), 10);
    for (let rv = 11; rv < 31; rv++) {
      lane.change(change('MODIFIED', pod('a', rv)));
      expect(reading.received()).toHaveLength(1);
    }
    lane.groups.trim();
    expect(stuck.reduce((sum, { watcher }) => sum + watcher.group.size, 0)).toBeLessThanOrEqual(100);
    expect(stuck.map((client) => client.pump())).toEqual(stuck.map(() => 'overrun'));
    expect(reading.pump()).toBe('drained');
  });

  test('I9: members of an interest that can be left keep their place as long as the window does', () => {
    const lane = new Lane({ rv: 10, objects: [] }, { stateDiff: true, lagBytesMax: 500 });
    const slow = lane.resume(interest({ labels: 'app!=x' }), 10);
    slow.capacity = 1;
    for (let rv = 11; rv < 31; rv++) lane.change(change('MODIFIED', pod('a', rv)));
    slow.pump();
    lane.groups.trim();
    slow.capacity = 100;
    expect(slow.received()).toHaveLength(20);
  });

  test('the watches that come after such a loss are sent everything once', () => {
    const lane = new Lane({ rv: 10, objects: [] }, { windowBytesMax: 3_000 });
    const lost = lane.resume(interest(), 10);
    lane.cache.repair({ rv: 100, objects: Array.from({ length: 50 }, (_, i) => pod(`p${i}`, 20 + i)) });
    expect(lost.pump()).toBe('overrun');
    lane.change(change('ADDED', pod('x', 101)));
    const next = lane.resume(interest(), 100);
    expect(next.received()).toEqual(['ADDED x@101']);
    lane.change(change('ADDED', pod('y', 102)));
    expect(next.received()).toEqual(['ADDED y@102']);
  });

  test('one batch larger than the window is read once by those who resume behind its evicted part', () => {
    const lane = new Lane({ rv: 10, objects: [] }, { windowBytesMax: 3_000 });
    lane.resume(interest(), 10);
    lane.change(...Array.from({ length: 50 }, (_, i) => change('ADDED', pod(`p${i}`, 20 + i))));
    const { start } = lane.cache.window;
    expect(lane.resume(interest(), start).received()).toEqual(
      Array.from({ length: 69 - start }, (_, i) => `ADDED p${start + 1 + i - 20}@${start + 1 + i}`),
    );
  });

  test('a repair larger than the window ends the watches rather than leave a hole', () => {
    const lane = new Lane({ rv: 10, objects: [] }, { windowBytesMax: 3_000 });
    const client = lane.resume(interest(), 10);
    lane.cache.repair({ rv: 100, objects: Array.from({ length: 50 }, (_, i) => pod(`p${i}`, 20 + i)) });
    expect(client.pump()).toBe('overrun');
  });

  test('a young interest is filled from the window, once for all who resume', () => {
    const lane = new Lane({ rv: 10, objects: [] });
    const early = lane.resume(interest(), 10);
    lane.change(change('ADDED', pod('a', 11, { node: 'n1' })), change('ADDED', pod('b', 12)));
    const asked = interest({ fields: 'spec.nodeName=n1' });
    const first = lane.resume(asked, 11);
    lane.change(change('MODIFIED', pod('a', 13, { node: 'n1' })));
    const second = lane.resume(asked, 10);
    expect(second.watcher.group).toBe(first.watcher.group);
    expect(first.received()).toEqual(['MODIFIED a@13']);
    expect(second.received()).toEqual(['ADDED a@11', 'MODIFIED a@13']);
    expect(early.received()).toHaveLength(3);
  });

  test('a group goes with its last member', () => {
    const lane = new Lane({ rv: 10, objects: [] });
    const client = lane.resume(interest(), 10);
    lane.groups.leave(client.watcher);
    lane.groups.leave(client.watcher);
    expect(lane.groups.groupCount).toBe(0);
    expect(lane.groups.size).toBe(0);
    lane.change(change('ADDED', pod('a', 11)));
    expect(client.wakes.count).toBe(0);
  });
});
