import { laneKey } from '@dogwatch/kube/lane.ts';
import { ExpiringCache } from './expiring-cache.ts';
import type { GetPlan, ListPlan } from './plan.ts';

/**
 * Who deletes a namespace lists every resource there is at RV "", and looks again after five seconds at the earliest:
 * lanes are not opened for that. What is read less often costs upstream no more without a lane than the proofs of one.
 */
const AGAIN_MS = 5_000;
/** Of the resources that are there, each in two encodings and views. */
const LANES = { maxEntries: 1_000, maxBytes: 256 * 1024 };

/** Reads of lanes that are not open: which of them are worth a lane, and which upstream answers. */
export class FirstReads {
  readonly #read: ExpiringCache<true>;

  /** `now` is monotonic time in ms. */
  constructor(now: () => number) {
    this.#read = new ExpiringCache({ ...LANES, now });
  }

  /**
   * True if the lane is to be opened for this read: at once for a LIST at RV "0" or another version it may not be
   * older than, because the watch that follows would begin before a lane that is opened only then, and for shards,
   * which upstream may not know. Never for a past state, which a lane does not have from before it was opened.
   * Everything else is somebody's one look, unless somebody has looked at the lane within the last five seconds.
   */
  opens(plan: ListPlan | GetPlan): boolean {
    if (plan.interest.shards !== undefined) return true;
    if (plan.kind === 'list') {
      const { kind } = plan.range.state;
      if (kind === 'exact') return false;
      if (kind !== 'fresh') return true;
    }
    const key = laneKey(plan.lane);
    if (this.#read.get(key) === true) return true;
    this.#read.set(key, true, { ttlMs: AGAIN_MS, bytes: 0 });
    return false;
  }
}
