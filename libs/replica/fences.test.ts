import { describe, expect, test } from 'vitest';
import type { LaneRequests } from '@dogwatch/bus/bus.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { interest } from '@dogwatch/watch/test-objects.ts';
import { type Doubt, Fences } from './fences.ts';
import { WHOLE_LANE } from './inventory.ts';
import { PODS, TestIngest, inventoryOf, rejection, turn } from './test-ingest.ts';

type Reply = LaneRequests['fence']['reply'];

const DOUBT: Doubt = { epoch: 1, extent: WHOLE_LANE, objects: 5, laneObjects: 5, moving: false, failed: 0 };
const PART = { interest: interest({ namespace: 'a' }), limit: 0 };
const OTHER = { interest: interest({ namespace: 'b' }), limit: 0 };
const PAGE = { interest: interest(), limit: 500 };

function started(lane = PODS) {
  const ingest = new TestIngest();
  const replies: PromiseWithResolvers<Reply>[] = [];
  const epochs: (number | undefined)[] = [];
  ingest.fence = ({ epoch }) => {
    epochs.push(epoch);
    const reply = Promise.withResolvers<Reply>();
    replies.push(reply);
    return reply.promise;
  };
  const fences = new Fences({ bus: ingest.bus, lane, clock: createFakeClock() });
  const raise = (doubt: Partial<Doubt> = {}) => fences.raise({ ...DOUBT, ...doubt });
  /** The oldest request that is not answered yet, waited for. */
  const next = async (): Promise<PromiseWithResolvers<Reply>> => {
    for (let turns = 0; replies.length === 0 && turns < 50; turns++) await turn();
    return replies.shift()!;
  };
  const answer = async (rv: number): Promise<void> => {
    (await next()).resolve({ rv, inventory: inventoryOf(rv) });
  };
  /** Asks, and waits until that has left. */
  const left = async (): Promise<{ readonly first: ReturnType<typeof raise> }> => {
    const first = raise();
    for (let turns = 0; replies.length === 0 && turns < 50; turns++) await turn();
    return { first };
  };
  return { ingest, epochs, raise, left, answer, next };
}

describe('a herd', () => {
  test('I6: costs two requests, and nobody is given one that had left before they came', async () => {
    const { ingest, raise, left, answer } = started();
    const { first } = await left();
    const herd = Array.from({ length: 1_000 }, () => raise());
    await turn();
    expect(ingest.asked).toHaveLength(1);
    await answer(15);
    expect((await first).rv).toBe(15);
    while (ingest.asked.length < 2) await turn();
    const late = raise();
    await answer(18);
    expect(new Set((await Promise.all(herd)).map(({ rv }) => rv))).toEqual(new Set([18]));
    await answer(20);
    expect((await late).rv).toBe(20);
    expect(ingest.asked).toHaveLength(3);
  });

  test('that comes in several turns is waited for, but not for ever', async () => {
    const { ingest, raise, answer } = started();
    /** What is asked in so many turns, once in each, as sockets are read: before a turn's immediates run. */
    const come = async (turns: number): Promise<ReturnType<typeof raise>[]> => {
      let next = turn();
      const herd = [raise()];
      for (let passed = 1; passed < turns; passed++) {
        await next;
        next = turn();
        herd.push(raise());
      }
      return herd;
    };
    const herd = await come(16);
    expect(ingest.asked).toEqual([]);
    await answer(15);
    expect(new Set((await Promise.all(herd)).map(({ rv }) => rv))).toEqual(new Set([15]));
    void (await come(25));
    expect(ingest.asked).toHaveLength(2);
  });

  test('is told of a failure, and does not keep who comes next from asking', async () => {
    const { raise, left, answer, next: request } = started();
    const asked = [(await left()).first, raise(), raise()].map(rejection);
    (await request()).reject(new Error('away'));
    (await request()).reject(new Error('away'));
    await Promise.all(asked.map(async (each) => expect(await each).toMatchObject({ message: 'away' })));
    const next = raise();
    await answer(15);
    expect((await next).rv).toBe(15);
  });

  test('shares one inventory, which is compared once', async () => {
    const { raise, left, answer } = started();
    await left();
    const [a, b] = [raise({ extent: PART }), raise({ extent: PART })];
    await answer(10);
    await answer(15);
    expect((await a).inventory).toBe((await b).inventory);
    expect((await a).inventory?.extent).toBe(PART);
  });
});

describe('upstream is asked the cheapest that serves all', () => {
  test.each<[string, Partial<Doubt>[], string]>([
    ['a version where the lane is on the move', [{ moving: true }], 'probe'],
    ['an inventory where one does not know of that', [{ moving: true }, {}], 'inventory'],
    ['an inventory where that has proved nothing', [{ moving: true, failed: 1 }], 'inventory'],
    ['only what all want', [{ extent: PART }, { extent: PART }], 'inventory a'],
    ['all of the lane if they want different things', [{ extent: PART }, { extent: OTHER }], 'inventory'],
    ['to verify a lane that is too large', [{ objects: 20_001, laneObjects: 20_001 }], 'verify'],
    ['a small part of one', [{ extent: PART, objects: 3, laneObjects: 20_001 }], 'inventory a'],
    [
      'to verify it if they want different parts',
      [
        { extent: PART, objects: 3, laneObjects: 20_001 },
        { extent: OTHER, objects: 3, laneObjects: 20_001 },
      ],
      'verify',
    ],
    ['a page alone', [{ extent: PAGE, objects: 500, laneObjects: 20_001 }], 'inventory first 500'],
    ['to verify what no inventory tells', [{ failed: 2 }, {}], 'verify'],
    [
      'never all of a lane of which a part is held',
      [
        { extent: PART, laneObjects: Infinity },
        { extent: OTHER, laneObjects: Infinity },
      ],
      'verify',
    ],
  ])('%s', async (_, doubts, asked) => {
    const { ingest, raise, left, answer } = started();
    await left();
    for (const doubt of doubts) void raise(doubt);
    await answer(10);
    while (ingest.asked.length < 2) await turn();
    expect(ingest.asked).toEqual(['inventory', asked]);
  });

  test('never to verify Events, for their watches get no bookmarks', async () => {
    const { ingest, raise } = started({ ...PODS, resource: 'events' });
    void raise({ objects: 100_000, laneObjects: 100_000, failed: 5 });
    while (ingest.asked.length === 0) await turn();
    expect(ingest.asked).toEqual(['inventory']);
  });

  test('about the newest history that one of them holds', async () => {
    const { epochs, raise, left, answer } = started();
    await left();
    const asked = [raise({ epoch: 2 }), raise({ epoch: 3 }), raise({ epoch: 1 })];
    await answer(10);
    await answer(15);
    expect((await Promise.all(asked)).map(({ epoch }) => epoch)).toEqual([3, 3, 3]);
    expect(epochs).toEqual([1, 3]);
  });
});
