import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { change, pod } from './test-objects.ts';
import { LateChange, type Merged, TrackMerge } from './track-merge.ts';
import type { Change } from './watch-cache.ts';

const at = (rv: number, name = 'x'): Change => change('MODIFIED', pod(name, rv));
const merge = (partitions: number, bytesMax = 1_000_000): TrackMerge => new TrackMerge({ partitions, bytesMax });
const shown = (merged: Merged | undefined): unknown =>
  merged && {
    changes: merged.changes.map(({ object }) => `${object.name}@${object.rv}`),
    watermark: merged.watermark,
  };

describe('a lane of several partitions', () => {
  test('gives what all partitions are known to be complete up to', () => {
    const lane = merge(2);
    lane.add(0, [at(3), at(7)]);
    lane.reach(0, 7);
    expect(lane.take(), 'nothing is known of the other partition').toBeUndefined();
    lane.add(1, [at(2, 'y'), at(5, 'y')]);
    lane.reach(1, 5);
    expect(shown(lane.take())).toEqual({ changes: ['y@2', 'x@3', 'y@5'], watermark: 5 });
    lane.reach(1, 6);
    expect(shown(lane.take()), 'a watermark is news, too').toEqual({ changes: [], watermark: 6 });
    expect(lane.take()).toBeUndefined();
    lane.reach(1, 9);
    expect(shown(lane.take())).toEqual({ changes: ['x@7'], watermark: 7 });
  });

  test('a watermark that overtakes a gathering partition gives nothing of it early', () => {
    const lane = merge(2);
    // Partition 0 gathers: it has changes, but nobody has said yet that it has all of them.
    lane.add(0, [at(4)]);
    lane.reach(1, 9);
    expect(lane.take()).toBeUndefined();
    lane.reach(0, 3);
    expect(shown(lane.take())).toEqual({ changes: [], watermark: 3 });
    lane.add(0, [at(6)]);
    lane.reach(0, 6);
    expect(shown(lane.take())).toEqual({ changes: ['x@4', 'x@6'], watermark: 6 });
  });

  test('one version whose events are in several partitions and over two envelopes is given whole and in order', () => {
    const lane = merge(3);
    lane.add(2, [at(5, 'c1')]);
    lane.add(0, [at(4, 'a0'), at(5, 'a1')]);
    lane.reach(1, 8);
    lane.reach(0, 4);
    lane.reach(2, 4);
    expect(shown(lane.take())).toEqual({ changes: ['a0@4'], watermark: 4 });
    lane.add(0, [at(5, 'a2'), at(6, 'a3')]);
    lane.add(2, [at(5, 'c2')]);
    lane.reach(2, 7);
    expect(shown(lane.take())).toBeUndefined();
    lane.reach(0, 6);
    expect(shown(lane.take())).toEqual({ changes: ['a1@5', 'a2@5', 'c1@5', 'c2@5', 'a3@6'], watermark: 6 });
  });

  test('a partition that lags holds back all others, up to a bound of bytes', () => {
    const lane = merge(3, 10 * (at(10).frame.length + 256));
    lane.reach(2, 1);
    for (let rv = 10; rv < 20; rv++) {
      lane.add(rv % 2, [at(rv)]);
      lane.reach(0, rv);
      lane.reach(1, rv);
      lane.take();
      expect(lane.overfull).toBe(false);
    }
    lane.add(0, [at(20)]);
    expect(lane.overfull).toBe(true);
    expect(lane.slowest).toBe(2);
    lane.reach(2, 15);
    expect(shown(lane.take())).toMatchObject({ watermark: 15 });
    expect(lane.overfull).toBe(false);
    lane.reach(2, 20);
    lane.reach(1, 20);
    lane.reach(0, 20);
    expect(shown(lane.take())).toMatchObject({ watermark: 20 });
    expect(lane.bytes).toBe(0);
  });

  test('begins at the version the lane is held at', () => {
    const lane = new TrackMerge({ partitions: 2, bytesMax: 1_000, watermark: 10 });
    expect(lane.watermark).toBe(10);
    expect(lane.take()).toBeUndefined();
    expect(() => lane.add(1, [at(10)])).toThrow(LateChange);
    lane.add(0, [at(12)]);
    lane.reach(0, 12);
    lane.reach(1, 11);
    expect(shown(lane.take())).toEqual({ changes: [], watermark: 11 });
  });

  test.each([
    { what: 'at what was vouched for', changes: [at(9), at(10)], complete: 9 },
    { what: 'below the change before it', changes: [at(11)], complete: 12 },
    { what: 'below the change before it in the same batch', changes: [at(14), at(13)], complete: 14 },
  ])('a change $what is loss of continuity, and nothing of its batch is added', ({ changes }) => {
    const lane = merge(2);
    lane.add(0, [at(12)]);
    lane.reach(0, 9);
    expect(() => lane.add(0, changes)).toThrow(LateChange);
    lane.reach(0, 20);
    lane.reach(1, 20);
    expect(shown(lane.take())).toEqual({ changes: ['x@12'], watermark: 20 });
  });

  test('a watermark below the last one says nothing', () => {
    const lane = merge(2);
    lane.reach(0, 9);
    lane.reach(0, 5);
    lane.reach(1, 9);
    expect(shown(lane.take())).toEqual({ changes: [], watermark: 9 });
  });
});

