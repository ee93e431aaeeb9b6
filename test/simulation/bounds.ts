import assert from 'node:assert/strict';
import type { ReplicaLimits } from '@dogwatch/replica/lane-replica.ts';
import type { WatchCache } from '@dogwatch/watch/watch-cache.ts';
import type { WatchGroups } from '@dogwatch/watch/watch-groups.ts';

/** Promise I9: a cache keeps no more than it may. One change is kept, however large. */
export function expectBounded({ window, tombstoneBytes }: WatchCache, limits: ReplicaLimits): void {
  assert(window.size <= 1 || window.bytes <= limits.windowBytesMax, `I9: a window of ${window.bytes} bytes`);
  assert(tombstoneBytes <= limits.tombstoneBytesMax, `I9: remembered deletes of ${tombstoneBytes} bytes`);
}

/** Promise I9: once they were trimmed, groups keep no frame that all their members were sent. */
export function expectTrimmed(groups: WatchGroups): void {
  for (const { members, first, end } of groups) {
    const slowest = Math.min(end, ...Array.from(members, ({ cursor }) => cursor));
    assert(first >= slowest, `I9: frames from ${first} on are kept, though all were sent those below ${slowest}`);
  }
}
