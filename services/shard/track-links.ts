import type { Bus, LinkRequest } from '@dogwatch/bus/bus.ts';
import { linkTrack } from '@dogwatch/bus/link-track.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import { StatusError, expired, tooManyRequests } from '@dogwatch/kube/status.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { LaneReplica } from '@dogwatch/replica/lane-replica.ts';
import type { WindowEntry } from '@dogwatch/watch/event-window.ts';
import { ValueIndex } from '@dogwatch/watch/value-index.ts';
import type { Change, Position } from '@dogwatch/watch/watch-cache.ts';

/** A link says at least this often that it is there, also where nothing moves. */
const SIGN_MS = 1_000;

/** How far a partition is held. */
export type Reached = Pick<TrackState, 'epoch' | 'position' | 'watermark'>;

/** The partition whose links these are. */
export interface LinkedTrack {
  readonly track: string;
  readonly replica: LaneReplica;
  /** Of a partition that is ready. */
  readonly reached: Reached;
}

export interface LinkLimits {
  /** Objects and values a follower may name in one partition; more are refused. */
  readonly namedMax: number;
  /** Followers of one partition; more are refused. */
  readonly followersMax: number;
}

const LIMITS: LinkLimits = { namedMax: 200_000, followersMax: 1_000 };

/** What one follower wants of the partition, and how far it was given it. */
interface Link {
  readonly track: string;
  readonly names: Set<string>;
  readonly indexed: Set<string>;
  /** Of the last change put on it, or where it began. */
  position: Position;
  pending: Change[];
  /** Watermark last put on it, and when, in ms. */
  marked: number;
  markedAt: number;
}

/**
 * The links of one partition: to each follower goes what it wants and nothing else. A link is a track of its own, whose
 * envelopes continue each other, so its follower finds a loss as that of a whole track does. To name something more and
 * to read its state happen in one turn: from that state on it is on the link.
 */
export class TrackLinks {
  readonly #held: LinkedTrack;
  readonly #bus: Bus;
  readonly #shard: string;
  readonly #clock: Clock;
  readonly #limits: LinkLimits;
  readonly #links = new Map<string, Link>();
  readonly #byName = new ValueIndex<Link>();
  readonly #byIndexed = new ValueIndex<Link>();
  readonly #touched = new Set<Link>();
  readonly #stops: readonly (() => void)[];
  /** Window sequence number up to which changes were offered to links. */
  #offered: number;

