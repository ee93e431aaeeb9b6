import { describe, expect, test } from 'vitest';
import { change, interest, pod } from './test-objects.ts';
import { Lane } from './test-watchers.ts';

describe('with the state instead of every change', () => {
  const limits = { stateDiff: true, windowBytesMax: 3_000 };

  /** Changes of one object, of which the window holds the last few. */
  function churn(lane: Lane, from: number, to: number): void {
    for (let rv = from; rv <= to; rv++) lane.change(change('MODIFIED', pod('busy', rv)));
  }

  test('a resume from below the window is sent the diff, and then what comes', () => {
    const lane = new Lane({ rv: 10, objects: [pod('busy', 1), pod('gone', 2)] }, limits);
    lane.change(change('DELETED', pod('gone', 11)), change('ADDED', pod('new', 12)));
    churn(lane, 13, 40);
    const client = lane.resume(interest(), 10);
    expect(client.received()).toEqual(['DELETED gone@11', 'ADDED new@12', 'MODIFIED busy@40']);
    churn(lane, 41, 42);
    expect(client.received()).toEqual(['MODIFIED busy@41', 'MODIFIED busy@42']);
    expect(client.conflations).toBe(0);
  });

  test('I3: it is walked at the pace of the socket, and bookmarks wait for its end', () => {
    const lane = new Lane({ rv: 10, objects: [pod('busy', 1)] }, limits);
    const filler = { labels: { filler: 'x'.repeat(9_000) } };
    lane.change(...Array.from({ length: 5 }, (_, i) => change('ADDED', pod(`p${i}`, 11 + i, filler))));
    churn(lane, 16, 40);
    const client = lane.resume(interest(), 10);
    client.capacity = 1;
    expect(client.pump()).toBe('blocked');
    lane.bookmark(true);
    lane.change(change('DELETED', pod('p4', 41, filler)));
    lane.bookmark(true);
    client.capacity = 100;
    expect(client.received()).toEqual([
      ...Array.from({ length: 5 }, (_, i) => `ADDED p${i}@${11 + i}`),
      'MODIFIED busy@40',
      'DELETED p4@41',
      'BOOKMARK @41',
    ]);
  });

  test('one the window has moved past goes on with it, in place', () => {
    const lane = new Lane({ rv: 10, objects: [pod('busy', 1), pod('gone', 2)] }, limits);
    const slow = lane.resume(interest(), 10);
    slow.capacity = 1;
    churn(lane, 11, 11);
    expect(slow.pump()).toBe('blocked');
    lane.change(change('DELETED', pod('gone', 12)));
    churn(lane, 13, 60);
    lane.groups.trim();
    slow.capacity = 100;
    expect(slow.received()).toEqual(['MODIFIED busy@11', 'DELETED gone@12', 'MODIFIED busy@60']);
    expect(slow.conflations).toBe(1);
    churn(lane, 61, 61);
    lane.bookmark(true);
    expect(slow.received()).toEqual(['MODIFIED busy@61', 'BOOKMARK @61']);
  });

  test('also while it is still being sent its initial events', () => {
    const objects = Array.from({ length: 5 }, (_, i) => pod(`p${i}`, i + 1, { labels: { filler: 'x'.repeat(9_000) } }));
    const lane = new Lane({ rv: 10, objects: [...objects, pod('busy', 7)] }, limits);
    const slow = lane.initial(interest());
    slow.capacity = 1;
    expect(slow.pump()).toBe('blocked');
    churn(lane, 11, 60);
    lane.groups.trim();
    slow.capacity = 100;
    expect(slow.received()).toEqual([
      'ADDED busy@7',
      ...objects.map(({ name, rv }) => `ADDED ${name}@${rv}`),
      'BOOKMARK @10',
      'MODIFIED busy@60',
    ]);
  });

  test('a repair larger than the window is no loss either', () => {
    const lane = new Lane({ rv: 10, objects: [pod('gone', 1)] }, limits);
    const client = lane.resume(interest(), 10);
    lane.cache.repair({ rv: 100, objects: Array.from({ length: 50 }, (_, i) => pod(`p${i}`, 20 + i)) });
    expect(client.received()).toEqual([
      'DELETED gone@10',
      ...Array.from({ length: 50 }, (_, i) => `ADDED p${i}@${20 + i}`),
    ]);
  });

  test('a quiet one is not below the horizon because it was not sent anything for long', () => {
    const lane = new Lane({ rv: 10, objects: [pod('busy', 1)] }, { ...limits, tombstoneBytesMax: 2_000 });
    const quiet = lane.resume(interest({ namespace: 'quiet' }), 10);
    quiet.pump();
    for (let rv = 11; rv < 100; rv += 2) {
      lane.change(change('ADDED', pod('flash', rv)), change('DELETED', pod('flash', rv + 1)));
    }
    expect(lane.cache.horizon).toBeGreaterThan(10);
    const flood = Array.from({ length: 50 }, (_, i) => change('ADDED', pod(`p${i}`, 101 + i, { namespace: 'quiet' })));
    lane.change(...flood);
    expect(quiet.received()).toHaveLength(50);
    expect(quiet.conflations).toBe(1);
  });

  test('below the horizon it ends: there are deletes nobody can tell it of', () => {
    const lane = new Lane({ rv: 10, objects: [pod('a', 1), pod('b', 2)] }, { ...limits, tombstoneBytesMax: 500 });
    const slow = lane.resume(interest(), 10);
    lane.change(change('DELETED', pod('a', 11)), change('DELETED', pod('b', 12)));
    churn(lane, 13, 60);
    lane.groups.trim();
    expect(slow.pump()).toBe('overrun');
    expect(slow.received()).toEqual([]);
  });

  test('of a blocked member no more than its share of frames is kept, and it holds nothing up', () => {
    const lane = new Lane({ rv: 10, objects: [] }, { stateDiff: true, lagBytesMax: 2_000 });
    const [dead, quick] = [lane.resume(interest(), 10), lane.resume(interest(), 10)];
    dead.capacity = 1;
    const { group } = dead.watcher;
    for (let rv = 11; rv < 100; rv++) {
      lane.change(change('MODIFIED', pod(`p${rv % 7}`, rv)));
      if (rv === 11) dead.pump();
      expect(quick.received()).toHaveLength(1);
    }
    lane.groups.trim();
    expect(group.size).toBeGreaterThan(0);
    let bytes = 0;
    for (let at = group.first; at < group.end; at++) bytes += group.at(at)!.bytes.length;
    expect(bytes).toBeLessThanOrEqual(2_000);
    dead.capacity = 100;
    // Each object once, at its newest.
    expect(dead.received().slice(-7)).toEqual([93, 94, 95, 96, 97, 98, 99].map((rv) => `MODIFIED p${rv % 7}@${rv}`));
    expect(dead.conflations).toBe(1);
    expect(quick.conflations).toBe(0);
  });

  test('a member that only had no turn yet is not taken for blocked', () => {
    const lane = new Lane({ rv: 10, objects: [pod('busy', 1)] }, { stateDiff: true, lagBytesMax: 500 });
    const [dead, awake] = [lane.resume(interest(), 10), lane.resume(interest(), 10)];
    dead.capacity = 1;
    churn(lane, 11, 11);
    dead.pump();
    churn(lane, 12, 40);
    lane.groups.trim();
    expect(awake.received()).toHaveLength(30);
    lane.groups.trim();
    dead.capacity = 100;
    expect(dead.received()).toEqual(['MODIFIED busy@11', 'MODIFIED busy@40']);
  });
});
