import assert from 'node:assert/strict';
import { frameBookmark, minimalBookmark } from '@dogwatch/kube/event-framer.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { WatchCache } from '@dogwatch/watch/watch-cache.ts';
import type { WatchGroups } from '@dogwatch/watch/watch-groups.ts';
import type { PumpResult, Watcher, WatchStart } from '@dogwatch/watch/watcher.ts';
import type { History, Owed } from './history.ts';

const TEMPLATE = minimalBookmark('json', 'Pod', 'v1');

export function bookmarkAt(rv: ResourceVersion, end = false): Buffer {
  return frameBookmark(TEMPLATE, rv, end);
}

interface Event {
  readonly type: string;
  readonly object: {
    readonly metadata: {
      readonly namespace: string;
      readonly name: string;
      readonly uid: string;
      readonly resourceVersion: string;
      readonly annotations?: Record<string, string>;
    };
  };
}

/** Where a client is attached: both belong to one cache. */
export interface Attachment {
  readonly cache: WatchCache;
  readonly groups: WatchGroups;
}

/**
 * An informer that goes from follower to follower with the version it holds, and trusts nobody. `exact`: it must be
 * sent exactly what the history owes it; otherwise repairs may leave out what went by, and the next bookmark is what
 * its state must be true at.
 */
export class SimClient {
  readonly name: string;
  readonly owed: Owed;
  readonly #history: History;
  readonly #exact: boolean;
  readonly #held = new Map<string, { rv: ResourceVersion; uid: string }>();
  /** The version it holds and would resume from; undefined: it has to list. */
  #rv: ResourceVersion | undefined;
  #startedAt: ResourceVersion = 0;
  #order: ResourceVersion = 0;
  #vouched: ResourceVersion = 0;
  /** Index of what it is owed next. */
  #next = 0;
  /**
   * It was told what became of things up to here, not how: by a repair, or because not every change was held. Cut off in it, and attached where that repair has not
   * come yet, it is ahead in some and is told of them again: bookmarks below are not held against anybody. 0: none.
   */
  #repairedTo: ResourceVersion = 0;
  #initial = false;
  #lastKey = '';
  #at: (Attachment & { readonly watcher: Watcher }) | undefined;
  readonly counts = {
    events: 0,
    bookmarks: 0,
    lists: 0,
    resumes: 0,
    diffs: 0,
    conflations: 0,
    expired: 0,
    beside: 0,
  };

  constructor(name: string, of: { history: History; owed: Owed; exact: boolean }) {
    this.name = name;
    this.#history = of.history;
    this.owed = of.owed;
    this.#exact = of.exact;
  }

  get attached(): boolean {
    return this.#at !== undefined;
  }

  /** Everything up to here was vouched for on its present watch. */
  get vouched(): ResourceVersion {
    return this.#vouched;
  }

