import type { Bus } from '@dogwatch/bus/bus.ts';
import type { LaneEntry } from '@dogwatch/bus/lane-directory.ts';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { CopyBytes } from '@dogwatch/kube/slab-copier.ts';
import { StatusError, notFound, storageInitializing, tooManyRequests } from '@dogwatch/kube/status.ts';
import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Discovery } from '@dogwatch/upstream/discovery.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { type Position, WHOLE_VERSION } from '@dogwatch/watch/watch-cache.ts';
import { Backoff } from './backoff.ts';
import type { IngestCounters } from './counters.ts';
import { Fence } from './fence.ts';
import type { Definitions } from './definitions.ts';
import { type LaneType, laneType } from './lane-type.ts';
import type { LiveTrack } from './live-tracks.ts';
import { LogTail } from './log-tail.ts';
import { Publisher } from './publisher.ts';
import { type HistoryPlace, Reflector } from './reflector.ts';
import { Redefinition } from './redefinition.ts';
import type { LaneGrant, Reigns, TrackGrant } from './reigns.ts';
import type { Turnstile } from './turnstile.ts';

/** Followers that miss the same ask for its repair within this time of each other. */
const JUST_LISTED_MS = 2_000;

export interface LaneIngestDependencies {
  readonly bus: Bus;
  readonly upstream: Upstream;
  readonly discovery: Discovery;
  readonly definitions: Definitions;
  readonly reigns: Reigns;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  readonly counters: IngestCounters;
  /** Passed by one listing at a time. */
  readonly listings: Turnstile;
}

export interface LaneIngestConfig {
  readonly partitions: number;
  readonly ringBytesMax: number;
  readonly retainListingMs: number;
  readonly gatherMs: number;
  readonly logGatherMs: number;
  readonly copier: (() => CopyBytes) | undefined;
}

/**
 * One lane that is read: led, when what is read is published, or stood by, when it is only kept. It begins with a
 * listing, or goes on with the history a directory entry tells of.
 */
export class LaneIngest {
  readonly lane: Lane;
  readonly partitions: number;
  readonly publisher: Publisher;
  readonly fence: Fence;
  readonly type: Promise<LaneType>;
  /** Resolves once the lane is no longer read. */
  readonly ended: Promise<void>;
  /** Monotonic time in ms at which somebody last asked for the lane. */
  usedAt: number;
  readonly #deps: LaneIngestDependencies;
  readonly #abort = new AbortController();
  readonly #opened = Promise.withResolvers<void>();
  /** What the directory last said of it; undefined while it is opened anew. */
  #entry: LaneEntry | undefined;
  readonly #config: LaneIngestConfig;
  #reflector: Reflector | undefined;
  #listFirst: boolean;
  /** Of the history before the next. */
  #epochBefore = 0;
  /** Of a custom resource, once its type was looked for. */
  #redefinition: Redefinition | undefined;
  #redefined = false;

