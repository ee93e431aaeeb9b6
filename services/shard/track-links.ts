import type { Bus, LinkRequest } from '@dogwatch/bus/bus.ts';
import { linkTrack } from '@dogwatch/bus/link-track.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import { ValueIndex } from '@dogwatch/watch/value-index.ts';
import type { WindowEntry } from '@dogwatch/watch/event-window.ts';
import type { Change, Position } from '@dogwatch/watch/watch-cache.ts';
import type { LaneReplica } from '@dogwatch/replica/lane-replica.ts';

/** Objects and values a follower may name in one partition; more are refused. */
export const LINKED_MAX = 200_000;

/** The partition whose links these are. */
export interface LinkedTrack {
  readonly track: string;
  readonly replica: LaneReplica;
  state(from: { readonly epoch: number; readonly position: Position } | undefined): TrackState | undefined;
}

/** What one follower wants of the partition, and how far it was given it. */
interface Link {
  readonly follower: string;
  readonly track: string;
  readonly names: Set<string>;
  readonly indexed: Set<string>;
  /** Of the last change put on it, or where it began. */
  position: Position;
  pending: Change[];
  /** Watermark last put on it. */
  marked: number;
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
  readonly #links = new Map<string, Link>();
  readonly #byName = new ValueIndex<Link>();
  readonly #byIndexed = new ValueIndex<Link>();
  readonly #touched = new Set<Link>();
  readonly #stop: () => void;
  /** Window sequence number up to which changes were offered to links. */
  #offered = 0;

  constructor(held: LinkedTrack, options: { readonly bus: Bus; readonly shard: string }) {
    this.#held = held;
    this.#bus = options.bus;
    this.#shard = options.shard;
    this.#offered = held.replica.ready ? held.replica.cache.window.end : 0;
    this.#stop = held.replica.onApplied((what) => (what === 'state' ? this.#onState() : this.#onChanges()));
  }

  get followers(): Iterable<string> {
    return this.#links.keys();
  }

  get empty(): boolean {
    return this.#links.size === 0;
  }

  /** Puts what is asked on the link and gives what there is of it; undefined if there is no room, or nothing held. */
  link(request: LinkRequest, from: { epoch: number; position: Position } | undefined): TrackState | undefined {
    const { replica } = this.#held;
    if (!replica.ready) return undefined;
    const link = this.#links.get(request.follower) ?? this.#begin(request.follower);
    if (request.replace) this.#clear(link);
    const size = link.names.size + link.indexed.size;
    if (size + request.names.length + request.indexed.length > LINKED_MAX) return undefined;
    for (const name of request.names) {
      link.names.add(name);
      this.#byName.add(name, link);
    }
    for (const value of request.indexed) {
      link.indexed.add(value);
      this.#byIndexed.add(value, link);
    }
    if (request.replace) link.position = replica.cache.position;
    return selected(this.#held.state(from)!, new Set(request.names), new Set(request.indexed));
  }

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
    if (link.names.size + link.indexed.size === 0) this.drop(follower);
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
    if (!replica.ready) return;
    const { watermark } = replica.cache;
    for (const link of this.#links.values()) {
      if (link.marked >= watermark) continue;
      link.marked = watermark;
      this.#bus.publish(link.track, {
        kind: 'watermark',
        epoch: replica.epoch,
        previous: link.position,
        rv: watermark,
      });
    }
  }

  close(): void {
    this.#stop();
    for (const follower of Array.from(this.#links.keys())) this.drop(follower);
  }

  #begin(follower: string): Link {
    const link = {
      follower,
      track: linkTrack(follower, this.#shard, this.#held.track),
      names: new Set<string>(),
      indexed: new Set<string>(),
      position: this.#held.replica.cache.position,
      pending: [],
      marked: 0,
    };
    this.#links.set(follower, link);
    return link;
  }

  #clear(link: Link): void {
    for (const name of link.names) this.#byName.remove(name, link);
    for (const value of link.indexed) this.#byIndexed.remove(value, link);
    link.names.clear();
    link.indexed.clear();
  }

  /** A repair or another history: followers have to be given theirs as a whole. */
  #onState(): void {
    const { cache, epoch } = this.#held.replica;
    this.#offered = cache.window.end;
    for (const link of this.#links.values()) {
      link.position = cache.position;
      this.#bus.publish(link.track, { kind: 'listed', epoch, rv: cache.watermark });
    }
  }

  #onChanges(): void {
    const { cache, epoch } = this.#held.replica;
    const { window } = cache;
    if (this.#links.size > 0) {
      for (let at = Math.max(this.#offered, window.first); at < window.end; at++) this.#offer(window.at(at));
    }
    this.#offered = window.end;
    for (const link of this.#touched) {
      const changes = link.pending;
      link.pending = [];
      this.#bus.publish(link.track, { kind: 'batch', epoch, batch: { previous: link.position, changes } });
      link.position = { rv: changes.at(-1)!.object.rv, index: 0 };
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

/** What of `state` concerns the objects named and those of the values named. */
function selected(state: TrackState, names: ReadonlySet<string>, indexed: ReadonlySet<string>): TrackState {
  const concerns = (object: KubeObject): boolean => names.has(object.key) || indexed.has(object.indexed);
  const changes = state.changes.filter(({ object }) => concerns(object));
  if (state.kind === 'changes') return { ...state, changes };
  const { listing, tombstones } = state;
  return {
    ...state,
    changes,
    listing: { rv: listing.rv, objects: listing.objects.filter(concerns) },
    tombstones: tombstones.filter(({ object }) => concerns(object)),
  };
}
