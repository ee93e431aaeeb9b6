import { describe, expect, test } from 'vitest';
import type { Interest } from '@dogwatch/watch/interest.ts';
import { change, interest, pod } from '@dogwatch/watch/test-objects.ts';
import type { WatchStart } from '@dogwatch/watch/watcher.ts';
import { LaneWatches } from './lane-watches.ts';
import { Pumps } from './pumps.ts';
import { TestClient } from './test-exchange.ts';
import { TestLaneView } from './test-lane-view.ts';
import { WatchStream } from './watch-stream.ts';

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function started(view = new TestLaneView()) {
  const ended: string[] = [];
  const pumps = new Pumps();
  const watches = new LaneWatches(view, {
    pumps,
    release: () => view.released++,
    onWatchEnd: (_, reason) => ended.push(reason),
  });
  const resume = (rv: number, asked: Interest = interest(), allowBookmarks = true) => {
    const since = view.cache.since(rv, asked);
    if (since.kind !== 'from') throw new Error(since.kind);
    return open({ kind: 'resume', sequence: since.sequence, rv }, asked, allowBookmarks);
  };
  const open = (start: WatchStart, asked: Interest, allowBookmarks: boolean) => {
    const client = new TestClient();
    const stream = new WatchStream(watches, client);
    watches.open(stream, asked, { start, allowBookmarks });
    return { client, stream };
  };
  return { view, watches, ended, pumps, resume };
}

describe('delivery', () => {
  test('what one turn brings goes out at its end, once for all', async () => {
    const { view, resume, pumps } = started();
    const clients = [resume(10), resume(10)].map(({ client }) => client);
    await turn();
    view.change(change('ADDED', pod('a', 11)));
    view.change(change('ADDED', pod('b', 12)));
    expect(clients[0]!.events).toEqual([]);
    await turn();
    for (const { events } of clients) expect(events).toEqual(['ADDED a@11', 'ADDED b@12']);
    expect(pumps.delivered).toBe(4);
  });

  test('I8: a client that takes nothing holds up nobody, and goes on where it was', async () => {
    const { view, resume } = started();
    const slow = resume(10).client;
    const quick = resume(10).client;
    slow.capacity = 1;
    for (const rv of [11, 12, 13]) {
      view.change(change('MODIFIED', pod('a', rv)));
      await turn();
    }
    expect(quick.events).toHaveLength(3);
    expect(slow.events).toEqual(['ADDED a@11']);
    slow.drain();
    await turn();
    expect(slow.events).toEqual(quick.events);
  });

  test('I9: one that takes nothing for three minutes is cut off; one that has nothing to take is not', async () => {
    const { view, watches, ended, resume } = started();
    const stuck = resume(10).client;
    const idle = resume(12).client;
    stuck.capacity = 1;
    view.change(change('ADDED', pod('a', 11)), change('ADDED', pod('b', 12)));
    await turn();
    for (let second = 0; second < 180; second++) watches.tick();
    expect(ended).toEqual([]);
    watches.tick();
    expect(ended).toEqual(['stalled']);
    expect(stuck.aborted).toBe(true);
    expect(idle.ended).toBe(false);
  });

  test('one that the window moved past ends cleanly (W10), without a bookmark', async () => {
    const { view, watches, ended, resume } = started(new TestLaneView(10, [], { windowBytesMax: 3_000 }));
    const { client } = resume(10, interest({ labels: 'app!=x' }));
    client.capacity = 1;
    for (let rv = 11; rv < 60; rv++) {
      view.change(change('MODIFIED', pod('a', rv)));
      if (rv === 11) await turn();
    }
    watches.tick();
    client.drain();
    await turn();
    expect(client.events).toEqual(['ADDED a@11']);
    expect(client.ended).toBe(true);
    expect(ended).toEqual(['overrun']);
    expect(watches.size).toBe(0);
  });

  test('one that cannot be left goes on with the newest states instead, and is counted', async () => {
    const { view, watches, ended, pumps, resume } = started(new TestLaneView(10, [], { windowBytesMax: 3_000 }));
    const { client } = resume(10);
    client.capacity = 1;
    for (let rv = 11; rv < 60; rv++) {
      view.change(change('MODIFIED', pod('a', rv)));
      if (rv === 11) await turn();
    }
    watches.tick();
    client.drain();
    await turn();
    view.change(change('MODIFIED', pod('a', 60)));
    await turn();
    expect(client.events).toEqual(['ADDED a@11', 'MODIFIED a@59', 'MODIFIED a@60']);
    expect([ended, pumps.conflations, pumps.delivered]).toEqual([[], 1, 3]);
  });
});

