import type { Bus, LinkRequest } from '@dogwatch/bus/bus.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { linkTrack } from '@dogwatch/bus/link-track.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import { type Lane, laneKey } from '@dogwatch/kube/lane.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import type { Lack } from './lane-supply.ts';
import type { Scope } from './scope.ts';
import { type FeedSink, TrackFeed, type WholeState } from './track-feed.ts';

/** A shard says at least this often how far it is; one that says nothing for so long is left for another. */
const SILENCE_MS = 3_000;
/** Scopes asked for in one request. */
const BATCH_MAX = 1_000;

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

interface Wanted {
  readonly scope: Scope;
  readonly resolve: (state: WholeState) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * What this process wants of one partition, as one shard that holds it gives it. When that shard is lost another goes
 * on where it was: the link is named anew as a whole, with the place up to which it is held.
 */
export class PartitionLink {
  readonly partition: number;
  readonly feed: TrackFeed;
  readonly #options: LinkOptions;
  readonly #track: string;
  readonly #names = new Set<string>();
  readonly #indexed = new Set<string>();
  #shard: string | undefined;
  #unfollow: () => void = () => undefined;
  #heardAt: number;
  #wanted: Wanted[] = [];
  #asking = false;
  #closed = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.partition = options.partition;
    this.#track = trackOf(options.lane, options.partition);
    this.#heardAt = options.clock.now();
    this.feed = new TrackFeed({ ...options, recovery: { recover: (lack) => this.#relink(lack) } });
  }

  get empty(): boolean {
    return this.#names.size + this.#indexed.size === 0;
  }

  /** From some moment on the link brings `scope`; resolves with all there was of it then. */
  add(scope: Scope): Promise<WholeState> {
    if (scope.kind === 'name') this.#names.add(scope.key);
    else this.#indexed.add(scope.value);
    return new Promise((resolve, reject) => {
      this.#wanted.push({ scope, resolve, reject });
      if (this.feed.position === undefined) this.feed.recover();
      else void this.#ask();
    });
  }

  remove(scope: Scope): void {
    if (scope.kind === 'name') this.#names.delete(scope.key);
    else this.#indexed.delete(scope.value);
    const named = {
      names: scope.kind === 'name' ? [scope.key] : [],
      indexed: scope.kind === 'name' ? [] : [scope.value],
    };
    this.#unlink(this.#shard, named);
  }

  /** To be called once a second: leaves a shard that is silent, or lives no more. */
  watch(): void {
    if (this.empty || this.feed.position === undefined) return;
    const { clock, ownersOf } = this.#options;
    const lost = clock.now() - this.#heardAt > SILENCE_MS;
    if (!lost && (this.#shard === undefined || ownersOf(this.#track).includes(this.#shard))) return;
    this.#heardAt = clock.now();
    this.feed.recover();
  }

  /** What is asked for is asked again, once the feed has a place to go on from. */
  resume(): void {
    void this.#ask();
  }

  close(): void {
    this.#closed = true;
    this.#unfollow();
    this.feed.close();
    this.#unlink(this.#shard, { names: [...this.#names], indexed: [...this.#indexed] });
    for (const { reject } of this.#wanted.splice(0)) reject(new Error('the link is closed'));
  }

  /** One request at a time; what comes to be wanted meanwhile goes with the next. */
  async #ask(): Promise<void> {
    if (this.#asking || this.#closed) return;
    this.#asking = true;
    try {
      while (this.#wanted.length > 0 && this.#shard !== undefined && !this.#closed) {
        const wanted = this.#wanted.splice(0, BATCH_MAX);
        await this.#addAll(wanted, this.#shard);
      }
    } finally {
      this.#asking = false;
    }
  }

  async #addAll(wanted: readonly Wanted[], shard: string): Promise<void> {
    const { bus, lane } = this.#options;
    const names = wanted.flatMap(({ scope }) => (scope.kind === 'name' ? [scope.key] : []));
    const indexed = wanted.flatMap(({ scope }) => (scope.kind === 'indexed' ? [scope.value] : []));
    try {
      const link = this.#request({ names, indexed, replace: false });
      const state = await bus.request('sync', { lane, partition: this.partition, from: undefined, link }, shard);
      if (state.kind !== 'state') throw new Error('a shard continues what is not held');
      if (shard !== this.#shard) throw new Error('the shard was left meanwhile');
      const parts = partsOf(state);
      for (const { scope, resolve } of wanted) resolve(parts(scope));
    } catch (error) {
      for (const { reject } of wanted) reject(error);
    }
  }

  #request(parts: Omit<LinkRequest, 'follower'>): LinkRequest {
    return { follower: this.#options.follower, ...parts };
  }

  /** Puts the whole link on a shard that holds the partition, another than the present one if there is. */
  async #relink({ from }: Lack): Promise<TrackState> {
    const { bus, lane, ownersOf } = this.#options;
    const owners = ownersOf(this.#track);
    const others = owners.filter((name) => name !== this.#shard);
    const again = owners.filter((name) => name === this.#shard);
    const failures: unknown[] = [];
    for (const shard of [...others, ...again]) {
      const left = this.#shard;
      this.#follow(shard);
      try {
        const link = this.#request({ names: [...this.#names], indexed: [...this.#indexed], replace: true });
        const state = await bus.request('sync', { lane, partition: this.partition, from, link }, shard);
        if (left !== shard) this.#unlink(left, { names: [...this.#names], indexed: [...this.#indexed] });
        return state;
      } catch (error) {
        failures.push(error);
      }
    }
    throw new AggregateError(failures, `no shard gives partition ${this.#track}`);
  }

  #follow(shard: string): void {
    if (this.#shard === shard) return;
    this.#unfollow();
    this.#shard = shard;
    const track = linkTrack(this.#options.follower, shard, this.#track);
    this.#unfollow = this.#options.bus.follow(track, (envelope: Envelope) => {
      this.#heardAt = this.#options.clock.now();
      this.feed.take(envelope);
    });
  }

  #unlink(shard: string | undefined, what: Pick<LinkRequest, 'names' | 'indexed'>): void {
    const { bus, lane, follower, log } = this.#options;
    if (shard === undefined) return;
    bus.request('unlink', { lane, partition: this.partition, follower, ...what }, shard).catch((error: unknown) => {
      // It is named in the next link to that shard, or goes with this process.
      log.debug({ lane: laneKey(lane), shard, err: error }, 'a shard was not told what is not wanted any more');
    });
  }
}

/** What of `state` belongs to a scope, found without looking through it for each. */
function partsOf(state: WholeState): (scope: Scope) => WholeState {
  const objects = Map.groupBy(state.listing.objects, ({ indexed }) => indexed);
  const named = new Map(state.listing.objects.map((object) => [object.key, object]));
  const tombstones = Map.groupBy(state.tombstones, ({ object }) => object.indexed);
  const namedTombstones = Map.groupBy(state.tombstones, ({ object }) => object.key);
  return (scope) => {
    const own =
      scope.kind === 'indexed' ? objects.get(scope.value) : [named.get(scope.key)].filter((it) => it !== undefined);
    const deletes = scope.kind === 'indexed' ? tombstones.get(scope.value) : namedTombstones.get(scope.key);
    return { ...state, listing: { rv: state.listing.rv, objects: own ?? [] }, tombstones: deletes ?? [] };
  };
}
