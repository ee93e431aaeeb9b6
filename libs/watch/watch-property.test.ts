import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { frameBookmark } from '@dogwatch/kube/event-framer.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Interest } from './interest.ts';
import { CheckedClient, TEMPLATE, endBookmark } from './test-client.ts';
import { History, type Write } from './test-history.ts';
import { interest, podSchema } from './test-objects.ts';
import { WatchCache } from './watch-cache.ts';
import { WatchGroups } from './watch-groups.ts';

const INTERESTS = [
  interest(),
  interest({ namespace: 'a' }),
  interest({ namespace: 'b', name: 'x', fields: 'metadata.name=x' }),
  interest({ labels: 'app=web' }),
  interest({ labels: '!app', namespace: 'a' }),
  interest({ fields: 'spec.nodeName=n1' }),
  interest({ fields: 'spec.nodeName!=n2' }),
];

const write: fc.Arbitrary<Write> = fc.record({
  object: fc.nat(4),
  app: fc.constantFrom('web', 'db', undefined),
  node: fc.constantFrom('n1', 'n2', ''),
  kind: fc.constantFrom('put', 'put', 'delete'),
});
const commit = fc.record({
  step: fc.constant('commit' as const),
  writes: fc.array(write, { minLength: 1, maxLength: 3 }),
  gap: fc.nat(2),
});
const join = fc.record({
  step: fc.constantFrom('initial' as const, 'resume' as const),
  interest: fc.nat(INTERESTS.length - 1),
  bookmarks: fc.boolean(),
  back: fc.integer({ min: -3, max: 14 }),
});
const step = fc.oneof(
  { weight: 6, arbitrary: commit },
  { weight: 6, arbitrary: fc.record({ step: fc.constant('apply' as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 4, arbitrary: join },
  {
    weight: 6,
    arbitrary: fc.record({
      step: fc.constant('pump' as const),
      client: fc.nat(20),
      writes: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      step: fc.constantFrom('bookmark' as const, 'advance' as const, 'trim' as const, 'leave' as const),
      client: fc.nat(20),
    }),
  },
  { weight: 1, arbitrary: fc.record({ step: fc.constant('repair' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ step: fc.constant('backfill' as const), back: fc.integer({ min: 1, max: 10 }) }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** A lane that follows a history, with clients, as far as `libs/watch` goes. */
class Lane {
  readonly history: History;
  readonly cache: WatchCache;
  readonly groups: WatchGroups;
  clients: CheckedClient[] = [];
  /** How many of the history's changes the lane has read. */
  #read: number;
  readonly listedAt: ResourceVersion;

  constructor(before: readonly (readonly Write[])[], windowBytesMax: number) {
    this.history = new History();
    for (const writes of before) this.history.commit(writes, 1);
    this.listedAt = this.history.rv;
    this.#read = this.history.changes.length;
    const listing = { rv: this.history.rv, objects: this.history.objectsAt(this.history.rv) };
    this.cache = new WatchCache(podSchema, listing, windowBytesMax);
    this.groups = new WatchGroups(this.cache);
  }

  run(next: Step): void {
    switch (next.step) {
      case 'commit':
        this.history.commit(next.writes, next.gap);
        break;
      case 'apply':
        this.#apply(next.count);
        break;
      case 'initial':
        this.#initial(INTERESTS[next.interest]!, next.bookmarks);
        break;
      case 'resume':
        this.#resume(INTERESTS[next.interest]!, next.bookmarks, this.cache.watermark - next.back);
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
        expect(this.cache.repair({ rv: this.history.rv, objects: this.history.objectsAt(this.history.rv) })).toBe(true);
        this.#read = this.history.changes.length;
        break;
      case 'backfill':
        this.#backfill(this.listedAt - next.back);
        break;
    }
    for (const client of this.clients) if (client.over) this.#leave(client);
  }

  /** Every client that is not overrun ends with what there is. */
  finish(): void {
    this.#apply(Number.POSITIVE_INFINITY);
    this.cache.advance(this.history.rv, this.cache.position);
    for (const client of this.clients) {
      if (client.pump(Number.POSITIVE_INFINITY) === 'drained') client.expectStateOf(this.history.rv);
      else expect(this.#mayLose(client)).toBe(true);
    }
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
    this.#join(asked, { kind: 'initial', snapshot: this.cache.snapshot(), rv, end: endBookmark(rv) }, allowBookmarks);
  }

  #resume(asked: Interest, allowBookmarks: boolean, at: ResourceVersion): void {
    const rv = Math.min(Math.max(at, 1), this.history.rv);
    const since = this.cache.since(rv, asked);
    if (since.kind === 'from') this.#join(asked, { kind: 'resume', sequence: since.sequence, rv }, allowBookmarks);
    else expect(rv < this.listedAt || !this.cache.window.complete || this.cache.severed(rv)).toBe(true);
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
    if (client.over) expect(this.#mayLose(client)).toBe(true);
    this.groups.leave(client.watcher);
    this.clients = this.clients.filter((other) => other !== client);
  }

  #mayLose({ startedAt }: CheckedClient): boolean {
    return !this.cache.window.complete || this.cache.severed(startedAt);
  }
}

test('I2 I3 I5: whatever happens, what a client is sent adds up to what there is, or its watch ends', () => {
  const before = fc.array(fc.array(write, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 6 });
  const windowBytesMax = fc.constantFrom(1_500, 4_000, 1_000_000);
  fc.assert(
    fc.property(
      before,
      windowBytesMax,
      fc.array(step, { maxLength: 80, size: 'max', minLength: 20 }),
      (commits, bytes, steps) => {
        const lane = new Lane(commits, bytes);
        for (const next of steps) lane.run(next);
        lane.finish();
      },
    ),
    { numRuns: 400 },
  );
});
