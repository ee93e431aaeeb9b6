import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { LaneEnd, LaneFacts } from '@dogwatch/watch/lane-view.ts';
import type { Batch, Listing, Position } from '@dogwatch/watch/watch-cache.ts';

/**
 * A unit of the bus: consecutive facts of one track. `epoch` names one history; it grows only when continuity is lost,
 * and then begins with a listing, or word of one.
 */
export type Envelope =
  | { readonly kind: 'listing'; readonly epoch: number; readonly facts: LaneFacts; readonly listing: Listing }
  /** There is a listing at `rv`, too long for this way: who holds less asks for a `sync`. */
  | { readonly kind: 'listed'; readonly epoch: number; readonly rv: ResourceVersion }
  | { readonly kind: 'batch'; readonly epoch: number; readonly batch: Batch }
  /** Everything up to `rv` is in the envelopes so far, of which the last change stands at `previous`. */
  | { readonly kind: 'watermark'; readonly epoch: number; readonly previous: Position; readonly rv: ResourceVersion }
  /** Open watches must end; a listing follows if the lane lives on. */
  | { readonly kind: 'end'; readonly epoch: number; readonly end: LaneEnd };
