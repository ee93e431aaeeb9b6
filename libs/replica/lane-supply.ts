import type { Envelope } from '@dogwatch/bus/envelope.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { Position } from '@dogwatch/watch/watch-cache.ts';

/** What of one track is missing. */
export interface Lack {
  readonly lane: Lane;
  readonly partition: number;
  /** What is held of it; undefined: nothing that could be continued. */
  readonly from: { readonly epoch: number; readonly position: Position } | undefined;
}

/** How a replica gets what it lacks of a track. */
export interface Recovery {
  /**
   * What brings the track up to date. A source may also hand out envelopes that continue `from`, one by one in their
   * order, by `deliver`, and then resolve with 'delivered'. 'published': a listing will come on the track itself.
   * Rejects where nobody can tell now; it is asked again.
   */
  recover(lack: Lack, deliver: (envelope: Envelope) => void): Promise<TrackState | 'delivered' | 'published'>;
}

/** Where the copies of lanes come from. Compositions differ in it. */
export interface LaneSupply extends Recovery {
  /** Has the lane read. Resolves with the number of its partitions; rejects with StatusError where it cannot be. */
  open(lane: Lane): Promise<number>;
  /** Nobody uses the lane here any more. */
  release(lane: Lane): Promise<void>;
}
