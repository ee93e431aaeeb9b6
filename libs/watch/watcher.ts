import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import { frameEvent } from '@dogwatch/kube/event-framer.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { StateEvent } from './state-diff.ts';
import type { WatchCache } from './watch-cache.ts';
import type { WatchGroup } from './watch-group.ts';

/** Where frames go. `write` returns false when no more should be given until the sink is drained. */
export interface Sink {
  write(bytes: Buffer): boolean;
}

/** Who drives a watcher. */
export interface WatcherOwner {
  /** There is something to send. */
  wake(): void;
  /** It could not be sent every change, and goes on with the newest states instead. */
  conflated(): void;
}

export type PumpResult = 'drained' | 'blocked' | 'overrun';

const STATE_CHUNK_BYTES = 16 * 1024;

/** State that one watcher is sent before the group's log: walked at the pace of its socket. */
interface State {
  readonly events: Iterator<StateEvent, void>;
  /** The annotated bookmark that ends initial events, if the client asked for one. */
  readonly end: Buffer | undefined;
  /** Who was sent it holds everything up to here. */
  readonly rv: ResourceVersion;
}

/** Start of a watch: with the objects first, after a version the client holds, or with what changed since it. */
export type WatchStart =
  | {
      readonly kind: 'initial';
      readonly objects: Iterable<KubeObject>;
      /** Version the objects are complete up to. */
      readonly rv: ResourceVersion;
      readonly end: Buffer | undefined;
    }
  | { readonly kind: 'resume'; readonly sequence: number; readonly rv: ResourceVersion }
  | { readonly kind: 'diff'; readonly events: Iterator<StateEvent, void>; readonly rv: ResourceVersion };

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
  #state: State | undefined;
  #sent: ResourceVersion;
  /** Version of the last bookmark sent, or the version the watch began at. */
  #vouched: ResourceVersion;
  #blocked = false;
  /** Frames sent. */
  frames = 0;

  constructor(group: WatchGroup, cache: WatchCache, { start, allowBookmarks, owner }: WatcherOptions) {
    this.group = group;
    this.owner = owner;
    this.#cache = cache;
    this.#floor = start.rv > cache.watermark ? start.rv : 0;
    this.#sent = this.#vouched = start.rv;
    this.#allowBookmarks = allowBookmarks;
    this.#cursor = start.kind === 'resume' ? group.indexFrom(start.sequence) : group.end;
    if (start.kind === 'initial') this.#state = { events: added(start.objects), end: start.end, rv: start.rv };
    else if (start.kind === 'diff') this.#state = { events: start.events, end: undefined, rv: cache.settled };
  }

  /** Index in the group's log of what is sent next. */
  get cursor(): number {
    return this.#cursor;
  }

  /** The greatest version up to `whole`, up to which the lane is held whole, that nothing yet to be sent belongs to. */
  completeTo(whole: ResourceVersion): ResourceVersion {
    if (this.#state !== undefined) return this.#vouched;
    const next = this.group.at(this.#cursor);
    return next === undefined ? whole : Math.min(whole, next.rv - 1);
  }

  /** Everything up to this version was sent, or held already when the watch began, once its first state is sent. */
  get sent(): ResourceVersion {
    return this.#sent;
  }

  /** True if the sink took no more the last time. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** Everything in the log up to the cursor lies at or below `rv`, and what follows above: so far it was sent. */
  reachedBy(rv: ResourceVersion): void {
    this.#sent = Math.max(this.#sent, rv);
  }

  /** Sends what the sink takes. 'overrun': what comes next is not known (any more), the watch must end. */
  pump(sink: Sink): PumpResult {
    let result = this.#send(sink);
    while (result === 'overrun' && this.#conflate()) result = this.#send(sink);
    this.#blocked = result === 'blocked';
    return result;
  }

  #send(sink: Sink): PumpResult {
    while (this.#state !== undefined) {
      const bytes = this.#nextState(this.#state);
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

  /** Goes on with the newest state of what changed since the last it was sent, if its interest allows that. */
  #conflate(): boolean {
    const { group } = this;
    if (this.#severed || !this.#cache.hasDiff(this.#sent, group.interest)) return false;
    const events = this.#cache.diff(this.#sent, group.interest);
    this.#state = { events, end: undefined, rv: this.#cache.settled };
    this.#cursor = group.end;
    this.owner.conflated();
    return true;
  }

  /** Whether a bookmark at `rv`, up to which everything was sent, would tell the client anything. */
  vouchesFor(rv: ResourceVersion): boolean {
    return this.#allowBookmarks && rv > this.#vouched && rv >= this.#sent && !this.#severed;
  }

  /**
   * Sends a bookmark behind everything up to it: the group's, or one of its own at a version it is complete up to.
   * Nothing happens where there is nothing to vouch for.
   */
  bookmark(sink: Sink, { rv, bytes }: { rv: ResourceVersion; bytes: Buffer }): 'sent' | 'blocked' | 'not-due' {
    if (!this.vouchesFor(rv)) return 'not-due';
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

  #nextState({ events, end, rv }: State): Buffer {
    const parts: Buffer[] = [];
    let length = 0;
    while (length < STATE_CHUNK_BYTES) {
      const { value, done } = events.next();
      if (done === true) {
        this.#state = undefined;
        this.#sent = Math.max(this.#sent, rv);
        if (end !== undefined) parts.push(end);
        break;
      }
      const { type, object } = value!;
      const frame = frameEvent(this.group.encoding, type, object.bytes);
      this.#sent = Math.max(this.#sent, object.rv);
      this.frames++;
      parts.push(frame);
      length += frame.length;
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }
}

function* added(objects: Iterable<KubeObject>): Generator<StateEvent, void> {
  for (const object of objects) yield { type: 'ADDED', object };
}
