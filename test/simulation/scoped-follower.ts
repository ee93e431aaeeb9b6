import assert from 'node:assert/strict';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { ReplicaLimits } from '@dogwatch/replica/lane-replica.ts';
import { scopeOf } from '@dogwatch/replica/scope.ts';
import { ScopedLane } from '@dogwatch/replica/scoped-lane.ts';
import type { ScopedView } from '@dogwatch/replica/scoped-view.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { interest } from '@dogwatch/watch/test-objects.ts';
import type { WatchCache } from '@dogwatch/watch/watch-cache.ts';
import { expectBounded } from './bounds.ts';
import type { SimClient } from './client.ts';
import type { SimNode } from './follower.ts';
import type { History } from './history.ts';
import type { SimIngest } from './ingest.ts';
import { OpenWatches } from './open-watches.ts';
import type { Random } from './random.ts';
import type { SimBus } from './sim-bus.ts';

export interface ScopedFollowerOptions {
  readonly name: string;
  readonly lane: Lane;
  readonly partitions: number;
  readonly bus: SimBus;
  readonly ingest: SimIngest;
  readonly history: History;
  readonly ownersOf: () => readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: ReplicaLimits;
}

/** A fan-out node that holds only the scopes its clients want. */
export class ScopedFollower implements SimNode {
  readonly #lane: ScopedLane;
  readonly #options: ScopedFollowerOptions;
  readonly #open = new Map<ScopedView, OpenWatches>();
  readonly #checked = new WeakMap<WatchCache, ResourceVersion>();

  constructor(options: ScopedFollowerOptions) {
    const { lane, partitions, limits } = options;
    this.#options = options;
    this.#lane = new ScopedLane(lane, partitions, { ...options, follower: options.name }, limits);
  }

  get views(): Iterable<ScopedView> {
    return this.#open.keys();
  }

  get watches(): readonly OpenWatches[] {
    return [...this.#open].flatMap(([view, watches]) => (view.ready ? [watches] : []));
  }

  watchesFor(client: SimClient): OpenWatches | undefined {
    const scope = scopeOf(this.#options.lane, client.owed.interest);
    if (scope === undefined) return undefined;
    const view = this.#lane.view(scope);
    if (!this.#open.has(view)) this.#open.set(view, this.#watch(view));
    return view.ready ? this.#open.get(view) : undefined;
  }

  /** Lets go of a scope nobody watches. */
  release(random: Random): void {
    const idle = [...this.#open].filter(([, { clients }]) => clients.size === 0);
    if (idle.length === 0) return;
    const [view] = random.pick(idle);
    this.#open.delete(view);
    this.#lane.release(view);
  }

  /** What each view holds is what there was of its scope at its watermark. */
  expectTruth(): void {
    for (const view of this.#open.keys()) {
      if (!view.ready) continue;
      const { cache, scope } = view;
      expectBounded(cache, this.#options.limits);
      if (this.#checked.get(cache) === cache.watermark) continue;
      this.#checked.set(cache, cache.watermark);
      const held = [...cache.snapshot().range()].map(({ key, rv, uid }) => `${key}@${rv} ${uid}`);
      const of =
        scope.kind === 'indexed'
          ? interest({ fields: `spec.nodeName=${scope.value}` })
          : interest({ namespace: scope.namespace, name: scope.name });
      const at = cache.watermark;
      assert.deepEqual(held.toSorted(), this.#options.history.selectedAt(at, of), `${view.key} at ${at}`);
    }
  }

  close(): void {
    for (const watches of this.#open.values()) watches.close();
    this.#lane.close();
  }

  #watch(view: ScopedView): OpenWatches {
    const { ingest, limits } = this.#options;
    view.onEnd((end) => {
      if (end !== 'expired') return;
      assert(ingest.epoch > view.epoch, 'watches were ended with 410, though their history goes on');
    });
    return new OpenWatches(view, limits.windowBytesMax / 10);
  }
}
