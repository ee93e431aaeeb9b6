import assert from 'node:assert/strict';
import { frameBookmark, minimalBookmark } from '@dogwatch/kube/event-framer.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Interest } from './interest.ts';
import type { History } from './test-history.ts';
import type { WatchCache } from './watch-cache.ts';
import type { WatchGroups } from './watch-groups.ts';
import type { PumpResult, Watcher, WatchStart } from './watcher.ts';

export const TEMPLATE = minimalBookmark('json', 'Pod', 'v1');

interface Event {
  readonly type: string;
  readonly object: {
    readonly metadata: {
      readonly namespace?: string;
      readonly name?: string;
      readonly uid?: string;
      readonly resourceVersion: string;
      readonly annotations?: Record<string, string>;
    };
  };
}

/** An informer that trusts nothing: it folds what it is sent, and fails at once when that cannot be true. */
export class CheckedClient {
  readonly #history: History;
  readonly interest: Interest;
  readonly #listedAt: ResourceVersion;
  /** Version the watch began at. */
  readonly startedAt: ResourceVersion;
  readonly #watcher: Watcher;
  readonly #held = new Map<string, { rv: ResourceVersion; uid: string }>();
  #initial: boolean;
  #lastKey = '';
  #order: ResourceVersion;
  #vouched: ResourceVersion;
  #capacity = 0;
  /** It was told of states instead of every change. */
  #diffed: boolean;
  /** Set once the watch has ended. */
  over = false;

  constructor(
    of: { history: History; cache: WatchCache; groups: WatchGroups; listedAt: ResourceVersion },
    interest: Interest,
    options: { start: WatchStart; allowBookmarks: boolean },
  ) {
    this.#history = of.history;
    this.#listedAt = of.listedAt;
    this.interest = interest;
    this.#diffed = options.start.kind === 'diff';
    this.#initial = options.start.kind === 'initial';
    this.startedAt = this.#order = this.#vouched = options.start.rv;
    if (!this.#initial) {
      for (const text of of.history.selectedAt(this.startedAt, interest)) {
        const [key = '', rv = '', uid = ''] = text.split(/[@ ]/);
        this.#held.set(key, { rv: Number(rv), uid });
      }
    }
    const owner = { wake: () => {}, conflated: () => (this.#diffed = true) };
    this.#watcher = of.groups.join(interest, { ...options, owner });
  }

  get diffed(): boolean {
    return this.#diffed;
  }

  get watcher(): Watcher {
    return this.#watcher;
  }

  /** Takes at most `writes` writes. */
  pump(writes: number): PumpResult {
    this.#capacity = writes;
    const result = this.#watcher.pump({
      write: (bytes) => {
        for (const line of bytes.toString().split('\n')) if (line !== '') this.#take(JSON.parse(line) as Event);
        return --this.#capacity > 0;
      },
    });
    this.over = result === 'overrun';
    return result;
  }

  /** What the client believes to exist must be what did exist at `rv`. */
  expectStateOf(rv: ResourceVersion): void {
    const held = [...this.#held].map(([key, { rv: version, uid }]) => `${key}@${version} ${uid}`).toSorted();
    assert.deepEqual(held, this.#history.selectedAt(rv, this.interest), `what is held at ${rv}`);
  }

  #take({ type, object: { metadata } }: Event): void {
    const rv = Number(metadata.resourceVersion);
    if (type === 'BOOKMARK') this.#takeBookmark(rv, metadata.annotations !== undefined);
    else if (this.#initial) this.#takeInitial(type, metadata, rv);
    else this.#takeChange(type, metadata, rv);
  }

  #takeInitial(type: string, metadata: Event['object']['metadata'], rv: ResourceVersion): void {
    const key = `${metadata.namespace}/${metadata.name}`;
    assert.equal(type, 'ADDED');
    assert(Buffer.compare(Buffer.from(this.#lastKey), Buffer.from(key)) < 0, 'key order');
    this.#lastKey = key;
    this.#held.set(key, { rv, uid: metadata.uid! });
  }

  #takeBookmark(rv: ResourceVersion, initialEventsEnd: boolean): void {
    assert.equal(initialEventsEnd, this.#initial, 'I2: one end bookmark, and first');
    if (initialEventsEnd) assert.equal(rv, this.startedAt);
    else assert(rv > this.#vouched, 'I3: news');
    assert(rv >= this.#order, 'I3: nothing above it was sent');
    this.#initial = false;
    this.#vouched = this.#order = rv;
    // I3: everything up to it was sent.
    this.expectStateOf(rv);
  }

  /**
   * When an object entered an interest in a node is not known of a backfilled one, nor is it remembered, so that a
   * client may be told of a change or an end of what it did not have.
   */
  #mayBeUnknown(held: unknown, rv: ResourceVersion): boolean {
    if (held !== undefined || this.interest.fields.exactValue('spec.nodeName') === undefined) return false;
    return rv <= this.#listedAt || this.#diffed;
  }

  #takeChange(type: string, metadata: Event['object']['metadata'], rv: ResourceVersion): void {
    const key = `${metadata.namespace}/${metadata.name}`;
    const held = this.#held.get(key);
    // A repair delete stands at the version of the last bookmark; else nothing comes at or below one.
    assert(rv >= this.#order, 'I2: order');
    this.#order = rv;
    // Of the version a watch began at, events may come that it held already: they were under way.
    const again = rv === this.startedAt;
    switch (type) {
      case 'DELETED':
        if (!again && !this.#mayBeUnknown(held, rv))
          assert.equal(held?.uid, metadata.uid, `${key} is known to whom it is deleted`);
        this.#held.delete(key);
        return;
      case 'ADDED':
        if (!again) assert.equal(held, undefined, `${key} is new`);
        break;
      case 'MODIFIED':
        if (!again && !this.#mayBeUnknown(held, rv)) {
          assert.equal(held?.uid, metadata.uid, `${key} is known to whom it is modified`);
          assert(rv > held!.rv, `${key} is sent once`);
        }
        break;
      default:
        throw new Error(`a ${type} was sent`);
    }
    this.#held.set(key, { rv, uid: metadata.uid! });
  }
}

export function endBookmark(rv: ResourceVersion): Buffer {
  return frameBookmark(TEMPLATE, rv, true);
}
