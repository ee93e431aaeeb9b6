import type { Bus, LinkRequest } from '@dogwatch/bus/bus.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { linkTrack } from '@dogwatch/bus/link-track.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import { StatusError } from '@dogwatch/kube/status.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Clock, Timer } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import type { Position } from '@dogwatch/watch/watch-cache.ts';
import { type Lack, Superseded } from './lane-supply.ts';
import type { Scope } from './scope.ts';
import { partsOf } from './scope-parts.ts';
import { type FeedSink, TrackFeed, type WholeState } from './track-feed.ts';

/** A shard says at least every second how far it is; one that says nothing for so long is left for another. */
const SILENCE_MS = 3_000;
/** Scopes read in one request. */
const READ_MAX = 64;
const RETRY_MS = 500;

export interface LinkOptions {
  readonly lane: Lane;
  readonly partition: number;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly log: Log;
  /** Name of this process among those that follow. */
  readonly follower: string;
  /** Shards that hold a track, the first to ask first. */
  readonly ownersOf: (track: string) => readonly string[];
  readonly sink: FeedSink;
}

/** A scope to be read, kept until it was. */
interface Reading {
  readonly scope: Scope;
  readonly onState: (state: WholeState) => void;
  asked: boolean;
}

type Named = Pick<LinkRequest, 'names' | 'indexed'>;

/**
 * What this process wants of one partition, as one shard that holds it gives it. When that shard is lost another goes
 * on where it was: the link is named anew as a whole, with the place up to which it is held. A shard that is behind
 * that place is not followed, for what it has yet to put on the link would be taken for a repetition.
 */
export class PartitionLink {
  readonly partition: number;
  readonly feed: TrackFeed;
  readonly #options: LinkOptions;
  readonly #track: string;
  readonly #names = new Set<string>();
  readonly #indexed = new Set<string>();
  readonly #readings = new Map<string, Reading>();
  /** The shard that is followed, and whether it has all of the link. */
  #shard: string | undefined;
  #linked = false;
  /** Shards that may have a link of ours. */
  readonly #linkedAt = new Set<string>();
  /** Grows with every attempt to name the link anew: what was asked before is of no use. */
  #attempt = 0;
  /** A whole state the link began with, until the feed goes on from it. */
  #begun: { readonly state: WholeState; readonly names: Set<string>; readonly indexed: Set<string> } | undefined;
  #distrusted = false;
  #unfollow: () => void = () => undefined;
  #heardAt: number;
  #linkedSince = 0;
  #asking = false;
  #askDue = false;
  #retry: Timer | undefined;
  #closed = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.partition = options.partition;
    this.#track = trackOf(options.lane, options.partition);
    this.#heardAt = options.clock.now();
    this.feed = new TrackFeed({
      ...options,
      recovery: { recover: (lack) => this.#relink(lack) },
      onRecovered: () => void this.#ask(),
    });
  }

  get empty(): boolean {
    return this.#names.size + this.#indexed.size === 0;
  }

  /**
   * From some moment on the link brings `scope`; `onState` is called with all there was of it then, unless it is read
   * again before, or removed. What the feed brings behind that state may come before it.
   */
  read(scope: Scope, onState: (state: WholeState) => void): void {
    const first = this.empty;
    if (scope.kind === 'name') this.#names.add(scope.key);
    else this.#indexed.add(scope.value);
    this.#readings.set(idOf(scope), { scope, onState, asked: false });
    if (first) this.feed.recover(true);
    else void this.#ask();
  }