describe('I3: bookmarks', () => {
  test('on a lane that moved just now wait until its version is known to be whole', async () => {
    const { view, watches, resume } = started();
    const { client } = resume(10);
    view.appliedAt = 1_000;
    view.change(change('DELETED', pod('x', 11)), change('ADDED', pod('a', 11)));
    watches.sendBookmarks(1_010);
    await turn();
    expect(client.events).toEqual(['ADDED a@11']);
    view.change(change('ADDED', pod('b', 11)));
    view.change(change('ADDED', pod('c', 12)));
    await turn();
    expect(client.events).toEqual(['ADDED a@11', 'ADDED b@11', 'BOOKMARK @11', 'ADDED c@12']);
  });

  test('are as far as the view is, which it may take over only when it is asked', async () => {
    const { view, watches, resume } = started();
    const { cache } = view;
    const { client } = resume(10);
    Object.defineProperty(view, 'cache', {
      get: () => {
        cache.advance(30, cache.position);
        return cache;
      },
    });
    expect(cache.watermark).toBe(10);
    watches.sendBookmarks(1_000);
    await turn();
    expect(client.events).toEqual(['BOOKMARK @30']);
  });

  test('on a quiet lane go out at once', async () => {
    const { view, watches, resume } = started();
    const { client } = resume(10);
    view.cache.advance(20, view.cache.position);
    watches.sendBookmarks(1_000);
    await turn();
    expect(client.events).toEqual(['BOOKMARK @20']);
  });

  test('a watch that ends gets a last one, at the version before the one that may still be coming in', async () => {
    const { view, watches, ended, resume } = started();
    const other = resume(10, interest({ namespace: 'other' }));
    const without = resume(10, interest({ namespace: 'other' }), false);
    const { client, stream } = resume(10);
    view.change(change('ADDED', pod('a', 11)), change('ADDED', pod('b', 12)));
    await turn();
    for (const { stream: each } of [other, without]) watches.close(each, 'timeout');
    watches.close(stream, 'timeout');
    watches.close(stream, 'timeout');
    expect(other.client.events).toEqual(['BOOKMARK @11']);
    expect(without.client.events).toEqual([]);
    expect(client.events).toEqual(['ADDED a@11', 'ADDED b@12']);
    expect([client, other.client, without.client].every((each) => each.ended)).toBe(true);
    expect(ended).toEqual(['timeout', 'timeout', 'timeout']);
  });

  test('a watch that ends with something left to send gets none', async () => {
    const { view, watches, resume } = started();
    const { client, stream } = resume(10);
    view.change(change('ADDED', pod('a', 11)));
    view.cache.advance(20, view.cache.position);
    watches.close(stream, 'draining');
    await turn();
    expect(client.events).toEqual([]);
    expect(client.ended).toBe(true);
  });
});

describe('the end of a lane', () => {
  test('lost history ends every watch with a 410 in the stream (W8)', async () => {
    const { view, watches, ended, resume } = started();
    const { client } = resume(10);
    view.change(change('ADDED', pod('a', 11)));
    await turn();
    view.end('expired');
    view.cache = new TestLaneView(5).cache;
    expect(client.events).toEqual(['ADDED a@11', 'ERROR 410']);
    expect(client.ended).toBe(true);
    expect(ended).toEqual(['expired']);
    // And those who come after it follow the new one.
    const next = resume(5).client;
    view.change(change('ADDED', pod('b', 6)));
    await turn();
    expect(next.events).toEqual(['ADDED b@6']);
    expect(watches.over).toBe(false);
  });

  test('a resource that went ends every watch cleanly, behind a last bookmark', async () => {
    const { view, watches, ended, resume } = started();
    const { client } = resume(10);
    await turn();
    view.cache.advance(20, view.cache.position);
    view.end('ended');
    expect(client.events).toEqual(['BOOKMARK @20']);
    expect(client.ended).toBe(true);
    expect(ended).toEqual(['lane-ended']);
    expect(watches.over).toBe(true);
  });
});

describe('letting go', () => {
  test('a client that goes is forgotten, and is not written to', async () => {
    const { view, watches, ended, resume } = started();
    const { client } = resume(10);
    view.change(change('ADDED', pod('a', 11)));
    client.leave();
    await turn();
    client.leave();
    expect(client.events).toEqual([]);
    expect(client.ended).toBe(false);
    expect(ended).toEqual(['client-gone']);
    expect(watches.groupCount).toBe(0);
  });

  test('the lane is in use while a watch is open or about to be', () => {
    const { view, watches, resume } = started();
    expect(watches.idle).toBe(true);
    const letGo = watches.hold();
    expect(watches.idle).toBe(false);
    const { client } = resume(10);
    letGo();
    letGo();
    expect(watches.idle).toBe(false);
    client.leave();
    expect(watches.idle).toBe(true);
    watches.dispose();
    expect(view.released).toBe(1);
    expect(view.listeners).toBe(0);
  });
});