  /** Lists or resumes, as it must. */
  attach(at: Attachment): void {
    const { cache } = at;
    const start = this.#start(cache);
    this.#startedAt = this.#order = this.#vouched = start.rv;
    this.#initial = start.kind === 'initial';
    this.#lastKey = '';
    const watcher = at.groups.join(this.owed.interest, {
      start,
      allowBookmarks: true,
      owner: { wake: () => {}, conflated: () => this.#conflated() },
    });
    this.#at = { ...at, watcher };
    if (start.kind === 'diff') this.#toldTo(cache.watermark);
  }

  /** Its connection is cut. */
  detach(): void {
    const at = this.#at!;
    // What is sent of a version in part is lost by upstream's protocol, too: a client cannot say that it has a half.
    const half = this.#rv !== undefined && this.#rv > at.cache.settled && this.#rv <= at.cache.watermark;
    const unsent = at.watcher.cursor !== at.watcher.group.end && this.#rv === at.watcher.sent;
    at.groups.leave(at.watcher);
    this.#at = undefined;
    if (this.#initial || half || (unsent && this.#nextIsAt(this.#rv!))) this.expire();
  }

  /** It was told 410. */
  expire(): void {
    this.#rv = undefined;
    this.counts.expired++;
  }

  /** Takes at most `writes` writes. */
  pump(writes: number): PumpResult {
    const { watcher } = this.#at!;
    let capacity = writes;
    return watcher.pump({
      write: (bytes) => {
        for (const line of bytes.toString().split('\n')) if (line !== '') this.#takeLine(line);
        return --capacity > 0;
      },
    });
  }

  /** What it believes to exist must be what did exist at `rv`. */
  expectStateOf(rv: ResourceVersion): void {
    const held = [...this.#held].map(([key, { rv: version, uid }]) => `${key}@${version} ${uid}`).toSorted();
    assert.deepEqual(held, this.#history.selectedAt(rv, this.owed.interest), `what ${this.name} holds at ${rv}`);
  }

  #start(cache: WatchCache): WatchStart {
    if (this.#rv !== undefined) {
      const since = cache.since(this.#rv, this.owed.interest);
      if (since.kind === 'from') {
        this.counts.resumes++;
        return { kind: 'resume', sequence: since.sequence, rv: this.#rv };
      }
      this.#check(this.#rv < cache.window.start || !this.#exact, `${this.#rv} is held, but was refused`);
      if (since.kind === 'diff') {
        this.counts.diffs++;
        return { kind: 'diff', events: cache.diff(this.#rv, this.owed.interest), rv: this.#rv };
      }
      this.expire();
    }
    this.counts.lists++;
    const rv = cache.watermark;
    return { kind: 'initial', objects: cache.select(this.owed.interest), rv, end: bookmarkAt(rv, true) };
  }

  #takeLine(line: string): void {
    const event = JSON.parse(line) as Event;
    if (event.type !== 'BOOKMARK') this.#checkBytes(event, line.slice(line.indexOf('"object":') + 9, -1));
    this.#take(event);
  }

  /**
   * Promise I1: every byte is upstream's. What left a selector, or was deleted, is told of as it was before; across a
   * repair as it was when it was last seen.
   */
  #checkBytes({ type, object: { metadata } }: Event, text: string): void {
    const { namespace, name, uid, resourceVersion } = metadata;
    const of = { uid, rv: Number(resourceVersion) };
    const key = `${namespace}/${name}`;
    const written = text === this.#history.writtenAt(key, of);
    const before = type === 'DELETED' ? this.#history.statesBefore(key, of) : [];
    const isTrue = type === 'DELETED' && this.#exact ? text === before[0] : written || before.includes(text);
    this.#check(isTrue, `I1: upstream never wrote ${type} ${text}`);
  }

  #take({ type, object: { metadata } }: Event): void {
    const rv = Number(metadata.resourceVersion);
    if (type === 'BOOKMARK') return this.#takeBookmark(rv, metadata.annotations !== undefined);
    const key = `${metadata.namespace}/${metadata.name}`;
    if (this.#initial) {
      this.#check(type === 'ADDED' && this.#lastKey < key, `initial events in key order, not ${type} ${key}`);
      if (this.#lastKey === '') this.#held.clear();
      this.#lastKey = key;
      this.#held.set(key, { rv, uid: metadata.uid });
      return;
    }
    this.counts.events++;
    this.#takeChange(type, key, { rv, uid: metadata.uid });
  }

  #takeBookmark(rv: ResourceVersion, end: boolean): void {
    this.#check(end === this.#initial, 'I2: one end bookmark, and first');
    if (end) {
      this.#check(rv === this.#startedAt, 'the initial events are a snapshot of their bookmark');
      if (this.#lastKey === '') this.#held.clear();
    } else {
      this.#check(rv > this.#vouched, `I3: a bookmark at ${rv} says nothing new`);
    }
    this.#check(rv >= this.#order, `I3: a bookmark at ${rv} behind an event at ${this.#order}`);
    this.counts.bookmarks++;
    this.#initial = false;
    this.#rv = this.#vouched = this.#order = rv;
    if (this.#strict && !end) this.#check(this.#next >= this.owed.after(rv), `I3: ${rv} vouched for what was not sent`);
    this.#next = this.owed.after(rv);
    if (rv < this.#repairedTo && !end) return;
    this.#repairedTo = 0;
    this.expectStateOf(rv);
  }

  #takeChange(type: string, key: string, { rv, uid }: { rv: ResourceVersion; uid: string }): void {
    const text = `${type} ${key}@${rv} ${uid}`;
    this.#endOfStates(rv);
    const due = this.owed.at(this.#next) === text;
    this.#check(due || !this.#strict, `was sent ${text} instead of ${this.owed.at(this.#next)}`);
    this.#next = due ? this.#next + 1 : (this.owed.behind(text) ?? this.#next);
    if (!due && !this.#exact) {
      this.counts.beside++;
      this.#toldTo(this.#at!.cache.watermark);
    }
    this.#check(rv >= this.#order, `I2: ${text} after ${this.#order}`);
    // The deletes of a repair stand at the version it began at, which a bookmark may have vouched for.
    const repair = !this.#exact && type === 'DELETED' && rv === this.#vouched;
    this.#check(rv > this.#vouched || repair, `I5: ${text} was sent to who holds ${this.#vouched}`);
    const held = this.#held.get(key);
    const known = held === undefined ? this.#repairedTo > 0 : held.uid === uid;
    this.#check(type === 'ADDED' ? held === undefined : known, `${text}, but it holds ${held?.uid}`);
    if (type === 'DELETED') {
      this.#held.delete(key);
    } else {
      this.#check(held === undefined || held.rv < rv, `${text}, but it holds ${held?.rv}`);
      this.#held.set(key, { rv, uid });
    }
    this.#rv = this.#order = rv;
  }

  /** It goes on with the newest states, because it did not take every change in time. */
  #conflated(): void {
    this.counts.conflations++;
    // Ahead of where it is attached, it goes on from what it holds.
    this.#toldTo(Math.max(this.#at!.cache.watermark, this.#rv ?? 0));
  }

  #toldTo(rv: ResourceVersion): void {
    this.#repairedTo = Math.max(this.#repairedTo, rv);
  }

  /** True if it is to be sent every change just now. */
  get #strict(): boolean {
    return this.#exact && this.#repairedTo === 0;
  }

  /** Behind the newest states of a `diff` what it holds is what there was, and every change follows. */
  #endOfStates(rv: ResourceVersion): void {
    if (!this.#exact || this.#repairedTo === 0 || rv <= this.#repairedTo) return;
    this.expectStateOf(this.#repairedTo);
    this.#next = this.owed.after(this.#repairedTo);
    this.#repairedTo = 0;
  }

  #nextIsAt(rv: ResourceVersion): boolean {
    return this.owed.at(this.#next)?.includes(`@${rv} `) ?? false;
  }

  #check(condition: boolean, message: string): void {
    assert(condition, `${this.name}: ${message}`);
  }
}
