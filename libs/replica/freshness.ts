import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { StatusError, serviceUnavailable } from '@dogwatch/kube/status.ts';
import { type Clock, inTime } from '@dogwatch/process/clock.ts';
import type { Extent } from '@dogwatch/watch/lane-view.ts';
import type { WatchCache } from '@dogwatch/watch/watch-cache.ts';
import type { Fences } from './fences.ts';
import { withoutShards } from './inventory.ts';
import type { VersionAges } from './version-ages.ts';
import type { VersionWaiters } from './version-waiters.ts';

/** A lane on the move has passed a version after this, or is not on the move. */
const PROBE_PATIENCE_MS = 50;
/** What upstream's list shows, its watch has shown after this, or an inventory will not tell. */
const INVENTORY_PATIENCE_MS = 250;

/** What is to be proved fresh: a lane, or what is held of it. */
export interface Provable {
  readonly cache: WatchCache;
  /** Names the history that is held. */
  readonly epoch: number;
  /** Objects of the lane; Infinity where only a part of it is held. */
  readonly laneObjects: number;
  readonly moving: boolean;
}

export interface ProofDependencies {
  readonly clock: Clock;
  readonly fences: Fences;
  /** Looked at whenever what is held has changed. */
  readonly waiters: VersionWaiters;
  readonly ages: VersionAges;
}

/**
 * What `LaneView.fresh` promises, for `view`. On the move, the lane is held to a version probed after the call; at rest,
 * or where it has not got there at once, what is held is compared with an inventory; and where that does not tell, the
 * lane is verified. Each is asked for once for all who wait.
 */
export async function whenFresh<T>(
  view: Provable,
  { clock, fences, waiters, ages }: ProofDependencies,
  request: { timeoutMs: number; use: (rv: ResourceVersion) => T; extent: Extent },
): Promise<T> {
  const deadline = clock.now() + request.timeoutMs;
  const extent = withoutShards(request.extent);
  for (let failed = 0; clock.now() < deadline && !waiters.closed; failed++) {
    const { epoch, laneObjects, moving } = view;
    const objects = fences.sizes.of(view.cache, extent);
    const raised = fences.raise({ epoch, extent, objects, laneObjects, moving, failed });
    const fence = await inTime(raised, clock, deadline - clock.now());
    if (fence === undefined) break;
    const holds = (): boolean =>
      view.epoch === fence.epoch &&
      (passed(view.cache, fence.rv, !fences.inventoriesOnly) || fence.inventory?.equals(view.cache) === true);
    const isLast = fence.verified || (failed > 0 && fences.inventoriesOnly);
    const patience = fence.inventory === undefined ? PROBE_PATIENCE_MS : INVENTORY_PATIENCE_MS;
    const until = isLast ? deadline : Math.min(deadline, clock.now() + patience);
    // A proof of another history is none; if that is yet to come here, it is waited for.
    const settled = (): boolean => holds() || view.epoch > fence.epoch;
    // `use` runs in the very turn the proof holds in: the next change may undo a proof by inventory.
    while (settled() || (await waiters.wait(settled, until - clock.now()))) {
      await fences.stretch.enter();
      if (holds()) {
        const rv = Math.max(fence.rv, view.cache.watermark);
        ages.note(rv, clock.now());
        return request.use(rv);
      }
      if (view.epoch > fence.epoch) break;
    }
  }
  throw new StatusError(serviceUnavailable('the watch cache could not be proved fresh in time', 1));
}

/** True if everything up to `rv` is held. Where one version can carry many events, some of the watermark's may be under way. */
function passed(cache: WatchCache, rv: ResourceVersion, wholeVersions: boolean): boolean {
  return cache.watermark > rv || (cache.watermark === rv && (wholeVersions || cache.settled === rv));
}
