import { Attributes } from '@dogwatch/kube/kube-object.ts';
import type { Encoding } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { WindowEntry } from './event-window.ts';
import type { Interest } from './interest.ts';
import type { WatchCache } from './watch-cache.ts';
import type { Watcher } from './watcher.ts';

/** A framed buffer in a group's log. Shared by all members: its bytes must not change. */
interface LogEntry {
  /** Sequence number in the window of the change it frames. */
  readonly sequence: number;
  readonly rv: ResourceVersion;
  /** Found by a repair at a version the client may hold: see WindowEntry. */
  readonly repair: boolean;
  readonly bytes: Buffer;
}

/** The newest bookmark, and its place: before the log entry `at`. */
interface LogBookmark {
  readonly at: number;
  readonly rv: ResourceVersion;
  readonly bytes: Buffer;
}

/** Frames joined into one write never exceed this, unless a single frame does. */
const CHUNK_BYTES_MAX = 64 * 1024;

/**
 * All watchers of one lane with the same interest. The interest is evaluated once per change, the result is framed
 * once, and members walk the log of frames at their own pace: a slow one costs nothing but its cursor. A bookmark has
 * its place in the log, so it can never overtake the events it vouches for (promise I3); only the newest is kept.
 */
export class WatchGroup {
  readonly interest: Interest;
  readonly members = new Set<Watcher>();
  readonly #cache: WatchCache;
  #log: LogEntry[] = [];
  #base = 0;
  /** The log holds every matching change from this window sequence number on. */
  #covers: number;
  #bookmark: LogBookmark | undefined;
  #chunk: { from: number; to: number; bytes: Buffer } | undefined;

  constructor(interest: Interest, cache: WatchCache) {
    this.interest = interest;
    this.#cache = cache;
    this.#covers = cache.window.end;
  }

  get encoding(): Encoding {
    return this.#cache.schema.encoding;
  }

  /** Index of the oldest entry still held. */
  get first(): number {
    return this.#base;
  }

  /** Index the next entry will get. */
  get end(): number {
    return this.#base + this.#log.length;
  }

  at(index: number): LogEntry | undefined {
    return this.#log[index - this.#base];
  }

  /** Appends the frame of a change if it is of interest; true if it was. */
  offer(sequence: number, entry: WindowEntry, now: Attributes, before: Attributes | undefined): boolean {
    const bytes = this.interest.frameOf(entry, now, before);
    if (bytes === undefined) return false;
    this.#log.push({ sequence, rv: entry.rv, repair: entry.repair, bytes });
    return true;
  }

  /** Puts a bookmark at `rv`, which everything in the log so far is at or below, behind it. */
  bookmark(rv: ResourceVersion, bytes: Buffer): void {
    this.#bookmark = { at: this.end, rv, bytes };
  }

  /** The bookmark that stands before the entry `index`, if the newest does. */
  bookmarkAt(index: number): LogBookmark | undefined {
    return this.#bookmark?.at === index ? this.#bookmark : undefined;
  }

  /**
   * Index in the log from which all changes from window sequence `sequence` on are found. A log that is younger is
   * extended backwards, once for all who resume.
   */
  indexFrom(sequence: number): number {
    if (sequence < this.#covers) this.#extend(sequence);
    let low = 0;
    let high = this.#log.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#log[middle]!.sequence < sequence) low = middle + 1;
      else high = middle;
    }
    return this.#base + low;
  }

  /** Frames held for members that lag. */
  get size(): number {
    return this.#log.length;
  }

