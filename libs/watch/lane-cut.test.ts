import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type LaneCut, type PartitionState, cutOf } from './lane-cut.ts';
import { change, pod } from './test-objects.ts';
import type { Change, Tombstone } from './watch-cache.ts';

const put = (name: string, rv: number, type: 'ADDED' | 'MODIFIED' = 'MODIFIED'): Change => change(type, pod(name, rv));
const remove = (name: string, rv: number): Change => change('DELETED', pod(name, rv));
const tombstone = (name: string, rv: number): Tombstone => ({ object: pod(name, rv), born: 0 });

function state(rv: number, parts: Partial<PartitionState> & { objects?: readonly (readonly [string, number])[] }) {
  const { objects = [], changes = [], tombstones = [], horizon = 0 } = parts;
  const watermark = parts.watermark ?? Math.max(rv, changes.at(-1)?.object.rv ?? 0);
  const listing = { rv, objects: objects.map(([name, version]) => pod(name, version)) };
  return { listing, changes, watermark, tombstones, horizon } satisfies PartitionState;
}

function cut(...states: readonly PartitionState[]): LaneCut {
  const found = cutOf(states);
  if (found.kind === 'behind') throw new Error(`partitions ${found.partitions.join()} are behind ${found.rv}`);
  return found;
}

const names = ({ listing }: LaneCut): string[] => listing.objects.map(({ name, rv }) => `${name}@${rv}`).toSorted();
const rest = ({ rest: changes }: LaneCut): string[][] =>
  changes.map((of) => of.map(({ type, object }) => `${type} ${object.name}@${object.rv}`));
const dead = ({ tombstones }: LaneCut): string[] =>
  tombstones.map(({ object, born }) => `${object.name}@${object.rv} born ${born}`);

describe('a cut of a lane', () => {
  test('stands at the highest listing; the others are advanced to it by their changes', () => {
    const found = cut(
      state(10, {
        objects: [
          ['a', 4],
          ['b', 9],
        ],
        changes: [put('a', 12), put('c', 20, 'ADDED'), remove('b', 21), put('a', 25)],
      }),
      state(20, { objects: [['y', 18]], changes: [put('y', 24)] }),
    );
    expect(found.listing.rv).toBe(20);
    expect(names(found)).toEqual(['a@12', 'b@9', 'c@20', 'y@18']);
    expect(rest(found)).toEqual([['DELETED b@21', 'MODIFIED a@25'], ['MODIFIED y@24']]);
  });

  test('deletes among the changes up to it become tombstones, in order with those there are', () => {
    const found = cut(
      state(10, {
        objects: [['old', 4]],
        changes: [put('young', 12, 'ADDED'), put('young', 13), remove('old', 14), remove('young', 15)],
        watermark: 20,
        tombstones: [tombstone('gone', 6)],
        horizon: 2,
      }),
      state(20, { tombstones: [tombstone('left', 5), tombstone('left', 14)], horizon: 3, changes: [remove('z', 21)] }),
    );
    expect(dead(found)).toEqual([
      'left@5 born 0',
      'gone@6 born 0',
      'old@14 born 0',
      'left@14 born 0',
      'young@15 born 12',
    ]);
    expect(found.horizon, 'below it one of the partitions has forgotten deletes').toBe(3);
    expect(rest(found)).toEqual([[], ['DELETED z@21']]);
  });

  test('an object that was deleted and made again is there, and its first life is remembered', () => {
    const found = cut(
      state(10, { objects: [['a', 4]], changes: [remove('a', 12), put('a', 13, 'ADDED')], watermark: 20 }),
      state(20, {}),
    );
    expect(names(found)).toEqual(['a@13']);
    expect(dead(found)).toEqual(['a@12 born 0']);
  });

  test('of one partition is what it was', () => {
    const only = state(10, { objects: [['a', 4]], changes: [put('a', 12)], tombstones: [tombstone('b', 5)] });
    expect(cut(only)).toEqual({
      kind: 'cut',
      listing: only.listing,
      tombstones: only.tombstones,
      horizon: 0,
      rest: [only.changes],
    });
  });

  test('stands no lower than asked: a cache that is further cannot be repaired with less', () => {
    const states = [state(10, { changes: [put('a', 12), put('a', 25)] }), state(20, { watermark: 24 })];
    expect(cutOf(states, 24)).toMatchObject({ listing: { rv: 24 }, rest: [[{ object: { rv: 25 } }], []] });
    expect(cutOf(states, 25)).toEqual({ kind: 'behind', rv: 25, partitions: [1] });
    expect(cutOf(states, 3)).toMatchObject({ listing: { rv: 20 } });
  });

  test('waits for the partitions that do not reach it', () => {
    expect(cutOf([state(20, {}), state(10, { changes: [put('a', 19)] }), state(5, { watermark: 4 })])).toEqual({
      kind: 'behind',
      rv: 20,
      partitions: [1, 2],
    });
    expect(cutOf([state(20, {}), state(10, { changes: [put('a', 19)], watermark: 20 })]).kind).toBe('cut');
  });
});

/** A lane's history: by event a partition, one of a few objects of it, and what becomes of it. */
const history = fc.array(
  fc.record({ partition: fc.nat(3), object: fc.nat(2), kind: fc.constantFrom('put', 'put', 'delete') }),
  { maxLength: 60, size: 'max' },
);

test('wherever partitions were listed, a cut and what follows it are the whole history', () => {
  fc.assert(
    fc.property(history, fc.array(fc.nat(60), { minLength: 4, maxLength: 4 }), (events, listedAt) => {
      const live = new Map<string, Change['object']>();
      const changes = events.flatMap(({ partition, object, kind }, i) => {
        const name = `p${partition}-${object}`;
        const held = live.get(name);
        if (kind === 'delete' && held === undefined) return [];
        const made = pod(name, i + 1);
        if (kind === 'delete') live.delete(name);
        else live.set(name, made);
        return [{ partition, change: change(kind === 'delete' ? 'DELETED' : held ? 'MODIFIED' : 'ADDED', made) }];
      });
      const of = (partition: number): Change[] =>
        changes.filter((event) => event.partition === partition).map((event) => event.change);
      const fold = (upTo: number, from: readonly Change[]): Map<string, Change['object']> => {
        const held = new Map<string, Change['object']>();
        for (const { type, object } of from) {
          if (object.rv > upTo) break;
          if (type === 'DELETED') held.delete(object.name);
          else held.set(object.name, object);
        }
        return held;
      };
      const states = listedAt.map((at, partition): PartitionState => {
        const all = of(partition);
        return {
          listing: { rv: at, objects: [...fold(at, all).values()] },
          changes: all.filter(({ object }) => object.rv > at),
          watermark: 100,
          tombstones: all
            .filter(({ type, object }) => type === 'DELETED' && object.rv <= at)
            .map(({ object }) => ({ object, born: 0 })),
          horizon: 0,
        };
      });
      const found = cut(...states);
      const { rv, objects } = found.listing;
      const all = changes.map((event) => event.change);
      expect(rv).toBe(Math.max(...listedAt));
      expect(new Map(objects.map((object) => [object.name, object]))).toEqual(fold(rv, all));
      expect(found.tombstones.map(({ object }) => object)).toEqual(
        all.filter(({ type, object }) => type === 'DELETED' && object.rv <= rv).map(({ object }) => object),
      );
      expect(found.rest).toEqual([0, 1, 2, 3].map((p) => of(p).filter(({ object }) => object.rv > rv)));
    }),
    { numRuns: 100 },
  );
});