  constructor(held: LinkedTrack, options: { bus: Bus; shard: string; clock: Clock; links?: LinkLimits }) {
    const { replica } = held;
    this.#held = held;
    this.#bus = options.bus;
    this.#shard = options.shard;
    this.#clock = options.clock;
    this.#limits = options.links ?? LIMITS;
    this.#offered = replica.ready ? replica.cache.window.end : 0;
    this.#stops = [
      replica.onApplied((what) => (what === 'state' ? this.#onState() : this.#onChanges())),
      replica.onEnd((end) => {
        if (end === 'ended') this.end();
      }),
    ];
  }

  get followers(): Iterable<string> {
    return this.#links.keys();
  }

  get empty(): boolean {
    return this.#links.size === 0;
  }

  /**
   * Puts what is asked on the link and gives what there is of it: what changed since `from`, where that can be told,
   * or all. Undefined if the partition is not held yet. Throws StatusError: 410 where there is no link to put it on
   * beside the rest (the follower has to name it as a whole), 429 where there is no room.
   */
  link(request: LinkRequest, from: { epoch: number; position: Position } | undefined): TrackState | undefined {
    const { replica } = this.#held;
    if (!replica.ready) return undefined;
    const { reached } = this.#held;
    const present = this.#links.get(request.follower);
    if (!request.replace && present === undefined) {
      throw new StatusError(expired(`this shard has no link of ${request.follower}`));
    }
    this.#refuseTooMuch(request, present);
    const link = present ?? this.#begin(request.follower);
    if (request.replace) {
      this.#clear(link);
      Object.assign(link, { position: reached.position, marked: 0 });
    }
    for (const name of request.names) {
      link.names.add(name);
      this.#byName.add(name, link);
    }
    for (const value of request.indexed) {
      link.indexed.add(value);
      this.#byIndexed.add(value, link);
    }
    const { cache, facts, epoch } = replica;
    const since = from?.epoch === epoch ? cache.changesSince(from.position) : undefined;
    if (since !== undefined) return { kind: 'changes', ...reached, changes: concerning(since, request) };
    return { kind: 'state', ...reached, facts, ...cache.part(request.names, request.indexed) };
  }

  /** Takes what is named off the link; all of it if nothing is. */
  unlink({ follower, names, indexed }: Omit<LinkRequest, 'replace'>): void {
    const link = this.#links.get(follower);
    if (link === undefined) return;
    for (const name of names) {
      link.names.delete(name);
      this.#byName.remove(name, link);
    }
    for (const value of indexed) {
      link.indexed.delete(value);
      this.#byIndexed.remove(value, link);
    }
    const all = names.length + indexed.length === 0;
    if (all || link.names.size + link.indexed.size === 0) this.drop(follower);
  }

  /** The follower is gone. */
  drop(follower: string): void {
    const link = this.#links.get(follower);
    if (link === undefined) return;
    this.#clear(link);
    this.#links.delete(follower);
    this.#bus.cease(link.track);
  }

  /** Tells every follower how far the partition is, so that it does not wait for what will not come. */
  mark(): void {
    const { replica } = this.#held;
    if (!replica.ready || this.empty) return;
    const { watermark: rv, epoch } = this.#held.reached;
    const now = this.#clock.now();
    for (const link of this.#links.values()) {
      if (link.marked >= rv && now - link.markedAt < SIGN_MS) continue;
      link.marked = rv;
      link.markedAt = now;
      this.#bus.publish(link.track, { kind: 'watermark', epoch, previous: link.position, rv });
    }
  }

  /** Tells every follower that the lane is over. */
  end(): void {
    const { epoch } = this.#held.replica;
    for (const { track } of this.#links.values()) this.#bus.publish(track, { kind: 'end', epoch, end: 'ended' });
  }

  /** Followers are told nothing any more, and find that out by the silence. */
  close(): void {
    for (const stop of this.#stops) stop();
    for (const follower of Array.from(this.#links.keys())) this.drop(follower);
  }

  #begin(follower: string): Link {
    const link = {
      track: linkTrack(follower, this.#shard, this.#held.track),
      names: new Set<string>(),
      indexed: new Set<string>(),
      position: this.#held.reached.position,
      pending: [],
      marked: 0,
      markedAt: this.#clock.now(),
    };
    this.#links.set(follower, link);
    return link;
  }

  #refuseTooMuch({ names, indexed, replace }: LinkRequest, present: Link | undefined): void {
    const { namedMax, followersMax } = this.#limits;
    const kept = replace ? undefined : present;
    const fresh =
      names.filter((name) => kept?.names.has(name) !== true).length +
      indexed.filter((value) => kept?.indexed.has(value) !== true).length;
    const named = fresh + (kept === undefined ? 0 : kept.names.size + kept.indexed.size);
    if (named > namedMax) {
      throw new StatusError(
        tooManyRequests(`more than ${namedMax} objects and values of a partition are followed`, 30),
      );
    }
    if (present === undefined && this.#links.size >= followersMax) {
      throw new StatusError(tooManyRequests(`more than ${followersMax} follow parts of a partition`, 30));
    }
  }

  #clear(link: Link): void {
    for (const name of link.names) this.#byName.remove(name, link);
    for (const value of link.indexed) this.#byIndexed.remove(value, link);
    link.names.clear();
    link.indexed.clear();
  }

  /** A repair, another history, or more at once than is kept: followers have to be given theirs as a whole. */
  #onState(): void {
    const { position, watermark: rv, epoch } = this.#held.reached;
    this.#offered = this.#held.replica.cache.window.end;
    for (const link of this.#links.values()) {
      Object.assign(link, { position, marked: 0 });
      this.#bus.publish(link.track, { kind: 'listed', epoch, rv });
    }
  }

  #onChanges(): void {
    const { cache, epoch } = this.#held.replica;
    const { window } = cache;
    if (window.first > this.#offered) return this.#onState();
    if (this.#links.size > 0) {
      for (let at = this.#offered; at < window.end; at++) this.#offer(window.at(at));
    }
    this.#offered = window.end;
    for (const link of this.#touched) {
      const changes = link.pending;
      link.pending = [];
      const { position: previous } = link;
      link.position = placeOf(previous, changes);
      this.#bus.publish(link.track, { kind: 'batch', epoch, batch: { previous, changes } });
    }
    this.#touched.clear();
  }

  #offer(entry: WindowEntry): void {
    const { object, previous } = entry;
    let change: Change | undefined;
    const give = (links: Iterable<Link>): void => {
      for (const link of links) {
        change ??= { type: entry.type, object, frame: entry.frame(entry.type) };
        if (link.pending.at(-1) !== change) link.pending.push(change);
        this.#touched.add(link);
      }
    };
    give(this.#byName.get(object.key));
    if (object.indexed !== '') give(this.#byIndexed.get(object.indexed));
    const before = previous?.indexed ?? '';
    if (before !== '' && before !== object.indexed) give(this.#byIndexed.get(before));
  }
}

/** Place of the last of `changes`, which continue `previous`, as whoever follows them counts. */
function placeOf(previous: Position, changes: readonly Change[]): Position {
  let place = previous;
  for (const { object } of changes) place = { rv: object.rv, index: object.rv === place.rv ? place.index + 1 : 0 };
  return place;
}

/** Those of `changes` that concern the objects and the values named. */
function concerning(changes: readonly Change[], { names, indexed }: LinkRequest): readonly Change[] {
  const keys = new Set(names);
  const values = new Set(indexed);
  return changes.filter(({ object }) => keys.has(object.key) || values.has(object.indexed));
}
