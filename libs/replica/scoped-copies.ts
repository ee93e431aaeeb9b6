import { once } from 'node:events';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import { StatusError, storageInitializing, tooManyRequests } from '@dogwatch/kube/status.ts';
import { type Timer, inTime } from '@dogwatch/process/clock.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import type { Interest } from '@dogwatch/watch/interest.ts';
import type { LaneSource, LaneView } from '@dogwatch/watch/lane-view.ts';
import type { CopiesConfig } from './copies.ts';
import type { LaneSupply } from './lane-supply.ts';
import { type Scope, scopeOf } from './scope.ts';
import { ScopedLane, type ScopedLaneOptions } from './scoped-lane.ts';
import type { ScopedView } from './scoped-view.ts';

/** Scopes of one lane; who asks for one more gets it out of a whole copy. */
const SCOPES_MAX = 50_000;

/** A keyed lane as it is open here. */
interface Held {
  readonly lane: Lane;
  readonly opened: Promise<ScopedLane>;
  /** Undefined until it is open. */
  scoped: ScopedLane | undefined;
  readonly used: Map<ScopedView, { users: number; idle: Timer | undefined }>;
  /** Lets go of a lane that came too late for those who waited for it. */
  unused: Timer | undefined;
}

/**
 * Lanes for the API edge of a fan-out node: of keyed resources only what its clients want, all else from whole copies.
 */
export class ScopedCopies implements LaneSource, Service {
  readonly #whole: LaneSource;
  readonly #supply: LaneSupply;
  readonly #options: ScopedLaneOptions;
  readonly #config: CopiesConfig & { readonly scopesMax?: number };
  readonly #lanes = new Map<string, Held>();
  #stopped = false;

  constructor(
    options: ScopedLaneOptions & { readonly whole: LaneSource; readonly supply: LaneSupply },
    config: CopiesConfig & { readonly scopesMax?: number },
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
    this.#stopped = true;
    for (const held of Array.from(this.#lanes.values())) if (held.scoped !== undefined) await this.#close(held);
  }

  /** One more scope of a lane that is open costs a shard little, and upstream nothing. */
  isOpen(lane: Lane, interest: Interest): boolean {
    return scopeOf(lane, interest) === undefined ? this.#whole.isOpen(lane, interest) : this.#lanes.has(laneKey(lane));
  }

  async acquire(lane: Lane, interest: Interest): Promise<{ readonly view: LaneView; release(): void }> {
    const scope = scopeOf(lane, interest);
    if (scope === undefined) return await this.#whole.acquire(lane, interest);
    const deadline = this.#options.clock.now() + this.#config.openTimeoutMs;
    const held = await this.#held(lane);
    const { scopesMax = SCOPES_MAX } = this.#config;
    if (held.scoped!.size >= scopesMax && !held.scoped!.has(scope)) return await this.#whole.acquire(lane, interest);
    const used = this.#use(held, scope);
    if (await used.view.whenReady(deadline - this.#options.clock.now())) return used;
    used.release();
    throw new StatusError(storageInitializing(0));
  }

  /** For `dogwatch status`. */
  status(): Readonly<Record<string, unknown>> {
    const scopes = [...this.#lanes.values()].flatMap(({ lane, scoped }) =>
      scoped === undefined ? [] : [{ lane: laneKey(lane), scopes: scoped.size }],
    );
    return { scopes };
  }

  /** The lane, in the very turn in which it is known to be open. */
  async #held(lane: Lane): Promise<Held> {
    for (;;) {
      if (this.#stopped) throw new StatusError(tooManyRequests('dogwatch is shutting down', 1));
      const held = this.#lanes.get(laneKey(lane)) ?? this.#open(lane);
      await this.#inTime(held.opened);
      if (this.#lanes.get(laneKey(lane)) === held) return held;
    }
  }

  /** Upstream being away is no reason to hold a request for ever: it is told to come again (protocol row G11). */
  async #inTime(opened: Promise<ScopedLane>): Promise<void> {
    const { clock } = this.#options;
    if ((await inTime(opened, clock, this.#config.openTimeoutMs)) === undefined) {
      throw new StatusError(storageInitializing(0));
    }
  }

  #open(lane: Lane): Held {
    const opening = Promise.withResolvers<ScopedLane>();
    const held: Held = { lane, opened: opening.promise, scoped: undefined, used: new Map(), unused: undefined };
    this.#lanes.set(laneKey(lane), held);
    // Whoever comes next asks anew.
    held.opened.catch(() => this.#lanes.delete(laneKey(lane)));
    opening.resolve(this.#opening(held));
    return held;
  }

  async #opening(held: Held): Promise<ScopedLane> {
    const { lane } = held;
    const partitions = await this.#supply.open(lane);
    if (this.#stopped) {
      await this.#supply.release(lane);
      throw new StatusError(tooManyRequests('dogwatch is shutting down', 1));
    }
    const scoped = new ScopedLane(lane, partitions, this.#options, this.#config);
    held.scoped = scoped;
    held.unused = this.#options.clock.setTimeout(() => {
      if (scoped.size === 0) void this.#close(held);
    }, this.#config.laneIdleMs);
    // Whoever asks again finds out anew what there is.
    scoped.onEnded = () => {
      this.#forget(held);
      this.#supply.ended(lane);
    };
    return scoped;
  }

  #use(held: Held, scope: Scope): { readonly view: ScopedView; release(): void } {
    const view = held.scoped!.view(scope);
    const used = held.used.get(view) ?? { users: 0, idle: undefined };
    held.used.set(view, used);
    used.users++;
    used.idle?.cancel();
    let released = false;
    const release = (): void => {
      if (released) return;
      released = true;
      if (--used.users > 0 || this.#lanes.get(laneKey(held.lane)) !== held) return;
      used.idle = this.#options.clock.setTimeout(() => void this.#onIdle(held, view), this.#config.laneIdleMs);
    };
    return { view, release };
  }

  /** A view nobody uses is let go, and the lane with the last. */
  async #onIdle(held: Held, view: ScopedView): Promise<void> {
    held.used.delete(view);
    held.scoped!.release(view);
    if (held.scoped!.size === 0) await this.#close(held);
  }

  #forget({ lane, scoped, used, unused }: Held): void {
    this.#lanes.delete(laneKey(lane));
    unused?.cancel();
    for (const { idle } of used.values()) idle?.cancel();
    scoped?.close();
  }

  async #close(held: Held): Promise<void> {
    this.#forget(held);
    try {
      await this.#supply.release(held.lane);
    } catch (error) {
      this.#options.log.debug({ lane: laneKey(held.lane), err: error }, 'lane was closed already');
    }
  }
}
