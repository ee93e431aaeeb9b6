import { frameBookmark } from '@dogwatch/kube/event-framer.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { StatusBody } from '@dogwatch/kube/status.ts';
import type { Interest } from '@dogwatch/watch/interest.ts';
import type { LaneEnd, LaneView } from '@dogwatch/watch/lane-view.ts';
import type { WatchCache } from '@dogwatch/watch/watch-cache.ts';
import { WatchGroups } from '@dogwatch/watch/watch-groups.ts';
import type { WatchStart } from '@dogwatch/watch/watcher.ts';
import { tooOld } from './lane-answer.ts';
import type { Pumps } from './pumps.ts';
import type { WatchEndReason, WatchStream } from './watch-stream.ts';

/** A change applied less than this ago may have siblings of the same version still under way. */
const QUIET_MS = 20;
/** A client that takes nothing for this long while there is something to send is cut off: it holds a snapshot. */
const STALLED_SECONDS = 180;

/** The open watches of one lane on this node. */
export class LaneWatches {
  readonly view: LaneView;
  readonly pumps: Pumps;
  /** Streams whose client is not reading as fast as there is to send. */
  readonly blocked = new Set<WatchStream>();
  readonly #release: () => void;
  readonly #stopListening: () => void;
  readonly #streams = new Set<WatchStream>();
  readonly #ended: (stream: WatchStream, reason: WatchEndReason) => void;
  #holds = 0;
  #cache: WatchCache;
  #groups: WatchGroups;
  #bookmark: { rv: ResourceVersion; bytes: Buffer } | undefined;
  #over = false;

  constructor(
    view: LaneView,
    options: { pumps: Pumps; release: () => void; onWatchEnd: (stream: WatchStream, reason: WatchEndReason) => void },
  ) {
    this.view = view;
    this.pumps = options.pumps;
    this.#release = options.release;
    this.#ended = options.onWatchEnd;
    this.#cache = view.cache;
    this.#groups = new WatchGroups(view.cache);
    this.#stopListening = view.onEnd((end) => this.#onLaneEnd(end));
  }

  get size(): number {
    return this.#streams.size;
  }

  /** True once the lane has ended: its view will not be fed any more, and no watch may be opened on it. */
  get over(): boolean {
    return this.#over;
  }

  /** True if no watch is open or about to be. */
  get idle(): boolean {
    return this.#streams.size === 0 && this.#holds === 0;
  }

  /** Keeps the lane while a watch is being opened; returns how to let go. */
  hold(): () => void {
    this.#holds++;
    let held = true;
    return () => {
      if (held) this.#holds--;
      held = false;
    };
  }

  get groupCount(): number {
    return this.#groups.groupCount;
  }

  /** Attaches `stream`; `start` must have been read from the lane's cache in this turn of the event loop. */
  open(stream: WatchStream, interest: Interest, options: { start: WatchStart; allowBookmarks: boolean }): void {
    if (this.#cache !== this.view.cache) {
      this.#cache = this.view.cache;
      this.#groups = new WatchGroups(this.#cache);
      this.#bookmark = undefined;
    }
    if (options.start.kind === 'diff') this.pumps.stateDiffs++;
    this.#streams.add(stream);
    stream.begin(this.#groups.join(interest, { ...options, owner: stream }));
  }

  /** Ends a watch, for the reason that is counted; `status` is its ERROR event. Harmless if it has ended. */
  close(stream: WatchStream, reason: WatchEndReason, status?: StatusBody): void {
    const { watcher } = stream;
    if (!this.#streams.delete(stream)) return;
    if (watcher !== undefined) this.#groups.leave(watcher);
    stream.finish(reason, status);
    // Its last write may have been one too many.
    this.blocked.delete(stream);
    this.#ended(stream, reason);
  }

  closeAll(reason: WatchEndReason, status?: (stream: WatchStream) => StatusBody | undefined): void {
    for (const stream of this.#streams) this.close(stream, reason, status?.(stream));
  }

  /** Sends a bookmark to all watches that want them, behind everything they have yet to be sent. */
  sendBookmarks(now: number): void {
    // Asked first, for a view may take over how far it is only then. Watches of a cache that was replaced have ended.
    if (this.view.cache !== this.#cache) return;
    this.#groups.bookmark(this.#isQuiet(now), (rv) => this.#frameBookmark(rv));
  }

  /** The lane is held whole up to here: of the watermark's own version, events may still be under way. */
  wholeAt(now: number): ResourceVersion {
    const { cache } = this.view;
    return this.#isQuiet(now) ? cache.watermark : cache.settled;
  }

  #isQuiet(now: number): boolean {
    return now - this.view.appliedAt >= QUIET_MS;
  }

  /** To be called about once a second: lets go of what the window has evicted, and of clients that do not read. */
  tick(): void {
    this.#groups.trim();
    for (const stream of this.blocked) if (++stream.stalledSeconds > STALLED_SECONDS) this.close(stream, 'stalled');
  }

  /** Gives the lane back; no watch may be open. */
  dispose(): void {
    this.#stopListening();
    this.#release();
  }

  #frameBookmark(rv: ResourceVersion): Buffer {
    if (this.#bookmark?.rv !== rv) this.#bookmark = { rv, bytes: frameBookmark(this.view.bookmark, rv, false) };
    return this.#bookmark.bytes;
  }

  #onLaneEnd(end: LaneEnd): void {
    if (end === 'ended') {
      this.#over = true;
      return this.closeAll('lane-ended');
    }
    this.closeAll('expired', ({ watcher }) => tooOld(this.view, watcher?.sent ?? 0, this.#cache.watermark));
  }
}