  remove(scope: Scope): void {
    this.#readings.delete(idOf(scope));
    if (scope.kind === 'name') this.#names.delete(scope.key);
    else this.#indexed.delete(scope.value);
    if (this.empty) this.#leaveAll();
    else if (this.#linked) this.#unlink(this.#shard!, namedOf([scope]));
  }

  /** To be called once a second: leaves a shard that is silent, or does not hold the partition any more. */
  watch(): void {
    if (!this.#linked) return;
    const now = this.#options.clock.now();
    const silent = now - this.#heardAt > SILENCE_MS;
    const moved = !this.#owners.includes(this.#shard!) && now - this.#linkedSince > SILENCE_MS;
    if (!silent && !moved) return;
    this.#distrusted = true;
    this.feed.recover();
  }

  /** The feed goes on from `state`, of which the readings it answers are given their part. */
  resume(state: WholeState): void {
    const begun = this.#begun;
    this.#begun = undefined;
    if (begun?.state === state) {
      const part = partsOf(state);
      for (const reading of Array.from(this.#readings.values())) {
        const { scope } = reading;
        if (scope.kind === 'name' ? begun.names.has(scope.key) : begun.indexed.has(scope.value)) {
          this.#give(reading, part(scope));
        }
      }
    }
    void this.#ask();
  }

  close(): void {
    this.#closed = true;
    this.feed.close();
    this.#readings.clear();
    this.#leaveAll();
  }

  get #owners(): readonly string[] {
    return this.#options.ownersOf(this.#track);
  }

  /** One request at a time; what comes to be wanted meanwhile goes with the next. */
  async #ask(): Promise<void> {
    this.#askDue = true;
    if (this.#asking) return;
    this.#asking = true;
    try {
      while (this.#askDue) {
        this.#askDue = false;
        if (await this.#askSome()) this.#askDue = true;
      }
    } finally {
      this.#asking = false;
    }
  }

  /** False if there is nothing to ask now. */
  async #askSome(): Promise<boolean> {
    // What the feed has kept may be of a shard that was ahead.
    if (!this.#linked || this.feed.recovering || this.#begun !== undefined) return false;
    const readings: Reading[] = [];
    for (const reading of this.#readings.values()) {
      if (!reading.asked && readings.push(reading) === READ_MAX) break;
    }
    if (readings.length === 0) return false;
    for (const reading of readings) reading.asked = true;
    const { bus, lane } = this.#options;
    const [attempt, shard, held] = [this.#attempt, this.#shard!, this.feed.position];
    try {
      const link = this.#request(namedOf(readings.map(({ scope }) => scope)), false);
      const state = await bus.request('sync', { lane, partition: this.partition, from: undefined, link }, shard);
      if (attempt !== this.#attempt) return true;
      this.#take(readings, this.#usable(state, held));
      return true;
    } catch (error) {
      if (attempt !== this.#attempt) return true;
      for (const reading of readings) reading.asked = false;
      this.#onAskFailed(error);
      return false;
    }
  }

  /** Of a shard that is behind what is held, what it has yet to bring of a new scope would be passed over. */
  #usable(state: TrackState, held: Position | undefined): WholeState {
    if (state.kind !== 'state') throw new Error('a shard continues what is not held');
    if (state.epoch !== this.feed.epoch) throw new Unlinked();
    if (held !== undefined && reachedBy(state) < held.rv) throw new Error('a shard is behind');
    return state;
  }

  #take(readings: readonly Reading[], state: WholeState): void {
    const part = partsOf(state);
    const gone: Scope[] = [];
    for (const reading of readings) {
      const { scope } = reading;
      if (this.#wants(scope)) this.#give(reading, part(scope));
      // It was taken off the link before it was put on it.
      else gone.push(scope);
    }
    if (gone.length > 0) this.#unlink(this.#shard!, namedOf(gone));
  }

  #give(reading: Reading, state: WholeState): void {
    const id = idOf(reading.scope);
    // It is read again, from a later moment on.
    if (this.#readings.get(id) !== reading) return;
    this.#readings.delete(id);
    reading.onState(state);
  }

  #onAskFailed(error: unknown): void {
    const { lane, log, clock } = this.#options;
    log.debug({ lane: laneKey(lane), shard: this.#shard, err: error }, 'scopes could not be read yet');
    if (error instanceof Unlinked || (error instanceof StatusError && error.status.code === 410)) {
      // The shard has no link of ours, or another history: all is named anew.
      this.#linked = false;
      this.feed.recover();
      return;
    }
    this.#retry?.cancel();
    this.#retry = clock.setTimeout(() => void this.#ask(), RETRY_MS);
  }

  #wants(scope: Scope): boolean {
    return scope.kind === 'name' ? this.#names.has(scope.key) : this.#indexed.has(scope.value);
  }

  #request(named: Named, replace: boolean): LinkRequest {
    return { follower: this.#options.follower, replace, ...named };
  }

  /** Puts the whole link on a shard that holds the partition and is not behind `from`. */
  async #relink({ from }: Lack): Promise<TrackState> {
    const attempt = ++this.#attempt;
    // What it gave just now has not led on.
    if (this.#linked && this.#options.clock.now() - this.#linkedSince < SILENCE_MS) this.#distrusted = true;
    this.#linked = false;
    this.#begun = undefined;
    const failures: unknown[] = [];
    for (const shard of this.#candidates()) {
      const named = { names: [...this.#names], indexed: [...this.#indexed] };
      this.#follow(shard);
      try {
        const state = await this.#link(shard, named, from);
        if (attempt !== this.#attempt || this.#closed) throw new Superseded();
        this.#onLinked(shard, named, state);
        return state;
      } catch (error) {
        if (attempt !== this.#attempt || this.#closed) {
          // It was left before it had the link.
          if (!this.#linkedAt.has(shard)) this.#leave(shard);
          throw error;
        }
        failures.push(error);
      }
    }
    throw new AggregateError(failures, `no shard gives partition ${this.#track}`);
  }

  /** The present shard first, unless it was found wanting; then it is the last, for it may serve a little longer. */
  #candidates(): readonly string[] {
    const present = this.#shard;
    const owners = this.#owners;
    const others = owners.filter((name) => name !== present);
    if (present === undefined) return others;
    return this.#distrusted || !owners.includes(present) ? [...others, present] : [present, ...others];
  }

  async #link(shard: string, named: Named, from: Lack['from']): Promise<TrackState> {
    const { bus, lane } = this.#options;
    const link = this.#request(named, true);
    const state = await bus.request('sync', { lane, partition: this.partition, from, link }, shard);
    const behind =
      from !== undefined &&
      (state.epoch < from.epoch || (state.epoch === from.epoch && reachedBy(state) < from.position.rv));
    if (behind) throw new Error(`${shard} is at ${state.position.rv}, behind what is held`);
    return state;
  }

  #onLinked(shard: string, named: Named, state: TrackState): void {
    this.#linked = true;
    this.#distrusted = false;
    this.#heardAt = this.#linkedSince = this.#options.clock.now();
    for (const left of Array.from(this.#linkedAt)) if (left !== shard) this.#leave(left);
    const gone = {
      names: named.names.filter((name) => !this.#names.has(name)),
      indexed: named.indexed.filter((value) => !this.#indexed.has(value)),
    };
    if (gone.names.length + gone.indexed.length > 0) this.#unlink(shard, gone);
    for (const reading of this.#readings.values()) reading.asked = false;
    if (state.kind === 'state') {
      this.#begun = { state, names: new Set(named.names), indexed: new Set(named.indexed) };
    }
  }

  /**
   * Anew also where it is followed: a shard that began anew counts what it publishes anew. What came of the link before
   * may be ahead of what this one begins with, and of fewer scopes: it would hide what this one has yet to bring.
   */
  #follow(shard: string): void {
    this.#unfollow();
    this.feed.forget();
    this.#shard = shard;
    this.#linkedAt.add(shard);
    const track = linkTrack(this.#options.follower, shard, this.#track);
    this.#unfollow = this.#options.bus.follow(track, (envelope: Envelope) => {
      this.#heardAt = this.#options.clock.now();
      this.feed.take(envelope);
    });
  }

  #leaveAll(): void {
    this.#attempt++;
    this.#linked = false;
    this.#begun = undefined;
    this.#retry?.cancel();
    this.#unfollow();
    this.feed.rest();
    for (const shard of Array.from(this.#linkedAt)) this.#leave(shard);
  }

  #leave(shard: string): void {
    this.#linkedAt.delete(shard);
    this.#unlink(shard, { names: [], indexed: [] });
  }

  /** Nothing named: everything. */
  #unlink(shard: string, named: Named): void {
    const { bus, lane, follower, log } = this.#options;
    bus.request('unlink', { lane, partition: this.partition, follower, ...named }, shard).catch((error: unknown) => {
      // It is named in the next link to that shard, or goes with this process.
      log.debug({ lane: laneKey(lane), shard, err: error }, 'a shard was not told what is not wanted any more');
    });
  }
}

/** What is held does not go with the link as the shard has it. */
class Unlinked extends Error {
  readonly code = 'Unlinked';
  constructor() {
    super('a shard has gone on to another history');
  }
}

function idOf(scope: Scope): string {
  return scope.kind === 'name' ? `name ${scope.key}` : `indexed ${scope.value}`;
}

function namedOf(scopes: readonly Scope[]): Named {
  return {
    names: scopes.flatMap((scope) => (scope.kind === 'name' ? [scope.key] : [])),
    indexed: scopes.flatMap((scope) => (scope.kind === 'indexed' ? [scope.value] : [])),
  };
}

/** Of keyed lanes a version is one event, so who has its event has all of it. */
function reachedBy({ position, watermark }: TrackState): ResourceVersion {
  return Math.max(position.rv, watermark);
}
