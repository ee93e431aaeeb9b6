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

const INITIAL_CHUNK_BYTES = 64 * 1024;

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
  /** The client asked to resume from a version not reached yet: events up to it are hidden (protocol row W7). */
  readonly #floor: ResourceVersion;
  readonly #allowBookmarks: boolean;
  #cursor: number;
  #initial: InitialEvents | undefined;
  #sent: ResourceVersion;
  /** Frames sent. */
  frames = 0;

  constructor(group: WatchGroup, cache: WatchCache, { start, allowBookmarks, owner }: WatcherOptions) {
    this.group = group;
    this.owner = owner;
    this.#floor = start.rv > cache.watermark ? start.rv : 0;
    this.#sent = start.rv;
    this.#allowBookmarks = allowBookmarks;
    if (start.kind === 'initial') {
      this.#initial = { objects: selected(cache, group, start.snapshot), end: start.end };
      this.#cursor = group.end;
    } else {
      this.#cursor = group.indexFrom(start.sequence);
    }
  }

  /** True if everything in the log was sent. */
  get atEnd(): boolean {
    return this.#initial === undefined && this.#cursor === this.group.end;
  }

  /** Version of the last event or bookmark sent, or the version the watch began at. */
  get sent(): ResourceVersion {
    return this.#sent;
  }

  /** Sends what the sink takes. 'overrun': the window moved past the cursor, the watch must end. */
  pump(sink: Sink): PumpResult {
    while (this.#initial !== undefined) {
      if (!sink.write(this.#nextInitial(this.#initial))) return 'blocked';
    }
    const { group } = this;
    while (this.#cursor < group.end) {
      if (this.#cursor < group.first) return 'overrun';
      const bytes = this.#next();
      if (bytes !== undefined && !sink.write(bytes)) return 'blocked';
    }
    return 'drained';
  }

  /** Sends a bookmark of its own to a watcher that is at the end of the log, before it is ended; true if it was due. */
  bookmark(sink: Sink, rv: ResourceVersion, bytes: Buffer): boolean {
    if (!this.#allowBookmarks || !this.atEnd || rv <= this.#sent) return false;
    sink.write(bytes);
    this.#sent = rv;
    return true;
  }

  #next(): Buffer | undefined {
    const entry = this.group.at(this.#cursor)!;
    if (this.#passes(entry)) {
      // All that follows in the log is at or above this entry, so it passes too.
      if (this.#allowBookmarks) {
        const { to, bytes } = this.group.chunk(this.#cursor);
        this.frames += to - this.#cursor;
        this.#cursor = to;
        this.#sent = this.group.at(to - 1)!.rv;
        return bytes;
      }
      this.frames++;
      this.#cursor++;
      this.#sent = entry.rv;
      return entry.bytes;
    }
    this.#cursor++;
    return undefined;
  }

  #passes({ bookmark, rv }: { bookmark: boolean; rv: ResourceVersion }): boolean {
    return bookmark ? this.#allowBookmarks && rv > this.#sent : rv > this.#floor;
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
