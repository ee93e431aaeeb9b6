import { type KubeObject, kubeObject } from '@dogwatch/kube/kube-object.ts';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import { MalformedFrame } from '@dogwatch/kube/malformed-frame.ts';
import { scanObject } from '@dogwatch/kube/object-scanner.ts';
import { ownCopy } from '@dogwatch/kube/own-copy.ts';
import type { CopyBytes } from '@dogwatch/kube/slab-copier.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { StatusError, type StatusBody, storageInitializing } from '@dogwatch/kube/status.ts';
import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import type { Listing } from '@dogwatch/watch/watch-cache.ts';
import { Backoff } from './backoff.ts';
import type { IngestCounters } from './counters.ts';
import { readListing } from './listing.ts';
import { ownChange } from './own-change.ts';
import type { Publisher } from './publisher.ts';
import type { LaneType } from './lane-type.ts';
import { Stall } from './stall.ts';
import type { Turnstile } from './turnstile.ts';
import { type WatchEnd, readWatch } from './upstream-watch.ts';

/** Upstream ends a watch after this long; spread, so that lanes do not come back together. */
const WATCH_SECONDS_MIN = 1_800;
const WATCH_SECONDS_SPREAD = 1_800;
/** After this long without a sibling, the events of a version are taken to be complete. */
const SETTLED_MS = 1_000;
/** An upstream that ends watches sooner than this is not asked again at once. */
const SHORT_WATCH_MS = 1_000;
/** A listing in which upstream sends nothing for so long is begun anew; the next lane may list meanwhile. */
const STALL_MS = 30_000;

export interface ReflectorOptions {
  readonly lane: Lane;
  readonly type: LaneType;
  readonly upstream: Upstream;
  readonly publisher: Publisher;
  /** True: what the publisher was restarted at is gone on with, without a listing. Default false. */
  readonly resume?: boolean;
  /**
   * While another ingest publishes the lane, where that stands: a watch that expired begins anew there, for listings are
   * the leader's to make. Default: this ingest publishes it.
   */
  readonly standingBy?: () => HistoryPlace | undefined;
  /** Asked when upstream has cut a watch short: false if the resource may be another since. Default: it never is. */
  readonly stands?: (() => Promise<boolean>) | undefined;
  /** Passed by one listing at a time. */
  readonly listings: Turnstile;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: IngestCounters;
  readonly random: () => number;
  /** How the bytes of a change are kept. Default: each change owns its bytes, for its object may live for weeks. */
  readonly copyBytes?: CopyBytes | undefined;
}

/** `redefined`: of a resource that may be another since. */
type End = WatchEnd | { readonly kind: 'redefined' };

/** A version of one history of a lane. */
export interface HistoryPlace {
  readonly epoch: number;
  readonly rv: ResourceVersion;
}

/** What to do next. `list`: nothing continues what is held. `watch`: go on from it. `gone`: it is not there any more. */
type Step = 'list' | 'watch' | 'gone';

/**
 * Keeps one lane in step with upstream: a watch-list first (or a paged LIST and a WATCH on servers without it), then
 * the watch, resumed from its last version when it ends or breaks, and a new listing when upstream says 410.
 */
export class Reflector {
  readonly #options: ReflectorOptions;
  readonly #backoff: Backoff;
  readonly #opened = Promise.withResolvers<void>();
  #watchListRefused = false;
  #bookmark: Buffer | undefined;
  #warnings: readonly string[] = [];
  #changedAt = 0;
  #listed = false;
  /** Ends what is being done now, so that the next thing can be. */
  #interrupt = new AbortController();
  #listing = false;
  /** A listing was published, and what was read since continues it. */
  #continues = false;
  #relist = false;
  #rewind: { readonly to: HistoryPlace; readonly done: () => void } | undefined;
  #ended = false;
  /** What is continued was begun by another ingest. */
  #inherited = false;

