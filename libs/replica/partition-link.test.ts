import { describe, expect, test } from 'vitest';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import { StatusError, expired } from '@dogwatch/kube/status.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import { PartitionLink } from './partition-link.ts';
import type { Scope } from './scope.ts';
import { PODS, silent, whole } from './test-ingest.ts';
import { FOLLOWER, TestShard, changesTo, stateAt, turn } from './test-shards.ts';

const A: Scope = { kind: 'name', namespace: 'default', name: 'a', key: 'default/a' };
const B: Scope = { kind: 'name', namespace: 'default', name: 'b', key: 'default/b' };
const N1: Scope = { kind: 'indexed', value: 'n1' };

function started() {
  const bus = new MemoryBus();
  const clock = createFakeClock();
  const shards = [new TestShard(bus, 'shard-0'), new TestShard(bus, 'shard-1')] as const;
  let owners: readonly string[] = ['shard-0', 'shard-1'];
  const brought: string[] = [];
  const given: string[] = [];
  const link: PartitionLink = new PartitionLink({
    lane: PODS,
    partition: 0,
    bus,
    clock,
    log: silent,
    follower: FOLLOWER,
    ownersOf: () => owners,
    sink: {
      onChanges: (_feed, _batch, fresh) =>
        brought.push(...fresh.map(({ type, object }) => `${type} ${object.name}@${object.rv}`)),
      onWatermark: (_feed, rv) => brought.push(`watermark ${rv}`),
      onState: (feed, state) => {
        feed.adopt(state);
        link.resume(state);
      },
      onEnd: (end) => brought.push(`end ${end}`),
    },
  });
  const read = (scope: Scope): void =>
    link.read(scope, ({ listing }) =>
      given.push(`${scope.kind === 'name' ? scope.name : scope.value}@${listing.rv}: ${listing.objects.length}`),
    );
  const own = (...names: readonly string[]): void => {
    owners = names;
  };
  return { bus, clock, shards, brought, given, link, read, own };
}

/** A link with one scope, at 10. */
async function linked() {
  const it = started();
  it.read(A);
  await it.shards[0].answer(stateAt(10, [pod('a', 5)]));
  return it;
}

describe('what is read', () => {
  test('the first names the link as a whole, and is given its part of what the link begins with', async () => {
    const { shards, given, read } = started();
    read(A);
    read(N1);
    expect(shards[0].next).toBe('=default/a');
    await shards[0].answer(stateAt(10, [pod('a', 5), pod('c', 6, { node: 'n1' }), pod('d', 7, { node: 'n1' })]));
    expect(given).toEqual(['a@10: 1']);
    expect(shards[0].next, 'it came too late for that').toBe('+n1');
    await shards[0].answer(stateAt(12, [pod('c', 6, { node: 'n1' }), pod('d', 7, { node: 'n1' })]));
    expect(given).toEqual(['a@10: 1', 'n1@12: 2']);
  });

  test('what comes to be wanted meanwhile goes together, in bounded requests', async () => {
    const { shards, given, read } = await linked();
    read(B);
    for (let i = 0; i < 100; i++) read({ kind: 'indexed', value: `n${i}` });
    await turn();
    expect(shards[0].next).toBe('+default/b');
    await shards[0].answer(stateAt(11));
    expect(shards[0].asked[0]!.request.link.indexed).toHaveLength(64);
    await shards[0].answer(stateAt(12));
    await shards[0].answer(stateAt(13));
    expect(given).toHaveLength(102);
    expect(shards[0].asked).toEqual([]);
  });

  test('what is read again is not given what was asked before', async () => {
    const { shards, given, read } = await linked();
    read(B);
    read(B);
    await shards[0].answer(stateAt(11));
    expect(given).toEqual(['a@10: 1']);
    await shards[0].answer(stateAt(12));
    expect(given).toEqual(['a@10: 1', 'b@12: 0']);
  });

  test('I4: of a shard that is behind what is held nothing is taken, for what follows would be passed over', async () => {
    const { clock, shards, given, read } = await linked();
    shards[0].watermark(whole(10), 20);
    read(B);
    await shards[0].answer(stateAt(15));
    expect(given).toEqual(['a@10: 1']);
    await clock.advanceAsync(500);
    await shards[0].answer(stateAt(20));
    expect(given).toEqual(['a@10: 1', 'b@20: 0']);
  });

  test('what is removed meanwhile is not given, and taken off the link once more', async () => {
    const { shards, given, read, link } = await linked();
    read(B);
    link.remove(B);
    await shards[0].answer(stateAt(11));
    expect(given).toEqual(['a@10: 1']);
    expect(shards[0].unlinked).toEqual(['0 default/b;', '0 default/b;']);
  });

  test('a shard that has lost the link is told all of it again', async () => {
    const { shards, given, read } = await linked();
    read(B);
    await shards[0].answer(new StatusError(expired('no link')));
    const [lost] = shards.filter(({ asked }) => asked.length > 0);
    expect(lost!.next).toBe('=default/a,default/b');
    expect(lost!.asked[0]!.request.from).toEqual({ epoch: 1, position: whole(10) });
    await lost!.answer(changesTo(12));
    await turn();
    expect(given).toEqual(['a@10: 1']);
  });
});

