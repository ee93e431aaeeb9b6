import assert from 'node:assert/strict';
import { frameBookmark } from '@dogwatch/kube/event-framer.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Interest } from './interest.ts';
import { CheckedClient, TEMPLATE, endBookmark } from './test-client.ts';
import { History, type Write } from './test-history.ts';
import { interest, podSchema } from './test-objects.ts';
import { WatchCache } from './watch-cache.ts';
import { WatchGroups } from './watch-groups.ts';

const LOWER = "'0x0000000000000000', '0x8000000000000000'";
const UPPER = "'0x8000000000000000', '0x10000000000000000'";

const INTERESTS = [
  interest(),
  interest({ namespace: 'a' }),
  interest({ namespace: 'b', name: 'x', fields: 'metadata.name=x' }),
  interest({ labels: 'app=web' }),
  interest({ labels: '!app', namespace: 'a' }),
  interest({ fields: 'spec.nodeName=n1' }),
  interest({ fields: 'spec.nodeName!=n2' }),
  interest({ shards: `shardRange(object.metadata.uid, ${LOWER})` }),
  interest({ shards: `shardRange(object.metadata.uid, ${UPPER})`, fields: 'spec.nodeName=n1' }),
  interest({
    // Of `a-b` and `b`, not of `a`.
    shards: "shardRange(object.metadata.namespace, '0xaf63dd0000000000', '0x10000000000000000')",
    labels: 'app=web',
  }),
];

/** Something that happens; clients and interests are counted round. */
export type Step =
  | { readonly step: 'commit'; readonly writes: readonly Write[]; readonly gap: number }
  | { readonly step: 'apply'; readonly count: number }
  | {
      readonly step: 'initial' | 'resume';
      readonly interest: number;
      readonly bookmarks: boolean;
      readonly back: number;
    }
  | { readonly step: 'pump'; readonly client: number; readonly writes: number }
  | { readonly step: 'bookmark' | 'advance' | 'trim' | 'repair' }
  | { readonly step: 'leave'; readonly client: number }
  | { readonly step: 'backfill'; readonly back: number };

export interface TestLaneOptions {
  readonly windowBytesMax: number;
  readonly tombstoneBytesMax: number;
  readonly stateDiff: boolean;
  readonly lagBytesMax: number;
}

/** A lane that follows a history, with clients, as far as `libs/watch` goes. */
export class TestLane {
  readonly history: History;
  readonly cache: WatchCache;
  readonly groups: WatchGroups;
  clients: CheckedClient[] = [];
  /** How many of the history's changes the lane has read. */
  #read: number;
  readonly listedAt: ResourceVersion;
  readonly #stateDiff: boolean;

  constructor(before: readonly (readonly Write[])[], options: TestLaneOptions) {
    this.history = new History();
    this.#stateDiff = options.stateDiff;
    for (const writes of before) this.#commit(writes, 1);
    this.listedAt = this.history.rv;
    this.#read = this.history.changes.length;
    const listing = { rv: this.history.rv, objects: this.history.objectsAt(this.history.rv) };
    this.cache = new WatchCache(podSchema, listing, options);
    this.groups = new WatchGroups(this.cache, options);
  }

