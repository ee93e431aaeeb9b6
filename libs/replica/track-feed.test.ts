import { describe, expect, test } from 'vitest';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import { type FakeClock, createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import { type Change, ChainGap, type Position } from '@dogwatch/watch/watch-cache.ts';
import { type Lack, Superseded } from './lane-supply.ts';
import { FACTS, PODS, silent, whole } from './test-ingest.ts';
import { TrackFeed, type WholeState } from './track-feed.ts';

type Answer = TrackState | 'delivered' | 'published' | Error;

/** A feed whose recovery the test answers by hand. */
function started(): {
  feed: TrackFeed;
  clock: FakeClock;
  brought: string[];
  states: WholeState[];
  lacks: Lack[];
  answer: (answer: Answer, ...envelopes: Envelope[]) => Promise<void>;
} {
  const clock = createFakeClock();
  const brought: string[] = [];
  const states: WholeState[] = [];
  const lacks: Lack[] = [];
  const asked: {
    resolve: (answer: Exclude<Answer, Error>) => void;
    reject: (error: Error) => void;
    deliver: (envelope: Envelope) => void;
  }[] = [];
  const feed: TrackFeed = new TrackFeed({
    lane: PODS,
    partition: 3,
    clock,
    log: silent,
    recovery: {
      recover: (lack, deliver) => {
        lacks.push(lack);
        return new Promise((resolve, reject) => asked.push({ resolve, reject, deliver }));
      },
    },
    sink: {
      onChanges: (_feed, _batch, fresh) =>
        brought.push(...fresh.map(({ type, object }) => `${type} ${object.name}@${object.rv}`)),
      onWatermark: (_feed, rv) => brought.push(`watermark ${rv}`),
      onState: (_feed, state) => {
        states.push(state);
        brought.push(`state ${state.listing.rv}`);
      },
      onEnd: (end) => brought.push(`end ${end}`),
    },
  });
  const answer = async (with_: Answer, ...envelopes: Envelope[]): Promise<void> => {
    const { resolve, reject, deliver } = asked.shift()!;
    for (const envelope of envelopes) deliver(envelope);
    if (with_ instanceof Error) reject(with_);
    else resolve(with_);
    await clock.advanceAsync(0);
  };
  return { feed, clock, brought, states, lacks, answer };
}

function batch(previous: Position, ...changes: Change[]): Envelope {
  return { kind: 'batch', epoch: 1, batch: { previous, changes } };
}

function modified(rv: number): Change {
  return change('MODIFIED', pod('a', rv));
}

function stateAt(rv: number, epoch = 1): WholeState {
  return {
    kind: 'state',
    epoch,
    facts: FACTS,
    listing: { rv, objects: [] },
    tombstones: [],
    horizon: rv,
    changes: [],
    position: whole(rv),
    watermark: rv,
  };
}

function at10(): ReturnType<typeof started> {
  const it = started();
  it.feed.adopt(stateAt(10));
  return it;
}

describe('what continues what is held', () => {
  test('is brought, and what comes twice is not', () => {
    const { feed, brought, lacks } = at10();
    feed.take(batch(whole(10), modified(11), modified(12)));
    // A new leader begins where the log ended.
    feed.take(batch(whole(10), modified(11), modified(12), modified(13)));
    feed.take({ kind: 'watermark', epoch: 1, previous: { rv: 13, index: 0 }, rv: 20 });
    expect(brought).toEqual(['MODIFIED a@11', 'MODIFIED a@12', 'MODIFIED a@13', 'watermark 20']);
    expect(lacks).toEqual([]);
    expect(feed.position).toEqual(whole(20));
  });

  test('a part of a version that came in two envelopes is not taken for a repetition', () => {
    const { feed, brought } = at10();
    feed.take(batch(whole(10), modified(11)));
    feed.take(batch({ rv: 11, index: 0 }, modified(11), modified(11)));
    expect(brought).toHaveLength(3);
    expect(feed.position).toEqual({ rv: 11, index: 2 });
  });

  test('of an epoch that is over nothing is brought', () => {
    const { feed, brought } = started();
    feed.adopt(stateAt(10, 2));
    feed.take(batch(whole(10), modified(11)));
    expect(brought).toEqual([]);
  });
});

describe('I4: behind a hole', () => {
  test('nothing is brought until it is filled, then all in order', async () => {
    const { feed, brought, lacks, answer } = at10();
    feed.take(batch(whole(12), modified(13)));
    feed.take(batch({ rv: 13, index: 0 }, modified(14)));
    expect(brought).toEqual([]);
    expect(lacks).toEqual([{ lane: PODS, partition: 3, from: { epoch: 1, position: whole(10) } }]);
    await answer({
      kind: 'changes',
      epoch: 1,
      changes: [modified(11), modified(12)],
      position: whole(12),
      watermark: 12,
    });
    expect(brought).toEqual(['MODIFIED a@11', 'MODIFIED a@12', 'watermark 12', 'MODIFIED a@13', 'MODIFIED a@14']);
    expect(feed.gaps).toBe(1);
  });

  test('a log that continues what is held is brought as it is read', async () => {
    const { feed, brought, answer } = at10();
    feed.take(batch({ rv: 12, index: 0 }, modified(13)));
    await answer('delivered', batch(whole(10), modified(11)), batch({ rv: 11, index: 0 }, modified(12)));
    expect(brought).toEqual(['MODIFIED a@11', 'MODIFIED a@12', 'MODIFIED a@13']);
  });

  test('a log with a hole of its own brings nothing from behind it', async () => {
    const { feed, answer } = at10();
    feed.take(batch(whole(12), modified(13)));
    await expect(answer('delivered', batch(whole(11), modified(12)))).rejects.toBeInstanceOf(ChainGap);
  });

  test('is asked for again when nobody could tell, and once only at a time', async () => {
    const { feed, clock, lacks, answer } = at10();
    feed.take(batch(whole(12), modified(13)));
    feed.take(batch({ rv: 13, index: 0 }, modified(14)));
    await answer(new Error('away'));
    expect(lacks).toHaveLength(1);
    await clock.advanceAsync(100);
    expect(lacks).toHaveLength(2);
  });

  test('a state that comes on the track itself ends the asking', async () => {
    const { feed, brought, answer } = at10();
    feed.take(batch(whole(12), modified(13)));
    feed.take({ kind: 'listing', epoch: 1, facts: FACTS, listing: { rv: 30, objects: [] } });
    feed.adopt(stateAt(30));
    await answer({ kind: 'changes', epoch: 1, changes: [modified(11)], position: whole(11), watermark: 11 });
    feed.take(batch(whole(30), modified(31)));
    expect(brought).toEqual(['state 30', 'MODIFIED a@31']);
  });

  test('where the version that begins an epoch was lost, everything is asked for', async () => {
    const { feed, brought, states, lacks, answer } = at10();
    feed.take({ ...batch(whole(4), modified(5)), epoch: 2 });
    expect(lacks).toHaveLength(1);
    await answer(stateAt(4, 2));
    feed.adopt(states[0]!);
    expect(brought).toEqual(['state 4', 'MODIFIED a@5']);
  });

  test('a source that is behind in epochs is not believed', async () => {
    const { feed, clock, states, lacks, answer } = started();
    feed.adopt(stateAt(10, 3));
    feed.take({ ...batch(whole(12), modified(13)), epoch: 3 });
    await answer(stateAt(50, 2));
    expect(states).toEqual([]);
    await clock.advanceAsync(100);
    expect(lacks).toHaveLength(2);
  });

  test('a listing too large for the track is asked for, unless it is held', () => {
    const { feed, lacks } = at10();
    feed.take({ kind: 'listed', epoch: 1, rv: 10 });
    expect(lacks).toHaveLength(0);
    feed.take({ kind: 'listed', epoch: 1, rv: 40 });
    expect(lacks).toHaveLength(1);
  });

  test('and asked for again where what is found is older', async () => {
    const { feed, clock, lacks, answer } = at10();
    feed.take({ kind: 'listed', epoch: 1, rv: 40 });
    await answer({ kind: 'changes', epoch: 1, changes: [modified(20)], position: whole(20), watermark: 20 });
    await clock.advanceAsync(100);
    expect(lacks.map(({ from }) => from?.position)).toEqual([whole(10), whole(20)]);
    await answer('delivered', batch(whole(20), modified(40)), {
      kind: 'watermark',
      epoch: 1,
      previous: whole(40),
      rv: 40,
    });
    await clock.advanceAsync(60_000);
    expect(lacks).toHaveLength(2);
  });

  test('a log that ends with word of one does not lead there', async () => {
    const { feed, answer } = at10();
    feed.take({ kind: 'listed', epoch: 1, rv: 40 });
    await expect(answer('delivered', { kind: 'listed', epoch: 1, rv: 40 })).rejects.toThrow(ChainGap);
  });

  test('and asked for also where a listing was promised: this is it', async () => {
    const { feed, lacks, states, answer } = started();
    feed.recover();
    await answer('published');
    feed.take({ kind: 'listed', epoch: 1, rv: 40 });
    expect(lacks).toHaveLength(2);
    await answer(stateAt(40));
    expect(states).toHaveLength(1);
  });

  test('a listing that was promised and does not come is asked for again', async () => {
    const { feed, clock, lacks, answer } = started();
    feed.recover();
    await answer('published');
    await clock.advanceAsync(29_000);
    expect(lacks).toHaveLength(1);
    await clock.advanceAsync(1_100);
    expect(lacks).toHaveLength(2);
  });

  test('a source that has not got there either is asked again ever more slowly, not at once', async () => {
    const { feed, clock, brought, lacks, answer } = at10();
    feed.take(batch(whole(15), modified(16)));
    for (const [waitMs, rv] of [
      [100, 11],
      [200, 12],
      [400, 13],
    ] as const) {
      await answer({ kind: 'changes', epoch: 1, changes: [modified(rv)], position: whole(rv), watermark: rv });
      const before = lacks.length;
      await clock.advanceAsync(waitMs - 1);
      expect(lacks).toHaveLength(before);
      await clock.advanceAsync(1);
      expect(lacks).toHaveLength(before + 1);
    }
    await answer({ kind: 'changes', epoch: 1, changes: [], position: whole(15), watermark: 15 });
    expect(brought.at(-1)).toBe('MODIFIED a@16');
    expect(feed.gaps).toBe(1);
    feed.take(batch(whole(20), modified(21)));
    expect(lacks, 'the next hole is a new one').toHaveLength(5);
  });

  test('I4: a source that is behind does not set it back', async () => {
    const { feed, clock, states, brought, lacks, answer } = at10();
    feed.take(batch(whole(10), modified(11)));
    feed.take(batch(whole(15), modified(16)));
    await answer({ kind: 'changes', epoch: 1, changes: [], position: whole(8), watermark: 8 });
    expect(feed.position).toEqual({ rv: 11, index: 0 });
    await clock.advanceAsync(100);
    await answer(stateAt(9));
    expect(states).toEqual([]);
    await clock.advanceAsync(200);
    await answer({ kind: 'changes', epoch: 1, changes: [modified(15)], position: whole(15), watermark: 15 });
    expect(brought).toEqual(['MODIFIED a@11', 'watermark 8', 'MODIFIED a@15', 'watermark 15', 'MODIFIED a@16']);
    expect(lacks).toHaveLength(3);
  });

  test('an old listing of the log is no state', async () => {
    const { feed, states, brought, answer } = at10();
    feed.take(batch({ rv: 11, index: 0 }, modified(12)));
    const listing = { kind: 'listing', epoch: 1, facts: FACTS, listing: { rv: 10, objects: [] } } as const;
    await answer('delivered', listing, batch(whole(10), modified(11)));
    expect([states, brought]).toEqual([[], ['MODIFIED a@11', 'MODIFIED a@12']]);
  });

  test('a log that is read for what came otherwise is told so', async () => {
    const { feed, answer } = at10();
    feed.take(batch(whole(12), modified(13)));
    feed.take({ kind: 'listing', epoch: 1, facts: FACTS, listing: { rv: 30, objects: [] } });
    await expect(answer('delivered', batch(whole(10), modified(11)))).rejects.toBeInstanceOf(Superseded);
  });

  test('I9: what is kept meanwhile is bounded, watermarks too; what was dropped is recovered in its turn', async () => {
    const { feed, brought, lacks, answer } = at10();
    feed.take(batch(whole(12), modified(13)));
    const many = 64 * 1024 * 4 + 10;
    for (let i = 0; i < many; i++) feed.take({ kind: 'watermark', epoch: 1, previous: { rv: 13, index: 0 }, rv: 20 });
    await answer({ kind: 'changes', epoch: 1, changes: [modified(12)], position: whole(12), watermark: 12 });
    expect(brought).toEqual(['MODIFIED a@12', 'watermark 12']);
    expect(lacks).toHaveLength(1);
    expect(feed.recovering).toBe(true);
  });
});

test('nothing is asked once it is closed', async () => {
  const { feed, clock, lacks, answer } = at10();
  feed.take(batch(whole(12), modified(13)));
  feed.close();
  await answer(new Error('away'));
  await clock.advanceAsync(60_000);
  expect(lacks).toHaveLength(1);
  expect(clock.pending).toBe(0);
});