describe('a shard is left for another, which goes on where it was', () => {
  test('when it says nothing for 3 s', async () => {
    const { clock, shards, brought, link } = await linked();
    shards[0].batch(whole(10), [change('MODIFIED', pod('a', 11))]);
    await clock.advanceAsync(3_000);
    link.watch();
    expect(shards[1].next).toBeUndefined();
    await clock.advanceAsync(1);
    link.watch();
    expect(shards[1].next).toBe('=default/a');
    expect(shards[1].asked[0]!.request.from?.position).toEqual({ rv: 11, index: 0 });
    await shards[1].answer(changesTo(13, change('MODIFIED', pod('a', 12))));
    shards[1].batch(whole(13), [change('MODIFIED', pod('a', 14))]);
    shards[0].batch(whole(13), [change('MODIFIED', pod('a', 15))]);
    expect(brought).toEqual(['MODIFIED a@11', 'MODIFIED a@12', 'watermark 13', 'MODIFIED a@14']);
    expect(shards[0].unlinked).toEqual(['0 ;']);
  });

  test('when it owns the partition no more; until another gives it the old one serves on', async () => {
    const { clock, shards, link, own } = await linked();
    own('shard-1');
    for (let second = 0; second < 4; second++) {
      await clock.advanceAsync(1_000);
      shards[0].watermark(whole(10), 10 + second);
      link.watch();
    }
    await shards[1].answer(new StatusError(expired('not yet')));
    expect(shards[0].next).toBe('=default/a');
    await shards[0].answer(changesTo(13));
    expect(link.feed.position).toEqual(whole(13));
  });

  test('but not for one that is behind', async () => {
    const { clock, shards, link } = await linked();
    shards[0].watermark(whole(10), 20);
    await clock.advanceAsync(3_001);
    link.watch();
    await shards[1].answer(changesTo(15));
    expect(link.feed.position).toEqual(whole(20));
    expect(shards[0].next, 'asked again, as the last').toBe('=default/a');
    await shards[0].answer(changesTo(21));
    expect(link.feed.position).toEqual(whole(21));
  });

  test('I4: what was kept of the one before is not brought: it knew of fewer scopes', async () => {
    const { clock, shards, brought, given, read, link } = await linked();
    await clock.advanceAsync(5_000);
    // shard-0 is at 17, and a part is missing before that.
    shards[0].watermark({ rv: 15, index: 0 }, 17);
    await shards[0].answer(new Error('away'));
    read(B);
    await shards[1].answer(changesTo(15, change('MODIFIED', pod('a', 15))));
    expect(link.feed.position).toEqual(whole(15));
    await shards[1].answer(stateAt(15));
    shards[1].batch(whole(15), [change('ADDED', pod('b', 16))]);
    expect(given).toEqual(['a@10: 1', 'b@15: 0']);
    expect(brought).toEqual(['MODIFIED a@15', 'watermark 15', 'ADDED b@16']);
  });

  test('I4: nothing is read of it before the feed has gone on', async () => {
    const { clock, shards, given, read } = await linked();
    await clock.advanceAsync(5_000);
    shards[0].watermark({ rv: 15, index: 0 }, 17);
    await shards[0].answer(new Error('away'));
    // What the new one says before it has answered.
    shards[1].watermark(whole(15), 17);
    read(B);
    await shards[1].answer(changesTo(15));
    await shards[1].answer(stateAt(16));
    expect(given, 'a change at 17 would be passed over').toEqual(['a@10: 1']);
    await clock.advanceAsync(500);
    await shards[1].answer(stateAt(17));
    expect(given).toEqual(['a@10: 1', 'b@17: 0']);
  });

  test('answers of the one before are of no use', async () => {
    const { clock, shards, given, read, link } = await linked();
    read(B);
    await turn();
    await clock.advanceAsync(3_001);
    link.watch();
    await shards[1].answer(changesTo(12));
    await shards[0].answer(stateAt(11));
    expect(given).toEqual(['a@10: 1']);
    await clock.advanceAsync(0);
    expect(shards[1].next).toBe('+default/b');
    await shards[1].answer(stateAt(13));
    expect(given).toEqual(['a@10: 1', 'b@13: 0']);
  });

  test('what was removed while it was told is taken off it', async () => {
    const { clock, shards, read, link } = await linked();
    read(B);
    await shards[0].answer(stateAt(11));
    await clock.advanceAsync(3_001);
    link.watch();
    link.remove(B);
    await shards[1].answer(changesTo(12));
    expect(shards[1].unlinked).toEqual(['0 default/b;']);
  });

  test('when what it gives does not lead over a hole', async () => {
    const { clock, shards } = await linked();
    await clock.advanceAsync(5_000);
    shards[0].batch({ rv: 14, index: 0 }, [change('MODIFIED', pod('a', 15))]);
    expect(shards[0].next, 'it has just read what follows').toBe('=default/a');
    await shards[0].answer(changesTo(10));
    shards[0].batch({ rv: 14, index: 0 }, [change('MODIFIED', pod('a', 15))]);
    expect(shards[1].next).toBe('=default/a');
  });
});

