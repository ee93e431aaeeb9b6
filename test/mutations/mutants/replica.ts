import type { Mutant } from '../mutant.ts';

const FEED = 'libs/replica/track-feed.ts';
const LANE = 'libs/replica/partitioned-lane.ts';
const LINK = 'libs/replica/partition-link.ts';
const MERGE = 'libs/watch/track-merge.ts';
const VIEW = 'libs/replica/scoped-view.ts';

const OLD_LINK = 'this.#unfollow();\n    this.feed.forget();\n    this.#shard = shard;';
const FOLLOW_ANEW = 'this.#unfollow();\n    this.#shard = shard;';
const SHARD_BEHIND = "if (held !== undefined && reachedBy(state) < held.rv) throw new Error('a shard is behind');";

/** In a lane as it is followed on the bus. */
export const REPLICA_MUTANTS: readonly Mutant[] = [
  {
    id: 'merge-does-not-wait',
    promise: 'I2',
    file: MERGE,
    find: 'if (reached < lowest) lowest = reached;',
    replace: 'if (lowest === Number.POSITIVE_INFINITY || reached > lowest) lowest = reached;',
    what: 'partitions are merged up to the furthest of them, over what the others are gathering',
  },
  {
    id: 'merge-by-partition',
    promise: 'I2',
    file: MERGE,
    find: 'Math.min(limit, Math.max(waiting.next, others - 1))',
    replace: 'limit',
    what: 'one partition gives all it has before the next, whatever their versions',
  },
  {
    id: 'gathering-vouched-for',
    promise: 'I3',
    file: LANE,
    find: 'merge.reach(at, fresh.at(-1)!.object.rv);',
    replace: 'for (const other of this.#feeds.keys()) merge.reach(other, fresh.at(-1)!.object.rv);',
    what: 'what one partition has read is taken to be read of all: a watermark over a gathering partition',
  },
  {
    id: 'cut-below-the-others',
    promise: 'I4',
    file: 'libs/watch/lane-cut.ts',
    find: 'const behind = [...states.keys()].filter((partition) => states[partition]!.watermark < rv);',
    replace: 'const behind: number[] = [];',
    what: 'states of partitions are put together though one is not complete up to the others',
  },
  {
    id: 'cut-forgets-changes',
    promise: 'I4',
    file: 'libs/watch/lane-cut.ts',
    find: 'rest: changes.slice(count) };',
    replace: 'rest: changes.slice(count + 1) };',
    what: 'where partitions are put together the first change behind the cut is lost',
  },
  {
    id: 'histories-mixed',
    promise: 'I4',
    file: LANE,
    find: 'const old = this.#feeds.filter((feed) => this.#gathered.get(feed)!.epoch < epoch);',
    replace: 'const old: TrackFeed[] = [];',
    what: 'partitions of two histories are put together as one lane',
  },
  {
    id: 'hole-left-open',
    promise: 'I4',
    file: FEED,
    find: 'if (this.#position === undefined || this.#recovering) this.#keep(envelope);\n        else this.#continue(envelope, this.#position);',
    replace:
      'if (this.#position === undefined) this.#keep(envelope);\n        else { if (this.#recovering) this.#position = previousOf(envelope); this.#continue(envelope, this.#position); }',
    what: 'while a hole is being filled what comes behind it is brought, and the hole is not',
  },
  {
    id: 'watermark-over-a-hole',
    promise: 'I3',
    file: FEED,
    find: 'if (envelope.epoch !== this.#epoch || this.#isGap(held, previous)) {\n      this.#keep(envelope);',
    replace:
      "if (envelope.kind === 'watermark') return this.#reach(envelope.rv);\n    if (envelope.epoch !== this.#epoch || this.#isGap(held, previous)) {\n      this.#keep(envelope);",
    what: 'a watermark is believed though what it vouches for was lost on its way',
  },
  {
    id: 'other-history-continued',
    promise: 'I4',
    file: FEED,
    find: 'if (this.#closed || envelope.epoch < this.#epoch) return;\n    switch',
    replace:
      'if (this.#closed) return;\n    if (envelope.epoch !== this.#epoch) envelope = { ...envelope, epoch: this.#epoch };\n    switch',
    what: 'what belongs to another history is taken for this one',
  },
  {
    id: 'repeated-half-brought-again',
    promise: 'I5',
    file: FEED,
    find: 'const { fresh, position } = continuation(envelope.batch, held);\n      if (fresh.length === 0) return;',
    replace:
      'const { position } = continuation(envelope.batch, held);\n      const fresh = envelope.batch.changes.slice(-1);',
    what: 'of what came twice in part only the last change is brought',
  },
  // One covers for the other: seeds show them together, unit tests each alone.
  {
    id: 'old-link-and-shard-behind',
    promise: 'I4',
    file: LINK,
    find: OLD_LINK,
    replace: FOLLOW_ANEW,
    also: { find: SHARD_BEHIND, replace: '' },
    what: 'a link goes on from another shard that is behind, over what that has yet to bring',
  },
  {
    id: 'old-link-remembered',
    promise: 'I4',
    file: LINK,
    find: OLD_LINK,
    replace: FOLLOW_ANEW,
    what: 'kept envelopes of an old link hide what the new one has yet to bring',
    by: 'libs/replica/partition-link.test.ts',
  },
  {
    id: 'shard-behind-believed',
    promise: 'I4',
    file: LINK,
    find: SHARD_BEHIND,
    replace: '',
    what: 'a scope is read from a shard that is behind: what it has yet to bring of it is passed over',
    by: 'libs/replica/partition-link.test.ts',
  },
  {
    id: 'scope-without-its-changes',
    promise: 'I4',
    file: VIEW,
    find: '...state.changes,\n          ...changes.filter(',
    replace: '...changes.filter(',
    what: "a scope is built from a shard's state without the changes in it",
  },
  {
    id: 'scope-without-what-came-meanwhile',
    promise: 'I4',
    file: VIEW,
    find: 'this.#apply(cut.rest.flat().toSorted((a, b) => a.object.rv - b.object.rv));',
    replace: '',
    what: 'what came while a scope was read is lost',
  },
  {
    id: 'scope-ahead-of-its-changes',
    promise: 'I3',
    file: VIEW,
    find: 'const watermark = this.#syncing === undefined ? this.#options.watermark() : 0;',
    replace: 'const watermark = this.#options.watermark();',
    what: 'a scope that is read anew is vouched for up to where its links are, without what is kept back',
  },
];