  /** `entry`: the history to go on with. `onEnded` is called before followers are told, who may then open it anew. */
  constructor(
    deps: LaneIngestDependencies,
    config: LaneIngestConfig,
    { lane, entry, onEnded }: { lane: Lane; entry: LaneEntry | undefined; onEnded: () => void },
  ) {
    const { bus, clock, reigns, upstream, log, counters } = deps;
    const { signal } = this.#abort;
    this.#deps = deps;
    this.#config = config;
    this.lane = lane;
    this.partitions = config.partitions;
    this.usedAt = clock.now();
    this.#entry = entry;
    this.#listFirst = entry === undefined;
    const epochs = {
      next: (after: number) => reigns.nextEpoch(Math.max(after, this.#epochBefore)),
      declare: (epoch: number, rv: ResourceVersion) => reigns.declare(lane, this.#entryAt(epoch, rv)),
    };
    const publisher = (this.publisher = new Publisher({ ...config, bus, clock, epochs }));
    if (entry !== undefined) publisher.restart(entry.epoch, entry.rv);
    this.fence = new Fence({ upstream, lane, publisher, clock, log, counters, signal });
    this.type = this.#findType();
    const granted = entry === undefined ? reigns.grant(lane, config.partitions) : undefined;
    // Both may fail when nobody waits for them.
    granted?.catch(() => undefined);
    this.#opened.promise.catch(() => undefined);
    log.info({ lane: laneKey(lane), resumes: entry !== undefined }, 'lane opens');
    this.ended = this.#run(granted).then((how) => {
      this.#abort.abort();
      this.#redefinition?.close();
      this.#opened.reject(new StatusError(storageInitializing(0)));
      onEnded();
      // A lane closed on purpose has no followers to tell.
      const gone = how === 'gone' || this.#redefined;
      if (gone) publisher.end('ended');
      publisher.close();
      if (gone && this.#redefinition !== undefined) this.#rediscover();
    });
  }

  /** Life of the lane. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Resolves once followers can begin: a listing was published, or its history goes on. Rejects with StatusError. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  /** What the directory is to say of it; undefined while it is not published. */
  get entry(): LaneEntry | undefined {
    const { leads, epoch, published } = this.publisher;
    return leads && epoch > 0 ? this.#entryAt(epoch, published) : undefined;
  }

  /** Goes on publishing where the history granted ends. */
  async lead(grant: LaneGrant): Promise<void> {
    const { publisher } = this;
    if (grant.signal.aborted) return;
    this.usedAt = this.#deps.clock.now();
    publisher.standBy();
    const places = grant.tracks.map(({ from }) => this.#placeOf(from ?? 0));
    if (grant.listing) {
      this.#relist(grant.epoch);
    } else if (publisher.epoch !== grant.epoch || !this.#reaches(places)) {
      await this.#rewind({ epoch: grant.epoch, rv: Math.min(...places.map(({ rv }) => rv)) });
    }
    if (this.signal.aborted || grant.signal.aborted) return;
    publisher.lead(grant.tracks.map((track, partition) => this.#liveTrack(track, partition, places[partition]!)));
    this.#opened.resolve();
  }

  /** Publishes nothing, and keeps up with what the leader says of the lane. */
  standBy(entry: LaneEntry): void {
    this.#entry = entry;
    if (this.publisher.leads) this.publisher.standBy();
    if (this.publisher.epoch !== entry.epoch) void this.#rewind(entry);
  }

  /**
   * Publishes a listing again. Rejects with StatusError (429) where there has just been one: several followers find at
   * the same time that nobody has what they miss, and who comes late can be given the listing of the first.
   */
  repair(): void {
    if (this.publisher.listedWithin(JUST_LISTED_MS)) {
      throw new StatusError(tooManyRequests('the lane was listed a moment ago: ask for that', 1));
    }
    this.#list();
  }

  #list(): void {
    // One that does not read yet begins with a listing, or is at the end of what was published.
    if (this.#reflector === undefined) this.#listFirst = true;
    else this.#reflector.repair();
  }

  async close(): Promise<void> {
    this.#deps.log.info({ lane: laneKey(this.lane) }, 'lane closes');
    this.#abort.abort();
    await this.ended;
  }

  async #run(granted: Promise<LaneGrant> | undefined): Promise<'closed' | 'gone'> {
    const { lane } = this;
    const { log } = this.#deps;
    try {
      const type = await this.type;
      if (granted !== undefined) this.#begin(await granted);
      if (this.signal.aborted) return 'closed';
      const resume = !this.#listFirst;
      const redefinition = this.#redefinition;
      const reading = {
        lane,
        type,
        publisher: this.publisher,
        resume,
        standingBy: () => (this.publisher.leads ? undefined : this.#entry),
        stands: redefinition && (() => redefinition.stands()),
        copyBytes: this.#config.copier?.(),
      };
      const reflector = (this.#reflector = new Reflector({ ...this.#deps, ...reading }));
      if (granted !== undefined) this.#opened.resolve(reflector.opened);
      return await reflector.run(this.signal);
    } catch (error) {
      this.#opened.reject(error);
      log.warn({ lane: laneKey(lane), err: error }, 'could not open a lane');
      return this.entry === undefined || this.signal.aborted ? 'closed' : 'gone';
    }
  }

  /** Publishes a lane that nothing was published of. */
  #begin({ epoch, tracks, signal }: LaneGrant): void {
    if (signal.aborted) throw new StatusError(storageInitializing(0));
    this.#epochBefore = epoch;
    const nowhere = this.#placeOf(0);
    this.publisher.lead(tracks.map((track, partition) => this.#liveTrack(track, partition, nowhere)));
  }

  /** What is published again up to there does no harm; what is not is lost. */
  #placeOf(rv: ResourceVersion): Position {
    // Of a version of Events, only a part may have been published.
    return { rv: this.lane.resource === 'events' ? Math.max(0, rv - 1) : rv, index: WHOLE_VERSION };
  }

  #reaches(places: readonly Position[]): boolean {
    return places.every((place, partition) => this.publisher.ring.after(partition, place) !== undefined);
  }

  async #rewind(to: HistoryPlace): Promise<void> {
    if (this.#reflector === undefined) this.publisher.restart(to.epoch, to.rv);
    else await this.#reflector.rewind(to);
  }

  #relist(epoch: number): void {
    this.#list();
    this.publisher.restart(epoch, 0);
  }

  #entryAt(epoch: number, rv: ResourceVersion): LaneEntry {
    const { version, encoding, view } = this.lane;
    return { version, encoding, view, partitions: this.partitions, epoch, rv };
  }

  #liveTrack({ track, term, appender }: TrackGrant, partition: number, above: Position): LiveTrack {
    const { clock, log, random, counters, reigns } = this.#deps;
    const { lane, publisher } = this;
    if (appender === undefined) return { track, term, above, tail: undefined };
    const tail = new LogTail({
      ring: publisher.ring,
      partition,
      track,
      appender,
      renew: () => reigns.renew(lane, track),
      clock,
      log,
      counters,
      random,
      gatherMs: this.#config.logGatherMs,
      onTerm: (next) => publisher.succeed(track, next),
      onDeposed: () => reigns.deposed(lane),
    });
    return { track, term, above, tail };
  }

  /** A lane that was read before goes on as soon as upstream can be asked again. */
  async #findType(): Promise<LaneType> {
    const { clock, log, random } = this.#deps;
    const backoff = new Backoff(random);
    const resumes = this.#entry !== undefined;
    for (;;) {
      try {
        return await this.#askType();
      } catch (error) {
        const isGone = error instanceof StatusError && error.status.code === 404;
        if (!resumes || this.signal.aborted || (isGone && this.publisher.leads)) throw error;
        log.warn({ lane: laneKey(this.lane), err: error }, 'cannot find out what a lane is of, trying again');
      }
      await sleep(clock, backoff.next(), this.signal);
      this.signal.throwIfAborted();
    }
  }

  async #askType(): Promise<LaneType> {
    const { discovery } = this.#deps;
    const info = await discovery.lookup(this.lane);
    if (info === undefined) throw new StatusError(notFound(this.lane, ''));
    if (!info.custom) return laneType(this.lane, info, undefined);
    const onRedefined = (): void => this.#onRedefined();
    const { lane, signal } = this;
    this.#redefinition ??= new Redefinition({ ...this.#deps, lane, signal, onRedefined });
    return laneType(lane, info, await this.#redefinition.read());
  }

  /** A version may not be served any more, or another scope. */
  #rediscover(): void {
    const { discovery, log } = this.#deps;
    discovery.refresh().catch((error: unknown) => log.debug({ err: error }, 'discovery was not read anew'));
  }

  /** Nothing that was read continues: it ends, and whoever asks for the lane again opens what it is now. */
  #onRedefined(): void {
    this.#deps.log.info({ lane: laneKey(this.lane) }, 'a custom resource was defined anew');
    this.#redefined = true;
    this.#abort.abort();
  }
}
