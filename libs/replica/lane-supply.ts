import type { Envelope } from '@dogwatch/bus/envelope.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { type Position, comparePositions } from '@dogwatch/watch/watch-cache.ts';

/** What of one track is missing. */
export interface Lack {
  readonly lane: Lane;
  readonly partition: number;
  /** What is held of it; undefined: nothing that could be continued. */
  readonly from: { readonly epoch: number; readonly position: Position } | undefined;
}

/** What was asked for is not wanted any more: a listing came, or nobody follows. Thrown by `deliver`. */
export class Superseded extends Error {
  readonly code = 'Superseded';
  constructor() {
    super('what was missing of a track is not wanted any more');
  }
}

/** True if `found` has something behind what is held; another source may, where one is behind itself. */
export function leadsOn({ epoch, position }: TrackState, from: Lack['from']): boolean {
  if (from === undefined || epoch !== from.epoch) return from === undefined || epoch > from.epoch;
  return comparePositions(position, from.position) > 0;
}

/** How a replica gets what it lacks of a track. */
export interface Recovery {
  /**
   * What brings the track up to date. A source may also hand out envelopes that continue `from`, one by one in their
   * order, by `deliver`, and then resolve with 'delivered'; `deliver` throws ChainGap where they do not continue, and
   * Superseded. 'published': a listing will come on the track itself. Rejects where nobody can tell now, or those who
   * can are behind `from`; it is asked again.
   */
  recover(lack: Lack, deliver: (envelope: Envelope) => void): Promise<TrackState | 'delivered' | 'published'>;
}

/** Where the copies of lanes come from. Compositions differ in it. */
export interface LaneSupply extends Recovery {
  /** Has the lane read. Resolves with the number of its partitions; rejects with StatusError where it cannot be. */
  open(lane: Lane): Promise<number>;
  /** Nobody uses the lane here any more. */
  release(lane: Lane): Promise<void>;
  /** The lane has ended by itself: whoever opens it again finds out anew what there is. */
  ended(lane: Lane): void;
}
