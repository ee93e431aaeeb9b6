import { once } from 'node:events';
import type { ApiRequest } from '@dogwatch/kube/api-request.ts';
import { StatusError, tooManyRequests } from '@dogwatch/kube/status.ts';
import { type Clock, NEVER, sleep } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { LaneView } from '@dogwatch/watch/lane-view.ts';
import { LaneWatches } from './lane-watches.ts';
import type { WatchPlan } from './plan.ts';
import { Pumps } from './pumps.ts';
import type { Rights } from './rights.ts';
import { SecondsWheel } from './seconds-wheel.ts';
import type { User } from './user.ts';
import type { WatchEndReason, WatchStream } from './watch-stream.ts';

/** Without timeoutSeconds upstream ends a watch after 1,800 s times a random number in [1, 2) (row W12). */
const DEFAULT_TIMEOUT_SECONDS = 1_800;
const TICK_MS = 1_000;
/** So long before its deadline a watch gets a bookmark: its client's own clock may be ahead (row W13). */
const LAST_BOOKMARK_MS = 2_000;
/** Watches are ended by so many in a turn, and as often, while the node drains. */
const DRAIN_STEP_MS = 50;
const DRAIN_STEP_WATCHES = 50;

export interface WatchesConfig {
  /** Time between bookmarks of a lane, in ms; at least 1,000. */
  readonly bookmarkIntervalMs: number;
  /** Time between checks that a watch is still allowed, in ms; each is spread by up to a quarter. */
  readonly reauthorizeIntervalMs: number;
  /** Ms over which watches are ended at shutdown, so that their clients do not all come back, elsewhere, in one moment. */
  readonly drainMs: number;
}

export interface WatchesDependencies {
  readonly clock: Clock;
  readonly log: Log;
  readonly rights: Rights;
  readonly random: () => number;
}

interface OpenedLane {
  readonly watches: LaneWatches;
  bookmarkAt: number;
}

interface Opened {
  readonly stream: WatchStream;
  readonly watches: LaneWatches;
  readonly request: ApiRequest;
  readonly user: User;
  deadlineSlot: number;
  bookmarkSlot: number;
  checkSlot: number;
}

/** All open watches of this node: their deadlines, bookmarks and rights, on one wheel that turns once a second. */
export class Watches {
  readonly #deps: WatchesDependencies;
  readonly #config: WatchesConfig;
  readonly #lanes = new Map<string, OpenedLane>();
  readonly #pumps = new Pumps();
  readonly #opened = new Map<WatchStream, Opened>();
  readonly #deadlines = new SecondsWheel<Opened>();
  readonly #lastBookmarks = new SecondsWheel<Opened>();
  readonly #checks = new SecondsWheel<Opened>();
  #draining = false;
  /** Watches ended, by reason. */
  readonly ended = new Map<WatchEndReason, number>();

  constructor(deps: WatchesDependencies, config: WatchesConfig) {
    this.#deps = deps;
    this.#config = config;
  }

