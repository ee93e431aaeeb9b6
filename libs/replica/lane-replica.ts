import type { Bus, LaneInventory } from '@dogwatch/bus/bus.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { type BookmarkTemplate, bookmarkTemplate, minimalBookmark } from '@dogwatch/kube/event-framer.ts';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { StatusError, serviceUnavailable } from '@dogwatch/kube/status.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { LaneEnd, LaneFacts, LaneView } from '@dogwatch/watch/lane-view.ts';
import { ChainGap, WatchCache } from '@dogwatch/watch/watch-cache.ts';
import { Backfills } from './backfills.ts';
import { VersionWaiters } from './version-waiters.ts';

/** A lane up to this many objects is proved fresh by comparing it with a list of names: quicker than waiting. */
const INVENTORY_OBJECTS_MAX = 100;

export interface ReplicaDependencies {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  readonly windowBytesMax: number;
}

/** One lane's watch cache, fed from the bus. */
export class LaneReplica implements LaneView {
  readonly lane: Lane;
  readonly #deps: ReplicaDependencies;
  readonly #waiters: VersionWaiters;
  readonly #endListeners = new Set<(end: LaneEnd) => void>();
  #cache: WatchCache | undefined;
  #bookmark: BookmarkTemplate | undefined;
  #facts: LaneFacts | undefined;
  #epoch = 0;
  #repairing = false;
  readonly #backfills: Backfills;
  appliedAt = 0;
  /** Batches that did not continue what was held. */
  gaps = 0;

  constructor(lane: Lane, deps: ReplicaDependencies) {
    this.lane = lane;
    this.#deps = deps;
    this.#waiters = new VersionWaiters(deps.clock);
    this.#backfills = new Backfills(lane, deps.bus, () => this.cache);
  }

  get cache(): WatchCache {
    if (this.#cache === undefined) throw new Error(`lane ${laneKey(this.lane)} has no listing yet`);
    return this.#cache;
  }

  /** True once the first listing is in. */
  get ready(): boolean {
    return this.#cache !== undefined;
  }

  /** True once it is ready, false if it is not within `timeoutMs`. */
  async whenReady(timeoutMs: number): Promise<boolean> {
    return this.ready || (await this.#waiters.wait(() => this.ready, timeoutMs));
  }

  get facts(): LaneFacts {
    return this.#facts!;
  }

  get bookmark(): BookmarkTemplate {
    return this.#bookmark!;
  }

  onEnd(listener: (end: LaneEnd) => void): () => void {
    this.#endListeners.add(listener);
    return () => this.#endListeners.delete(listener);
  }

  reached(rv: ResourceVersion, timeoutMs: number): Promise<boolean> {
    if (this.cache.watermark >= rv) return Promise.resolve(true);
    return this.#waiters.wait(() => this.cache.watermark >= rv, timeoutMs);
  }

  async fresh<T>(timeoutMs: number, use: (rv: ResourceVersion) => T): Promise<T> {
    const { bus, clock } = this.#deps;
    const deadline = clock.now() + timeoutMs;
    // Upstream keeps no watch cache of Events and gives their watches no bookmarks: only a list can tell.
    const inventory = this.cache.size <= INVENTORY_OBJECTS_MAX || this.lane.resource === 'events';
    const fence = await bus.request('fence', { lane: this.lane, inventory });
    const found = fence.inventory;
    const holds = (): boolean =>
      this.cache.watermark >= fence.rv || (found !== undefined && sameObjects(this.cache, found));
    // `use` runs in the very turn the proof holds in: the next change may undo a proof by inventory.
    while (!holds()) {
      if (!(await this.#waiters.wait(holds, deadline - clock.now()))) {
        throw new StatusError(serviceUnavailable('the watch cache could not be proved fresh in time', 1));
      }
    }
    return use(Math.max(fence.rv, this.cache.watermark));
  }

  backfill(rv: ResourceVersion): Promise<boolean> {
    return this.#backfills.reach(rv);
  }

  /** Takes the next envelope of the lane's track. */
  onEnvelope(envelope: Envelope): void {
    if (envelope.epoch < this.#epoch) return;
    switch (envelope.kind) {
      case 'listing':
        this.#onListing(envelope);
        break;
      case 'batch':
        this.#continue(envelope.epoch, (cache) => cache.apply(envelope.batch));
        break;
      case 'watermark':
        this.#continue(envelope.epoch, (cache) => cache.advance(envelope.rv, envelope.previous));
        break;
      case 'end':
        this.#end(envelope.end);
        return;
    }
    this.#waiters.check();
  }

  /** Nobody will be fed any more. */
  close(): void {
    this.#end('ended');
    this.#waiters.close();
  }

  #onListing({ epoch, facts, listing }: Extract<Envelope, { kind: 'listing' }>): void {
    this.#repairing = false;
    this.#facts = facts;
    this.#bookmark =
      facts.bookmark === undefined
        ? minimalBookmark(this.lane.encoding, facts.kind, facts.apiVersion)
        : bookmarkTemplate(this.lane.encoding, facts.bookmark);
    if (this.#cache !== undefined && epoch === this.#epoch && this.#cache.repair(listing)) return;
    if (this.#cache !== undefined) this.#end('expired');
    this.#epoch = epoch;
    this.#cache = new WatchCache(facts.schema, listing, this.#deps.windowBytesMax);
  }

  #continue(epoch: number, apply: (cache: WatchCache) => void): void {
    if (this.#cache === undefined || this.#repairing) return;
    if (epoch !== this.#epoch) {
      this.#requestRepair(new Error(`the listing that begins epoch ${epoch} was lost`));
      return;
    }
    try {
      apply(this.#cache);
    } catch (error) {
      if (!(error instanceof ChainGap)) throw error;
      this.#requestRepair(error);
      return;
    }
    this.appliedAt = this.#deps.clock.now();
  }

  #requestRepair(gap: Error): void {
    const { bus, log } = this.#deps;
    this.gaps++;
    this.#repairing = true;
    log.error({ lane: laneKey(this.lane), err: gap }, 'a part of the lane is missing, asking for a repair');
    bus.request('repair', { lane: this.lane }).catch((error: unknown) => {
      this.#repairing = false;
      log.error({ lane: laneKey(this.lane), err: error }, 'nobody repairs the lane; the next gap asks again');
    });
  }

  #end(end: LaneEnd): void {
    for (const listener of this.#endListeners) listener(end);
  }
}

/** True if the cache holds exactly the objects of `inventory`, each at its version. */
function sameObjects(cache: WatchCache, inventory: LaneInventory): boolean {
  if (cache.size !== inventory.objects.size) return false;
  for (const [key, { uid, rv }] of inventory.objects) {
    const held = cache.get(key);
    if (held === undefined || held.uid !== uid || held.rv !== rv) return false;
  }
  return true;
}
