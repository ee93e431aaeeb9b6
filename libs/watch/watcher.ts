import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import { Attributes } from '@dogwatch/kube/kube-object.ts';
import { frameEvent } from '@dogwatch/kube/event-framer.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { StoreSnapshot } from './object-store.ts';
import type { WatchCache } from './watch-cache.ts';
import type { WatchGroup } from './watch-group.ts';

/** Where frames go. `write` returns false when no more should be given until the sink is drained. */
export interface Sink {
  write(bytes: Buffer): boolean;
}

/** Who drives a watcher: told when there is something to send. */
export interface WatcherOwner {
  wake(): void;
}

export type PumpResult = 'drained' | 'blocked' | 'overrun';

const INITIAL_CHUNK_BYTES = 16 * 1024;

/** The initial events of one watcher: a snapshot walked at the pace of its socket. */
interface InitialEvents {
  readonly objects: Iterator<KubeObject, void>;
  /** The annotated bookmark that ends them, if the client asked for one. */
  readonly end: Buffer | undefined;
}

/** Start of a watch: with the objects of a snapshot first, or after a version the client holds. */
export type WatchStart =
  | {
      readonly kind: 'initial';
      readonly snapshot: StoreSnapshot;
      /** Version the snapshot is complete up to. */
      readonly rv: ResourceVersion;
      readonly end: Buffer | undefined;
    }
  | { readonly kind: 'resume'; readonly sequence: number; readonly rv: ResourceVersion };

export interface WatcherOptions {
  readonly start: WatchStart;
  readonly allowBookmarks: boolean;
  readonly owner: WatcherOwner;
}

/**
 * One client's place in its group's log: a cursor and a few numbers. It pulls: a frame leaves only while the sink
 * takes it, so a client that does not read keeps its cursor where it is and costs nobody anything.
 */
export class Watcher {
  readonly group: WatchGroup;
  readonly owner: WatcherOwner;
  readonly #cache: WatchCache;
  /** The client holds a version not reached yet: events up to it are hidden (protocol row W7). 0 once it is passed. */
  #floor: ResourceVersion;
  readonly #allowBookmarks: boolean;
  #cursor: number;
  #initial: InitialEvents | undefined;
  #sent: ResourceVersion;
  /** Version of the last bookmark sent, or the version the watch began at. */
  #vouched: ResourceVersion;
  /** Frames sent. */
  frames = 0;

  constructor(group: WatchGroup, cache: WatchCache, { start, allowBookmarks, owner }: WatcherOptions) {
    this.group = group;
    this.owner = owner;
    this.#cache = cache;
    this.#floor = start.rv > cache.watermark ? start.rv : 0;
    this.#sent = this.#vouched = start.rv;
    this.#allowBookmarks = allowBookmarks;
    if (start.kind === 'initial') {
      this.#initial = { objects: selected(cache, group, start.snapshot), end: start.end };
      this.#cursor = group.end;
    } else {
      this.#cursor = group.indexFrom(start.sequence);
    }
  }

  /** Index in the group's log of what is sent next. */
  get cursor(): number {
    return this.#cursor;
  }

  /** True if everything in the log was sent. */
  get atEnd(): boolean {
    return this.#initial === undefined && this.#cursor === this.group.end;
  }

  /** Version of the last event or bookmark sent, or the version the watch began at. */
  get sent(): ResourceVersion {
    return this.#sent;
  }

  /** Sends what the sink takes. 'overrun': what comes next is not known (any more), the watch must end. */
  pump(sink: Sink): PumpResult {
    while (this.#initial !== undefined) {
      const bytes = this.#nextInitial(this.#initial);
      if (bytes.length > 0 && !sink.write(bytes)) return 'blocked';
    }
    const { group } = this;
    for (;;) {
      if (this.#severed) return 'overrun';
      const bookmark = group.bookmarkAt(this.#cursor);
      if (bookmark !== undefined && this.bookmark(sink, bookmark) === 'blocked') return 'blocked';
      if (this.#cursor === group.end) break;
      if (this.#cursor < group.first) return 'overrun';
      const bytes = this.#next();
      if (bytes !== undefined && !sink.write(bytes)) return 'blocked';
    }
    if (this.#floor < this.#cache.watermark) this.#floor = 0;
    return 'drained';
  }

  /**
   * Sends a bookmark behind everything up to it: the group's, or one of its own to a watcher at the end of the log,
   * before it is ended. Nothing happens where there is nothing to vouch for.
   */
  bookmark(sink: Sink, { rv, bytes }: { rv: ResourceVersion; bytes: Buffer }): 'sent' | 'blocked' | 'not-due' {
    if (!this.#allowBookmarks || rv <= this.#vouched || rv < this.#sent || this.#severed) return 'not-due';
    this.#sent = this.#vouched = rv;
    this.frames++;
    return sink.write(bytes) ? 'sent' : 'blocked';
  }

  /**
   * True if a repair passed over the version the client holds: it may hold objects that came and went in between, of
   * which nobody can tell it.
   */
  get #severed(): boolean {
    return this.#floor > 0 && this.#cache.severed(this.#floor);
  }

  #next(): Buffer | undefined {
    const { rv, repair } = this.group.at(this.#cursor)!;
    if (rv < this.#floor || (rv === this.#floor && !repair)) {
      this.#cursor++;
      return undefined;
    }
    // All that follows in the log is at or above this entry, so it passes too.
    const { to, bytes } = this.group.chunk(this.#cursor);
    this.frames += to - this.#cursor;
    this.#cursor = to;
    this.#sent = this.group.at(to - 1)!.rv;
    return bytes;
  }

  #nextInitial({ objects, end }: InitialEvents): Buffer {
    const parts: Buffer[] = [];
    let length = 0;
    while (length < INITIAL_CHUNK_BYTES) {
      const { value, done } = objects.next();
      if (done === true) {
        this.#initial = undefined;
        if (end !== undefined) parts.push(end);
        break;
      }
      const frame = frameEvent(this.group.encoding, 'ADDED', value!.bytes);
      this.frames++;
      parts.push(frame);
      length += frame.length;
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }
}

function* selected(cache: WatchCache, group: WatchGroup, snapshot: StoreSnapshot): Generator<KubeObject, void> {
  const { interest } = group;
  const named = interest.name !== '' && interest.keyPrefix !== '';
  const prefix = named ? interest.keyPrefix + interest.name : interest.keyPrefix;
  for (const object of snapshot.range(prefix)) {
    if (named && object.name !== interest.name) return;
    if (interest.matches(new Attributes(cache.schema, object))) yield object;
  }
}
