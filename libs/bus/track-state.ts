import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { LaneFacts } from '@dogwatch/watch/lane-view.ts';
import type { Change, Listing, Position, Tombstone } from '@dogwatch/watch/watch-cache.ts';

/** What brings a follower of one track up to date. */
export type TrackState = {
  readonly epoch: number;
  /** In the order of the track. */
  readonly changes: readonly Change[];
  /** Behind the last of `changes`: what is published next continues it. */
  readonly position: Position;
  /** Everything up to here is included. */
  readonly watermark: ResourceVersion;
} & (
  | { readonly kind: 'changes' }
  | {
      readonly kind: 'state';
      readonly facts: LaneFacts;
      /** The objects as they were before `changes`. */
      readonly listing: Listing;
      /** Deletes at or below `listing.rv`, ascending. */
      readonly tombstones: readonly Tombstone[];
      /** Every delete above this version is in `tombstones` or `changes`. */
      readonly horizon: ResourceVersion;
    }
);
