import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ownersOf } from './ownership.ts';

const TRACKS = Array.from({ length: 1_000 }, (_, i) => `coordination.k8s.io/v1/leases/protobuf/object/${i}`);
const MEMBERS = Array.from({ length: 5 }, (_, i) => `dogwatch-shard-${i}`);

function load(members: readonly string[]): Map<string, number> {
  const counts = new Map(members.map((member) => [member, 0]));
  for (const track of TRACKS)
    for (const owner of ownersOf(track, members)) counts.set(owner, (counts.get(owner) ?? 0) + 1);
  return counts;
}

describe('the owners of a track', () => {
  test('are two different members, the same for all who see the same members', () => {
    fc.assert(
      fc.property(fc.string(), fc.uniqueArray(fc.string(), { maxLength: 8 }), (track, members) => {
        const owners = ownersOf(track, members);
        expect(new Set(owners).size).toBe(Math.min(2, members.length));
        expect(ownersOf(track, members.toReversed())).toEqual(owners);
      }),
    );
  });

  test('are spread evenly: each of 5 members owns its share of 1,000 tracks within 15 %', () => {
    const share = (2 * TRACKS.length) / MEMBERS.length;
    for (const count of load(MEMBERS).values()) {
      expect(count).toBeGreaterThan(0.85 * share);
      expect(count).toBeLessThan(1.15 * share);
    }
  });

  test('stay when a member goes, but for its own tracks, which others share', () => {
    const gone = MEMBERS[2]!;
    const left = MEMBERS.filter((member) => member !== gone);
    for (const track of TRACKS) {
      const before = ownersOf(track, MEMBERS);
      const stayed = before.filter((owner) => owner !== gone);
      expect(ownersOf(track, left).slice(0, stayed.length)).toEqual(stayed);
    }
    for (const count of load(left).values()) expect(count).toBeGreaterThan((0.85 * 2 * TRACKS.length) / left.length);
  });

  test('are a contract between processes of different versions', () => {
    expect(ownersOf(TRACKS[0]!, MEMBERS, 5)).toMatchInlineSnapshot(`
      [
        "dogwatch-shard-2",
        "dogwatch-shard-3",
        "dogwatch-shard-0",
        "dogwatch-shard-1",
        "dogwatch-shard-4",
      ]
    `);
  });
});