  /** Open watches, lane by lane. */
  *[Symbol.iterator](): Generator<LaneWatches, void> {
    for (const { watches } of this.#lanes.values()) yield watches;
  }

  get size(): number {
    let size = 0;
    for (const watches of this) size += watches.size;
    return size;
  }

  /** Frames handed to sockets since the start. */
  get delivered(): number {
    return this.#pumps.delivered;
  }

  /** Times a watch went on with the newest states, because its client had not taken every change in time. */
  get conflations(): number {
    return this.#pumps.conflations;
  }

  /** Watches that began with the newest states, because not every change since their version is held. */
  get stateDiffs(): number {
    return this.#pumps.stateDiffs;
  }

  /**
   * The watches of an acquired lane. They keep the lane while one is open or about to be, so the caller's own hold on
   * it is taken over, and the watches must be held (`LaneWatches.hold`) in the same turn. Throws StatusError (429) once
   * watches are no longer opened.
   */
  of(lane: { readonly view: LaneView; release(): void }): LaneWatches {
    if (this.#draining) {
      lane.release();
      throw new StatusError(tooManyRequests('dogwatch is shutting down, please try again later', 1));
    }
    const { key } = lane.view;
    const held = this.#lanes.get(key);
    if (held?.watches.view === lane.view) {
      lane.release();
      return held.watches;
    }
    held?.watches.dispose();
    const watches = new LaneWatches(lane.view, {
      pumps: this.#pumps,
      release: () => lane.release(),
      onWatchEnd: (stream, reason) => this.#onWatchEnd(stream, reason),
    });
    const bookmarkAt = this.#deps.clock.now() + this.#config.bookmarkIntervalMs * this.#deps.random();
    this.#lanes.set(key, { watches, bookmarkAt });
    return watches;
  }

  /**
   * Puts a watch that has begun on the wheel; one that is over already is left alone. Its time counts from `begunAt`,
   * monotonic in ms: upstream's too passes while a watch waits for its version, and then it ends behind its first events.
   */
  opened(
    stream: WatchStream,
    watches: LaneWatches,
    of: { plan: WatchPlan; request: ApiRequest; user: User; begunAt: number },
  ): void {
    if (!stream.open) return;
    if (this.#draining) return watches.close(stream, 'draining');
    const { clock, random } = this.#deps;
    const asked = of.plan.timeoutSeconds ?? 0;
    const seconds = asked > 0 ? asked : DEFAULT_TIMEOUT_SECONDS * (1 + random());
    const slots = { deadlineSlot: 0, bookmarkSlot: 0, checkSlot: 0 };
    const opened: Opened = { stream, watches, request: of.request, user: of.user, ...slots };
    const now = clock.now();
    const deadline = of.begunAt + seconds * 1000;
    opened.deadlineSlot = this.#deadlines.add(deadline, opened);
    opened.bookmarkSlot = this.#lastBookmarks.add(deadline - LAST_BOOKMARK_MS, opened);
    opened.checkSlot = this.#checks.add(now + this.#checkDelay(), opened);
    this.#opened.set(stream, opened);
  }

  #onWatchEnd(stream: WatchStream, reason: WatchEndReason): void {
    this.ended.set(reason, (this.ended.get(reason) ?? 0) + 1);
    const opened = this.#opened.get(stream);
    if (opened === undefined) return;
    this.#opened.delete(stream);
    this.#deadlines.remove(opened.deadlineSlot, opened);
    this.#lastBookmarks.remove(opened.bookmarkSlot, opened);
    this.#checks.remove(opened.checkSlot, opened);
  }

  /** Turns the wheel until `signal` aborts, then ends every watch cleanly. */
  async run(signal: AbortSignal): Promise<void> {
    const timer = this.#deps.clock.setInterval(() => this.#tick(), TICK_MS);
    if (!signal.aborted) await once(signal, 'abort');
    this.#draining = true;
    await this.#drain();
    timer.cancel();
    for (const watches of this) watches.closeAll('draining');
  }

  /** Few watches end at once, many by and by, in the order they were opened in: about connection by connection. */
  async #drain(): Promise<void> {
    const left = [...this.#opened.values()];
    const steps = Math.floor(this.#config.drainMs / DRAIN_STEP_MS);
    const each = steps === 0 ? left.length : Math.max(DRAIN_STEP_WATCHES, Math.ceil(left.length / steps));
    while (left.length > 0) {
      for (const { stream, watches } of left.splice(0, each)) watches.close(stream, 'draining');
      if (left.length > 0) await sleep(this.#deps.clock, DRAIN_STEP_MS, NEVER);
    }
  }

  #tick(): void {
    const now = this.#deps.clock.now();
    for (const opened of this.#lastBookmarks.due(now)) {
      // On a lane that just moved there may be nothing to vouch for yet: it is sent behind the next change, or asked again.
      if (!opened.stream.bookmark(now)) opened.bookmarkSlot = this.#lastBookmarks.add(now + TICK_MS, opened);
    }
    for (const { stream, watches } of this.#deadlines.due(now)) watches.close(stream, 'timeout');
    for (const opened of this.#checks.due(now)) void this.#check(opened);
    for (const [key, lane] of this.#lanes) {
      lane.watches.tick();
      if (lane.watches.idle) {
        lane.watches.dispose();
        this.#lanes.delete(key);
      } else if (now >= lane.bookmarkAt) {
        lane.bookmarkAt = now + this.#config.bookmarkIntervalMs;
        lane.watches.sendBookmarks(now);
      }
    }
  }

  /** Upstream asks for rights once, when a watch opens; here it is asked again while the watch is open (promise I7). */
  async #check(opened: Opened): Promise<void> {
    const { rights, log, clock } = this.#deps;
    const { stream, watches, request, user } = opened;
    try {
      const { allowed } = await rights.mayRead(user, request);
      if (!allowed) {
        watches.close(stream, 'rights-withdrawn');
        return;
      }
    } catch (error) {
      // Upstream cannot be asked: the watch keeps the rights it was opened with until it can.
      log.warn({ err: error }, 'could not check that a watch is still allowed');
    }
    if (stream.open) opened.checkSlot = this.#checks.add(clock.now() + this.#checkDelay(), opened);
  }

  #checkDelay(): number {
    return this.#config.reauthorizeIntervalMs * (0.75 + this.#deps.random() / 4);
  }
}
