import { Attributes } from '@dogwatch/kube/kube-object.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { WindowEntry } from './event-window.ts';
import { GroupIndex } from './group-index.ts';
import type { Interest } from './interest.ts';
import type { WatchCache } from './watch-cache.ts';
import { WatchGroup } from './watch-group.ts';
import { Watcher, type WatcherOptions } from './watcher.ts';

/** References to frames that the logs of a lane's groups may hold together, of some 64 bytes each. */
const FRAMES_MAX = 1_000_000;

/**
 * Bytes of frames kept for members that take none; at more they go on without every change, if they can. Unbounded: the
 * frames are the window's own, which is bounded, so that lagging within it costs nothing and loses no change.
 */
const LAG_BYTES_MAX = Number.POSITIVE_INFINITY;

/**
 * The watch groups of one lane, indexed so that a change is evaluated only for groups it can concern: those of its
 * object's name, of the value its indexed field has or had, of its namespace, and those that see everything; of those
 * that see shards of these, the ones whose it is in.
 */
export class WatchGroups {
  readonly #cache: WatchCache;
  readonly #framesMax: number;
  readonly #lagBytesMax: number;
  readonly #groups = new Map<string, WatchGroup>();
  readonly #byName = new GroupIndex();
  readonly #byIndexed = new GroupIndex();
  readonly #byNamespace = new GroupIndex();
  readonly #touched = new Set<WatchGroup>();
  #watchers = 0;
  /** Window sequence number up to which changes were offered to the groups. */
  #offered: number;
  /** Version up to which they were. */
  #offeredRv: ResourceVersion;
  #bookmarkDue: ((rv: ResourceVersion) => Buffer) | undefined;

  constructor(cache: WatchCache, limits: { readonly framesMax?: number; readonly lagBytesMax?: number } = {}) {
    this.#cache = cache;
    this.#framesMax = limits.framesMax ?? FRAMES_MAX;
    this.#lagBytesMax = limits.lagBytesMax ?? LAG_BYTES_MAX;
    this.#offered = cache.window.end;
    this.#offeredRv = cache.watermark;
    cache.onEntries = () => {
      this.#offerUpTo(cache.window.end);
      this.#wakeTouched();
    };
    cache.onSettled = () => this.#bookmarkIfDue();
  }

  /** Open watches. */
  get size(): number {
    return this.#watchers;
  }

  get groupCount(): number {
    return this.#groups.size;
  }

  [Symbol.iterator](): Iterator<WatchGroup> {
    return this.#groups.values();
  }

  /** Adds a watcher; `start` must have been read from the cache in the same turn of the event loop. */
  join(interest: Interest, options: WatcherOptions): Watcher {
    let group = this.#groups.get(interest.key);
    if (group === undefined) {
      group = new WatchGroup(interest, this.#cache);
      this.#groups.set(interest.key, group);
      const [index, value] = this.#indexFor(interest);
      index.add(value, group);
    }
    const watcher = new Watcher(group, this.#cache, options);
    group.members.add(watcher);
    this.#watchers++;
    return watcher;
  }

  /** Removes a watcher; a group without members goes with its log. Unknown watchers are ignored. */
  leave(watcher: Watcher): void {
    const { group } = watcher;
    if (!group.members.delete(watcher)) return;
    this.#watchers--;
    if (group.members.size > 0) return;
    this.#groups.delete(group.interest.key);
    const [index, value] = this.#indexFor(group.interest);
    index.remove(value, group);
  }

  /**
   * Asks for one bookmark to every group, at the watermark, framed by `frame`. `quiet`: nothing was applied of late,
   * so the watermark is complete and the bookmark goes out now; otherwise it goes out when the next version begins,
   * which proves the one before complete.
   */
  bookmark(quiet: boolean, frame: (rv: ResourceVersion) => Buffer): void {
    this.#bookmarkDue = frame;
    if (quiet) this.#bookmarkIfDue();
  }

  /**
   * Lets go of frames nobody needs any more; to be called about once a second. Members of many groups that all lag, as
   * those of clients that do not read, are overrun rather than kept frames for without bound.
   */
  trim(): void {
    let frames = 0;
    for (const group of this.#groups.values()) {
      group.trim(this.#lagBytesMax);
      frames += group.size;
    }
    if (frames <= this.#framesMax) return;
    const share = Math.floor(this.#framesMax / this.#groups.size);
    for (const group of this.#groups.values()) group.shorten(share);
  }

  #bookmarkIfDue(): void {
    const frame = this.#bookmarkDue;
    if (frame === undefined || this.#groups.size === 0) return;
    this.#bookmarkDue = undefined;
    // Changes of this batch that were applied but not yet offered to the groups must come first.
    this.#offerUpTo(this.#cache.window.end);
    const rv = this.#cache.watermark;
    const bytes = frame(rv);
    for (const group of this.#groups.values()) {
      group.bookmark(rv, bytes);
      this.#touched.add(group);
    }
    this.#wakeTouched();
  }

  #offerUpTo(to: number): void {
    const { window } = this.#cache;
    if (window.first > this.#offered) {
      // A repair larger than the whole window: what was evicted unseen ends every watch, and is never passed over.
      for (const group of this.#groups.values()) {
        group.lose(this.#offeredRv);
        this.#touched.add(group);
      }
      this.#offered = window.first;
    }
    for (let at = this.#offered; at < to; at++) this.#offer(at, window.at(at));
    this.#offered = to;
    this.#offeredRv = this.#cache.watermark;
  }

  #offer(sequence: number, entry: WindowEntry): void {
    const { schema } = this.#cache;
    const { object, previous } = entry;
    const now = new Attributes(schema, object);
    const before = previous === undefined ? undefined : new Attributes(schema, previous);
    const states = { now, before };
    const offerTo = (group: WatchGroup): void => {
      if (group.offer(sequence, entry, now, before)) this.#touched.add(group);
    };
    this.#byName.visit(object.name, states, offerTo);
    this.#byNamespace.visit('', states, offerTo);
    if (object.namespace !== '') this.#byNamespace.visit(object.namespace, states, offerTo);
    if (schema.indexedField === undefined) return;
    this.#byIndexed.visit(object.indexed, states, offerTo);
    if (previous === undefined || previous.indexed === object.indexed) return;
    this.#byIndexed.visit(previous.indexed, states, offerTo);
  }

  #wakeTouched(): void {
    for (const group of this.#touched) {
      for (const watcher of group.members) watcher.owner.wake();
    }
    this.#touched.clear();
  }

  /** Each group stands in exactly one index, the most selective it has a value for. */
  #indexFor(interest: Interest): [GroupIndex, string] {
    if (interest.name !== '') return [this.#byName, interest.name];
    const value = interest.indexedValue(this.#cache.schema);
    return value === undefined ? [this.#byNamespace, interest.namespace] : [this.#byIndexed, value];
  }
}