  constructor(options: ReflectorOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.random);
    // Nobody may be waiting when the lane is closed before it opened.
    this.#opened.promise.catch(() => undefined);
    options.publisher.onLost = (reason) => this.#onLost(reason);
    if (options.resume !== true) return;
    this.#inherited = this.#listed = this.#continues = true;
    this.#opened.resolve();
  }

  /** Resolves when the first listing was published; rejects with upstream's own StatusError if it is refused. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  /**
   * Lists anew and publishes that as a repair, though the watch is well: a follower lost something. A listing that is
   * under way will do: it is published after this.
   */
  repair(): void {
    if (this.#listing) return;
    this.#rewind?.done();
    this.#rewind = undefined;
    this.#relist = true;
    this.#interrupt.abort();
  }

  /** Reads on from `to`, whatever was read. Resolves once nothing from before can come any more. */
  rewind(to: HistoryPlace): Promise<void> {
    if (this.#ended) return Promise.resolve();
    this.#rewind?.done();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#rewind = { to, done: resolve };
    this.#interrupt.abort();
    return promise;
  }

  /**
   * Follows upstream until `signal` aborts. 'gone': upstream no longer serves what was published (404, or another
   * definition of it), which is for the caller to tell. Never rejects; see `opened`.
   */
  async run(signal: AbortSignal): Promise<'closed' | 'gone'> {
    let step: Step = this.#continues ? 'watch' : 'list';
    try {
      while (!signal.aborted) {
        this.#interrupt = new AbortController();
        if (this.#takeRewind()) step = 'watch';
        const next = await this.#take(step, signal);
        if (next === 'gone') break;
        step = this.#relist ? 'list' : next;
        this.#relist = false;
      }
    } catch (error) {
      this.#opened.reject(error);
      return 'closed';
    } finally {
      this.#ended = true;
      this.#rewind?.done();
    }
    this.#opened.reject(new StatusError(storageInitializing(0)));
    return signal.aborted ? 'closed' : 'gone';
  }

  #takeRewind(): boolean {
    const rewind = this.#rewind;
    if (rewind === undefined) return false;
    this.#rewind = undefined;
    this.#inherited = this.#continues = this.#listed = true;
    this.#options.publisher.restart(rewind.to.epoch, rewind.to.rv);
    rewind.done();
    return true;
  }

  /** One step; resolves with the next. Rejects if upstream will not serve a lane that was never read. */
  async #take(step: Step, life: AbortSignal): Promise<Step> {
    const { log, lane, clock } = this.#options;
    const signal = AbortSignal.any([life, this.#interrupt.signal]);
    try {
      return await (step === 'list' ? this.#list(signal) : this.#watch(signal));
    } catch (error) {
      this.#listing = false;
      // The stream of a watch-list that breaks behind its listing is resumed as a watch.
      const again = this.#continues ? 'watch' : 'list';
      if (signal.aborted) return again;
      const standsBy = this.#options.standingBy?.() !== undefined;
      if (error instanceof StatusError && !standsBy && isFinal(error.status, this.#listed)) {
        if (!this.#listed) throw error;
        log.warn({ lane: laneKey(lane), err: error }, 'upstream no longer serves this resource');
        return 'gone';
      }
      const delay = this.#backoff.next();
      log.warn({ lane: laneKey(lane), err: error, delay }, 'lost the watch on upstream, trying again');
      await sleep(clock, delay, signal);
      return again;
    }
  }

  async #list(signal: AbortSignal): Promise<Step> {
    const { listings, counters, clock, publisher } = this.#options;
    this.#listing = true;
    this.#continues = false;
    publisher.interrupt();
    const leave = await listings.enter(signal);
    counters.listings++;
    const stall = new Stall(clock, STALL_MS);
    const listed = (): void => {
      stall.stop();
      leave();
    };
    try {
      if (!this.#watchListRefused) return await this.#watchList(signal, { stall, listed });
      const { lane, type, upstream } = this.#options;
      const either = AbortSignal.any([signal, stall.signal]);
      this.#publishListing(await readListing(upstream, { ...type, lane, signal: either, onPart: () => stall.heard() }));
      return 'watch';
    } finally {
      listed();
      this.#listing = false;
    }
  }

  /** One request gives the listing and, behind its end bookmark, the watch. */
  async #watchList(signal: AbortSignal, { stall, listed }: { stall: Stall; listed: () => void }): Promise<Step> {
    const objects: KubeObject[] = [];
    let listing = true;
    const query = { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan', resourceVersion: '' };
    const end = await this.#read(AbortSignal.any([signal, stall.signal]), query, (type, object, frame) => {
      if (!listing) return this.#onEvent(type, object, frame);
      stall.heard();
      if (type !== 'BOOKMARK') {
        objects.push(kubeObject(this.#options.type.schema, ownCopy(object)));
        return;
      }
      const { initialEventsEnd, resourceVersion } = scanObject(this.#options.lane.encoding, object);
      if (!initialEventsEnd) return;
      if (resourceVersion === 0) throw new MalformedFrame('a resourceVersion of the initial events', 0);
      listing = false;
      this.#bookmark = ownCopy(object);
      this.#publishListing({ rv: resourceVersion, objects: objects.splice(0) });
      listed();
    });
    if (!listing || end.kind === 'redefined') return await this.#afterWatch(end, signal);
    if (end.kind === 'refused' && (end.status.code === 422 || end.status.reason === 'Invalid')) {
      this.#watchListRefused = true;
      return 'list';
    }
    if (end.kind === 'eof') throw new Error('upstream ended a watch-list before its end bookmark');
    throw new StatusError(end.status);
  }

  async #watch(signal: AbortSignal): Promise<Step> {
    const { publisher, clock } = this.#options;
    const settled = clock.now() - this.#changedAt > SETTLED_MS;
    const query = { resourceVersion: String(publisher.resumeFrom(settled)) };
    const start = clock.now();
    const end = await this.#read(signal, query, (...event) => this.#onEvent(...event));
    if (end.kind === 'eof' && clock.now() - start < SHORT_WATCH_MS) await sleep(clock, this.#backoff.next(), signal);
    return await this.#afterWatch(end, signal);
  }

  /** Reads a watch until it ends. */
  async #read(
    signal: AbortSignal,
    query: Record<string, string>,
    onEvent: (type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK', object: Buffer, frame: Buffer) => void,
  ): Promise<End> {
    const { upstream, lane, random, clock, stands } = this.#options;
    const seconds = WATCH_SECONDS_MIN + Math.floor(random() * WATCH_SECONDS_SPREAD);
    const due = clock.now() + seconds * 1_000;
    const end = await readWatch(
      upstream,
      { lane, query: { ...query, timeoutSeconds: String(seconds) }, signal },
      {
        onOpen: (warnings) => (this.#warnings = warnings),
        onEvent: (...event) => {
          // A chunk may have been on its way when this watch was given up.
          if (!signal.aborted) onEvent(...event);
        },
      },
    );
    const short = end.kind === 'eof' && clock.now() < due && !signal.aborted;
    return short && stands !== undefined && !(await stands()) ? { kind: 'redefined' } : end;
  }

  #onEvent(eventType: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK', object: Buffer, frame: Buffer): void {
    const { publisher, type, counters, clock, copyBytes = ownCopy } = this.#options;
    const { schema } = type;
    if (eventType === 'BOOKMARK') {
      this.#backoff.reset();
      this.#bookmark ??= ownCopy(object);
      publisher.watermark(scanObject(schema.encoding, object).resourceVersion);
      return;
    }
    const change = ownChange(schema, { type: eventType, object, frame }, copyBytes);
    this.#changedAt = clock.now();
    if (!publisher.change(change)) {
      counters.repeats++;
      return;
    }
    counters.events++;
    this.#backoff.reset();
  }

  async #afterWatch(end: End, signal: AbortSignal): Promise<Step> {
    const { counters, log, lane, publisher, clock, standingBy } = this.#options;
    if (end.kind === 'eof') return 'watch';
    if (end.kind === 'redefined') return signal.aborted ? 'watch' : 'gone';
    if (!isExpired(end.status)) throw new StatusError(end.status);
    counters.expired++;
    const stands = standingBy?.();
    log.info({ lane: laneKey(lane), standsBy: stands !== undefined }, 'upstream no longer holds our version');
    if (stands === undefined) return 'list';
    publisher.restart(stands.epoch, stands.rv);
    await sleep(clock, this.#backoff.next(), signal);
    return 'watch';
  }

  #onLost(reason: string): void {
    const { counters, log, lane } = this.#options;
    counters.losses++;
    log.error({ lane: laneKey(lane), reason }, 'continuity is lost, listing');
    this.repair();
  }

  #publishListing(listing: Listing): void {
    const { publisher, lane, type, log, stands } = this.#options;
    const facts = { ...type, bookmark: this.#bookmark, warnings: this.#warnings };
    const backwards = listing.rv < publisher.rv;
    if (backwards) log.error({ lane: laneKey(lane), held: publisher.rv, listed: listing.rv }, 'history went backwards');
    // Whoever began it may have known another definition.
    const foreign = stands !== undefined && this.#inherited;
    const declared = publisher.listing(facts, listing, !this.#listed || backwards || foreign);
    this.#inherited = false;
    this.#listed = this.#continues = true;
    this.#listing = false;
    this.#backoff.reset();
    this.#opened.resolve(declared);
    declared?.catch((error: unknown) =>
      log.warn({ lane: laneKey(lane), err: error }, 'a new epoch was not made known'),
    );
  }
}

/**
 * Upstream will not serve this lane to us, however often it is asked. Once it has, only 404 says so: a kube-apiserver
 * that has just started answers 403 until it has read who may do what.
 */
function isFinal({ code = 500 }: StatusBody, listed: boolean): boolean {
  if (listed) return code === 404;
  return code >= 400 && code < 500 && code !== 429 && code !== 401 && code !== 410;
}

function isExpired(status: StatusBody): boolean {
  return status.code === 410 || status.reason === 'Expired' || status.reason === 'Gone';
}