  run(next: Step): void {
    switch (next.step) {
      case 'commit':
        this.#commit(next.writes, next.gap);
        break;
      case 'apply':
        this.#apply(next.count);
        break;
      case 'initial':
        this.#initial(INTERESTS[next.interest % INTERESTS.length]!, next.bookmarks);
        break;
      case 'resume':
        this.#resume(INTERESTS[next.interest % INTERESTS.length]!, next.bookmarks, this.cache.watermark - next.back);
        break;
      case 'pump':
        this.#client(next.client)?.pump(next.writes);
        break;
      case 'bookmark':
        this.groups.bookmark(this.#whole, (rv) => frameBookmark(TEMPLATE, rv, false));
        break;
      case 'advance':
        if (this.#whole) this.cache.advance(this.#provable, this.cache.position);
        break;
      case 'trim':
        this.groups.trim();
        break;
      case 'leave':
        this.#leave(this.#client(next.client));
        break;
      case 'repair':
        assert(this.cache.repair({ rv: this.history.rv, objects: this.history.objectsAt(this.history.rv) }));
        this.#read = this.history.changes.length;
        break;
      case 'backfill':
        this.#backfill(this.listedAt - next.back);
        break;
    }
    for (const client of this.clients) if (client.over) this.#leave(client);
  }

  /** Every client that is not overrun ends with what there is; returns how many did, and how many of them by a diff. */
  finish(): { followed: number; diffed: number } {
    this.#apply(Number.POSITIVE_INFINITY);
    this.cache.advance(this.history.rv, this.cache.position);
    let [followed, diffed] = [0, 0];
    for (const client of this.clients) {
      if (client.pump(Number.POSITIVE_INFINITY) === 'drained') {
        client.expectStateOf(this.history.rv);
        followed++;
        if (client.diffed) diffed++;
      } else {
        assert(this.#mayLose(client), 'nothing was lost, and the watch was overrun');
      }
    }
    return { followed, diffed };
  }

  /** True if the lane has read its last version whole. */
  get #whole(): boolean {
    return this.history.changes[this.#read]?.object.rv !== this.cache.watermark;
  }

  /** The highest version everything up to which the lane has read. */
  get #provable(): ResourceVersion {
    const unread = this.history.changes[this.#read];
    return unread === undefined ? this.history.rv : unread.object.rv - 1;
  }

  /** Only lanes that are sent every change have versions of several events: those of etcd's leases. */
  #commit(writes: readonly Write[], gap: number): void {
    this.history.commit(this.#stateDiff ? writes.slice(0, 1) : writes, gap);
  }

  #apply(count: number): void {
    const changes = this.history.changes.slice(this.#read, this.#read + count);
    this.cache.apply({ previous: this.cache.position, changes });
    this.#read += changes.length;
  }

  #initial(asked: Interest, allowBookmarks: boolean): void {
    if (!this.#whole) return;
    const objects = [...this.cache.snapshot().range()].map(({ key, rv, uid }) => `${key}@${rv} ${uid}`).toSorted();
    // A fence: the lane has not read so far, but holds exactly what upstream does.
    const same = objects.join() === this.history.selectedAt(this.history.rv, interest()).join();
    const rv = same ? this.history.rv : this.cache.watermark;
    this.#join(asked, { kind: 'initial', objects: this.cache.select(asked), rv, end: endBookmark(rv) }, allowBookmarks);
  }

  #resume(asked: Interest, allowBookmarks: boolean, at: ResourceVersion): void {
    const rv = Math.min(Math.max(at, 1), this.history.rv);
    const since = this.cache.since(rv, asked);
    switch (since.kind) {
      case 'from':
        this.#join(asked, { kind: 'resume', sequence: since.sequence, rv }, allowBookmarks);
        break;
      case 'diff':
        this.#join(asked, { kind: 'diff', events: this.cache.diff(rv, asked), rv }, allowBookmarks);
        break;
      case 'expired':
        assert(rv < this.listedAt || !this.cache.window.complete || this.cache.severed(rv), `${rv} is held`);
        assert(!this.#hasDiff(asked, rv) || this.cache.severed(rv), `${rv} is above the horizon`);
        break;
    }
  }

  #hasDiff(asked: Interest, rv: ResourceVersion): boolean {
    return this.#stateDiff && asked.cannotBeLeft(podSchema) && rv >= this.cache.horizon;
  }

  #join(
    asked: Interest,
    start: ConstructorParameters<typeof CheckedClient>[2]['start'],
    allowBookmarks: boolean,
  ): void {
    this.clients.push(new CheckedClient(this, asked, { start, allowBookmarks }));
  }

  #backfill(from: ResourceVersion): void {
    const start = Math.max(from, 0);
    if (!this.cache.window.complete || start >= this.cache.window.start) return;
    this.cache.backfill(
      start,
      this.history.changes.filter(({ object }) => object.rv > start),
    );
  }

  #client(index: number): CheckedClient | undefined {
    return this.clients[index % Math.max(1, this.clients.length)];
  }

  #leave(client: CheckedClient | undefined): void {
    if (client === undefined) return;
    if (client.over) assert(this.#mayLose(client), 'nothing was lost, and the watch was overrun');
    this.groups.leave(client.watcher);
    this.clients = this.clients.filter((other) => other !== client);
  }

  #mayLose({ startedAt, interest: asked, watcher }: CheckedClient): boolean {
    if (this.cache.severed(startedAt)) return true;
    // Where the state will do, frames are let go of before the window has to.
    if (this.#stateDiff && asked.cannotBeLeft(podSchema)) return !this.#hasDiff(asked, watcher.sent);
    return !this.cache.window.complete;
  }
}