describe('a lane of one partition', () => {
  test('gives everything at once, whatever its watermark', () => {
    const lane = merge(1);
    lane.add(0, [at(3), at(5, 'a')]);
    expect(shown(lane.take())).toEqual({ changes: ['x@3', 'a@5'], watermark: 0 });
    lane.add(0, [at(5, 'b')]);
    lane.reach(0, 5);
    expect(shown(lane.take())).toEqual({ changes: ['b@5'], watermark: 5 });
    expect(lane.take()).toBeUndefined();
    expect(lane.bytes).toBe(0);
  });

  test('passes on a late event of its last version, but nothing older', () => {
    const lane = merge(1);
    lane.add(0, [at(5, 'a')]);
    lane.reach(0, 5);
    lane.take();
    lane.add(0, [at(5, 'late')]);
    expect(shown(lane.take())).toEqual({ changes: ['late@5'], watermark: 5 });
    expect(() => lane.add(0, [at(4)])).toThrow(LateChange);
  });
});

/** What happens in one partition, in order: changes come in envelopes, some followed by a watermark. */
interface Track {
  readonly changes: readonly Change[];
  /** Lengths of the envelopes, used round. */
  readonly envelopes: readonly number[];
}

const lane = fc.integer({ min: 1, max: 16 }).chain((partitions) =>
  fc.record({
    partitions: fc.constant(partitions),
    // By event: its partition, and by how much its version is above the one before it (0: the same version).
    events: fc.array(fc.record({ partition: fc.nat(partitions - 1), step: fc.constantFrom(0, 1, 1, 2, 5) }), {
      maxLength: 200,
      size: 'max',
    }),
    envelopes: fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 5 }),
    // Which partition goes on next, and whether the merge is asked.
    schedule: fc.array(fc.record({ partition: fc.nat(partitions - 1), take: fc.boolean() }), {
      minLength: 50,
      maxLength: 500,
      size: 'max',
    }),
  }),
);

/** One partition's envelopes as a follower gets them: add, and reach where the version is whole. */
function* follow(merged: TrackMerge, partition: number, { changes, envelopes }: Track): Generator<void, void> {
  for (let at = 0, turn = 0; at < changes.length; turn++) {
    const end = at + envelopes[turn % envelopes.length]!;
    merged.add(partition, changes.slice(at, end));
    yield;
    const following = changes[end]?.object.rv ?? Number.MAX_SAFE_INTEGER;
    // Vouched for: everything read just before the next change; of a version that goes on, nothing.
    const last = changes[Math.min(end, changes.length) - 1]!.object.rv;
    merged.reach(partition, following === last ? last - 1 : Math.min(following - 1, last + (turn % 3)));
    yield;
    at = end;
  }
}

test('I2: any interleaving of 1 to 16 partitions gives the one sorted history, and never below a watermark', () => {
  let given = 0;
  fc.assert(
    fc.property(lane, ({ partitions, events, envelopes, schedule }) => {
      let rv = 1;
      const history = events.map(({ partition, step }, i) => ({ partition, change: at((rv += step), `o${i}`) }));
      const merged = merge(partitions);
      const tracks = Array.from({ length: partitions }, (_, partition) => {
        const changes = history.filter((event) => event.partition === partition).map((event) => event.change);
        return follow(merged, partition, { changes, envelopes });
      });
      const out: Change[] = [];
      let watermark = 0;
      const take = (): void => {
        const stretch = merged.take();
        if (stretch === undefined) return;
        expect(stretch.watermark).toBeGreaterThanOrEqual(watermark);
        for (const { object } of stretch.changes) {
          // With one partition changes are given before their version is whole.
          if (object.rv <= watermark || (partitions > 1 && object.rv > stretch.watermark)) {
            throw new Error(`${object.rv} came between the watermarks ${watermark} and ${stretch.watermark}`);
          }
        }
        watermark = stretch.watermark;
        out.push(...stretch.changes);
      };
      for (const { partition, take: asked } of schedule) {
        tracks[partition]!.next();
        if (asked) take();
      }
      for (const [partition, track] of tracks.entries()) {
        for (let step = track.next(); step.done !== true; step = track.next());
        merged.reach(partition, rv + 10);
      }
      take();
      given += out.length;
      // toSorted is stable: within (version, partition) the place in the partition decides.
      const sorted = history.toSorted((a, b) => a.change.object.rv - b.change.object.rv || a.partition - b.partition);
      expect(out.map(({ object }) => object.name)).toEqual(sorted.map((event) => event.change.object.name));
      expect(watermark).toBe(rv + 10);
      expect(merged.bytes).toBe(0);
    }),
    { numRuns: 200 },
  );
  expect(given).toBeGreaterThan(5_000);
});
