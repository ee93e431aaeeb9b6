import type { TrackState } from '@dogwatch/bus/track-state.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { LaneFacts } from '@dogwatch/watch/lane-view.ts';
import {
  type Change,
  type Listing,
  type Position,
  WHOLE_VERSION,
  comparePositions,
} from '@dogwatch/watch/watch-cache.ts';
import type { Ring } from './ring.ts';

/** All objects of a lane as they were last listed, by partition. */
export interface PartitionedListing {
  readonly facts: LaneFacts;
  readonly listings: readonly Listing[];
}

/** What of a lane followers can be told. */
export interface PublishedLane {
  readonly ring: Ring;
  readonly epoch: number;
  /** Everything up to here was published. */
  readonly watermark: ResourceVersion;
  readonly listing: PartitionedListing | undefined;
}

/**
 * What a follower of one partition lacks: the changes behind `from`, or the last listing and all behind it. Undefined
 * if neither is held.
 */
export function trackState(
  { ring, epoch, watermark, listing }: PublishedLane,
  partition: number,
  from: { readonly epoch: number; readonly position: Position } | undefined,
): TrackState | undefined {
  const last = ring.last(partition);
  const behind = (position: Position): Change[] | undefined => {
    const first = ring.after(partition, position);
    if (first === undefined) return undefined;
    return Array.from({ length: ring.end(partition) - first }, (_, index) => ring.at(partition, first + index).change);
  };
  if (from?.epoch === epoch) {
    const changes = behind(from.position);
    // A follower may have more than is read here: from whoever led before.
    const position = comparePositions(last, from.position) > 0 ? last : from.position;
    if (changes !== undefined) return { kind: 'changes', epoch, changes, position, watermark };
  }
  const listed = listing?.listings[partition];
  if (listing === undefined || listed === undefined) return undefined;
  const { rv } = listed;
  const changes = behind({ rv, index: WHOLE_VERSION });
  if (changes === undefined) return undefined;
  const { facts } = listing;
  return {
    kind: 'state',
    epoch,
    facts,
    listing: listed,
    tombstones: [],
    horizon: rv,
    changes,
    position: last,
    watermark,
  };
}