describe('an empty link', () => {
  test('is taken off the shard, and nothing is asked', async () => {
    const { clock, shards, link } = await linked();
    link.remove(A);
    await clock.advanceAsync(60_000);
    link.watch();
    expect(shards[0].unlinked).toEqual(['0 ;']);
    expect(shards.map(({ next }) => next)).toEqual([undefined, undefined]);
    expect(clock.pending).toBe(0);
  });

  test('begins anew, with all there is', async () => {
    const { shards, given, link, read } = await linked();
    link.remove(A);
    read(B);
    expect(shards[0].asked[0]!.request.from).toBeUndefined();
    await shards[0].answer(stateAt(30, [pod('b', 25)]));
    expect(given).toEqual(['a@10: 1', 'b@30: 1']);
  });

  test('is not asked for any more where no shard answered, and left again once one has', async () => {
    const { clock, shards, link, read } = started();
    read(A);
    await shards[0].answer(new Error('away'));
    link.remove(A);
    expect(shards[1].unlinked).toEqual(['0 ;']);
    await shards[1].answer(stateAt(10));
    expect(shards[1].unlinked).toEqual(['0 ;', '0 ;']);
    await clock.advanceAsync(60_000);
    expect(shards.map(({ next }) => next)).toEqual([undefined, undefined]);
  });
});

test('closing leaves the shard and waits for nothing', async () => {
  const { clock, shards, link, read, given } = await linked();
  read(B);
  link.close();
  await shards[0].answer(stateAt(11));
  expect(given).toEqual(['a@10: 1']);
  expect(shards[0].unlinked).toEqual(['0 ;']);
  expect(clock.pending).toBe(0);
});
