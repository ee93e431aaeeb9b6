import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import { type Position, WHOLE_VERSION } from '@dogwatch/watch/watch-cache.ts';
import { Ring } from './ring.ts';

const whole = (rv: number): Position => ({ rv, index: WHOLE_VERSION });

function put(ring: Ring, partition: number, rv: number, readAt = 0): void {
  const previous = ring.last(partition);
  const position = rv === previous.rv ? { rv, index: previous.index + 1 } : { rv, index: 0 };
  ring.push(partition, { change: change('MODIFIED', pod('a', rv)), previous, position, readAt });
}

const versions = (ring: Ring, partition: number, from: number): number[] => {
  const found: number[] = [];
  for (let at = from; at < ring.end(partition); at++) found.push(ring.at(partition, at).position.rv);
  return found;
};

describe('what is held', () => {
  test('is found by its place, in each partition by itself', () => {
    const ring = new Ring(2, 1_000_000);
    ring.restart(10);
    for (const rv of [11, 13, 15]) put(ring, 0, rv);
    put(ring, 1, 12);
    expect(versions(ring, 0, ring.after(0, whole(10))!)).toEqual([11, 13, 15]);
    expect(versions(ring, 0, ring.after(0, { rv: 13, index: 0 })!)).toEqual([15]);
    expect(versions(ring, 0, ring.after(0, whole(12))!)).toEqual([13, 15]);
    expect(versions(ring, 1, ring.after(1, whole(99))!)).toEqual([]);
    expect(ring.after(0, whole(9)), 'before the start').toBeUndefined();
  });

  test('goes when there is too much, the oldest first, and the place where the rest begins is known', () => {
    const ring = new Ring(2, 2_000);
    ring.restart(10);
    put(ring, 1, 11);
    for (let rv = 12; rv < 30; rv++) put(ring, 0, rv);
    ring.trim();
    expect(ring.bytes).toBeLessThanOrEqual(2_000);
    expect(ring.last(1)).toEqual({ rv: 11, index: 0 });
    expect(ring.after(1, whole(10))).toBeUndefined();
    expect(ring.after(1, whole(11))).toBe(ring.end(1));
    const start = ring.before(0, ring.first(0));
    expect(ring.at(0, ring.first(0)).previous).toEqual(start);
    expect(ring.after(0, start)).toBe(ring.first(0));
  });

  test('is found by the time it was read', () => {
    const ring = new Ring(1, 1_000_000);
    for (const at of [1, 2, 3]) put(ring, 0, 10 + at, at * 100);
    expect(versions(ring, 0, ring.since(0, 150))).toEqual([12, 13]);
  });

  test('does not bring back what was before a restart', () => {
    const ring = new Ring(1, 1_000_000);
    put(ring, 0, 11);
    ring.restart(50);
    expect([ring.bytes, ring.end(0) - ring.first(0)]).toEqual([0, 0]);
    expect(ring.after(0, whole(11))).toBeUndefined();
    expect(ring.last(0)).toEqual(whole(50));
  });
});

describe('a batch', () => {
  test('has at most 256 changes, but never splits a version', () => {
    const ring = new Ring(1, 10_000_000);
    for (let rv = 1; rv <= 255; rv++) put(ring, 0, rv);
    for (let i = 0; i < 1_000; i++) put(ring, 0, 256);
    put(ring, 0, 257);
    const { batch, next } = ring.batch(0, 0, ring.end(0));
    expect(batch.changes).toHaveLength(1_255);
    expect(ring.batch(0, next, ring.end(0)).batch).toMatchObject({ previous: { rv: 256, index: 999 } });
  });

  test('ends at a break of the chain: a sibling of a version that was vouched for', () => {
    const ring = new Ring(1, 1_000_000);
    put(ring, 0, 11);
    const late = { change: change('DELETED', pod('b', 11)), readAt: 0 };
    ring.push(0, { ...late, previous: whole(11), position: { rv: 11, index: WHOLE_VERSION + 1 } });
    const { batch, next } = ring.batch(0, 0, 2);
    expect(batch.changes).toHaveLength(1);
    expect(ring.batch(0, next, 2).batch.previous).toEqual(whole(11));
  });
});

test('the chain is whole from any place that is held to the end (property)', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 3 })), { maxLength: 300 }),
      fc.integer({ min: 0, max: 40_000 }),
      (steps, bytesMax) => {
        const ring = new Ring(3, bytesMax);
        let rv = 1;
        for (const [partition, step] of steps) {
          rv += step;
          put(ring, partition, rv);
          ring.trim();
        }
        for (let partition = 0; partition < 3; partition++) {
          let place = ring.before(partition, ring.first(partition));
          for (let at = ring.first(partition); at < ring.end(partition);) {
            const { batch, next } = ring.batch(partition, at, ring.end(partition));
            expect(batch.previous).toEqual(place);
            expect(next).toBeGreaterThan(at);
            place = ring.before(partition, next);
            at = next;
          }
          expect(place).toEqual(ring.last(partition));
        }
      },
    ),
    { numRuns: 100 },
  );
});
