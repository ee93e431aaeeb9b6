import { once } from 'node:events';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import { StatusError, storageInitializing } from '@dogwatch/kube/status.ts';
import type { Timer } from '@dogwatch/process/clock.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import type { Interest } from '@dogwatch/watch/interest.ts';
import type { LaneSource, LaneView } from '@dogwatch/watch/lane-view.ts';
import type { CopiesConfig } from './copies.ts';
import type { LaneSupply } from './lane-supply.ts';
import { scopeOf } from './scope.ts';
import { ScopedLane, type ScopedLaneOptions } from './scoped-lane.ts';
import type { ScopedView } from './scoped-view.ts';

interface Used {
  users: number;
  idle: Timer | undefined;
}

/**
 * Lanes for the API edge of a fan-out node: of keyed resources only what its clients want, all else from whole copies.
 */
export class ScopedCopies implements LaneSource, Service {
  readonly #whole: LaneSource;
  readonly #supply: LaneSupply;
  readonly #options: ScopedLaneOptions;
  readonly #config: CopiesConfig;
  readonly #lanes = new Map<string, Promise<ScopedLane>>();
  readonly #used = new Map<ScopedView, Used>();

  constructor(
    options: ScopedLaneOptions & { readonly whole: LaneSource; readonly supply: LaneSupply },
    config: CopiesConfig,
  ) {
    const { whole, supply, ...links } = options;
    this.#whole = whole;
    this.#supply = supply;
    this.#options = links;
    this.#config = config;
  }

  /** Lets go of all scopes when `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    if (!signal.aborted) await once(signal, 'abort');
    for (const { idle } of this.#used.values()) idle?.cancel();
    const opened = await Promise.allSettled(this.#lanes.values());
    this.#lanes.clear();
    for (const lane of opened) if (lane.status === 'fulfilled') lane.value.close();
  }

  async acquire(lane: Lane, interest: Interest): Promise<{ readonly view: LaneView; release(): void }> {
    const scope = scopeOf(lane, interest);
    if (scope === undefined) return await this.#whole.acquire(lane, interest);
    const scoped = await this.#lane(lane);
    const view = scoped.view(scope);
    const used = this.#used.get(view) ?? { users: 0, idle: undefined };
    this.#used.set(view, used);
    used.users++;
    used.idle?.cancel();
    let released = false;
    const release = (): void => {
      if (released) return;
      released = true;
      if (--used.users > 0) return;
      used.idle = this.#options.clock.setTimeout(() => {
        this.#used.delete(view);
        scoped.release(view);
      }, this.#config.laneIdleMs);
    };
    if (await view.whenReady(this.#config.openTimeoutMs)) return { view, release };
    release();
    throw new StatusError(storageInitializing(0));
  }

  /** For `dogwatch status`. */
  async status(): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const opened = await Promise.all(this.#lanes.values());
    return opened.map(({ lane, size }) => ({ lane: laneKey(lane), scopes: size }));
  }

  #lane(lane: Lane): Promise<ScopedLane> {
    const key = laneKey(lane);
    const held = this.#lanes.get(key);
    if (held !== undefined) return held;
    const opening = this.#supply
      .open(lane)
      .then((partitions) => new ScopedLane(lane, partitions, this.#options, this.#config));
    this.#lanes.set(key, opening);
    // Whoever comes next asks anew.
    opening.catch(() => this.#lanes.delete(key));
    return opening;
  }
}