  /**
   * Lets go of frames whose change the window has evicted, of those that every member was sent (whoever resumes finds
   * them in the window), and of what was joined for one write. Where members can go on without every change, no more
   * than `lagBytesMax` are kept for those that are blocked.
   */
  trim(lagBytesMax: number): void {
    this.#chunk = undefined;
    if (this.#log.length === 0) return;
    const { first } = this.#cache.window;
    let slowest = this.end;
    let slowestAwake = this.end;
    for (const { cursor, blocked } of this.members) {
      if (cursor < slowest) slowest = cursor;
      if (!blocked && cursor < slowestAwake) slowestAwake = cursor;
    }
    let cut = Math.max(0, slowest - this.#base);
    while (cut < this.#log.length && this.#log[cut]!.sequence < first) cut++;
    const asleep = slowestAwake - this.#base;
    if (cut < asleep && Number.isFinite(lagBytesMax) && this.#cache.hasDiff(this.#log[cut]!.rv - 1, this.interest)) {
      cut = Math.max(cut, Math.min(this.#lastWithin(lagBytesMax), asleep));
    }
    this.#cut(cut);
  }

  /** Place in the log of the oldest of the newest entries that have `bytesMax` together. */
  #lastWithin(bytesMax: number): number {
    let bytes = 0;
    let at = this.#log.length;
    while (at > 0) {
      bytes += this.#log[at - 1]!.bytes.length;
      if (bytes > bytesMax) break;
      at--;
    }
    return at;
  }

  /** Keeps the newest `size` frames; members that lag by more are overrun. */
  shorten(size: number): void {
    this.#cut(this.#log.length - size);
  }

  /** Changes above `rv` were evicted before they could be offered: every cursor is overrun. */
  lose(rv: ResourceVersion): void {
    this.#leave(this.#log.length);
    for (const member of this.members) if (member.cursor === this.end) member.reachedBy(rv);
    this.#base = this.end + 1;
    this.#log = [];
    // Those that are still held are offered next.
    this.#covers = this.#cache.window.first;
    this.#bookmark = undefined;
    this.#chunk = undefined;
  }

  /**
   * Frames from `from` on, up to a bookmark, joined for one write: made once for all members that stand at the same
   * place.
   */
  chunk(from: number): { readonly to: number; readonly bytes: Buffer } {
    const bookmarkAt = this.#bookmark?.at;
    const end = bookmarkAt !== undefined && bookmarkAt > from ? bookmarkAt : this.end;
    const kept = this.#chunk;
    if (kept?.from === from && kept.to === end) return kept;
    const parts: Buffer[] = [];
    let length = 0;
    let to = from;
    for (; to < end; to++) {
      const { bytes } = this.at(to)!;
      if (parts.length > 0 && length + bytes.length > CHUNK_BYTES_MAX) break;
      parts.push(bytes);
      length += bytes.length;
    }
    const chunk = { from, to, bytes: parts.length === 1 ? parts[0]! : Buffer.concat(parts, length) };
    if (to === end && this.members.size > 1) this.#chunk = chunk;
    return chunk;
  }

  #cut(count: number): void {
    if (count <= 0) return;
    this.#leave(count);
    this.#covers = Math.max(this.#covers, this.#log[count - 1]!.sequence + 1, this.#cache.window.first);
    this.#log.splice(0, count);
    this.#base += count;
  }

  /** Members that stand at one of the oldest `count` entries, which go, keep the version they were sent everything up to. */
  #leave(count: number): void {
    for (const member of this.members) {
      const at = member.cursor - this.#base;
      if (at >= 0 && at < count) member.reachedBy(this.#log[at]!.rv - 1);
    }
  }

  #extend(sequence: number): void {
    const { window, schema } = this.#cache;
    const found: LogEntry[] = [];
    for (let at = sequence; at < this.#covers; at++) {
      const entry = window.at(at);
      const before = entry.previous === undefined ? undefined : new Attributes(schema, entry.previous);
      const bytes = this.interest.frameOf(entry, new Attributes(schema, entry.object), before);
      if (bytes === undefined) continue;
      found.push({ sequence: at, rv: entry.rv, repair: entry.repair, bytes });
    }
    this.#log = [...found, ...this.#log];
    this.#base -= found.length;
    this.#covers = sequence;
  }
}
