import type { Mutant } from '../mutant.ts';

const LINKS = 'services/shard/track-links.ts';

/** In shards and what they tell of a lane. */
export const SHARD_MUTANTS: readonly Mutant[] = [
  {
    id: 'link-without-chain',
    promise: 'I4',
    file: LINKS,
    find: 'link.position = placeOf(previous, changes);',
    replace: '',
    what: 'envelopes of a link do not continue each other: a lost one is not missed',
  },
  {
    id: 'link-mark-over-a-hole',
    promise: 'I4',
    file: LINKS,
    find: "kind: 'watermark', epoch, previous: link.position, rv });",
    replace: "kind: 'watermark', epoch, previous: { rv: 0, index: 0 }, rv });",
    what: 'a link says how far it is to those who lost what it put on it',
  },
  {
    id: 'link-not-told-of-a-repair',
    promise: 'I4',
    file: LINKS,
    find: "Object.assign(link, { position, marked: 0 });\n      this.#bus.publish(link.track, { kind: 'listed', epoch, rv });",
    replace: '',
    what: 'a link goes on as if the shard had not been given a whole state, over what that brought',
  },
  {
    id: 'link-evicted-unseen',
    promise: 'I4',
    file: LINKS,
    find: 'if (window.first > this.#offered) return this.#onState();',
    replace: 'this.#offered = Math.max(this.#offered, window.first);',
    what: 'what the window of a shard evicted before it was put on links is passed over',
  },
  {
    id: 'link-of-names-only',
    promise: 'I4',
    file: LINKS,
    find: "if (object.indexed !== '') give(this.#byIndexed.get(object.indexed));",
    replace: '',
    what: 'what a node is to be told of is not put on its link',
  },
  {
    id: 'link-state-without-the-past',
    promise: 'I4',
    file: 'libs/watch/history.ts',
    find: 'if (!before.has(object.key)) before.set(object.key, previous);',
    replace: 'before.set(object.key, previous);',
    what: 'the state a shard tells is that before the last change, with all changes behind it',
  },
  {
    id: 'changes-since-one-too-few',
    promise: 'I4',
    file: 'libs/watch/history.ts',
    find: 'if (rv < position.rv || (rv === position.rv && index <= position.index)) low = middle + 1;',
    replace: 'if (rv <= position.rv + 1) low = middle + 1;',
    what: 'what a shard tells a follower it lacks begins one version too late',
  },
  {
    id: 'changes-since-not-held',
    promise: 'I4',
    file: 'libs/watch/watch-cache.ts',
    find: 'if (position.rv < rv) return undefined;',
    replace: '',
    what: 'a shard tells what it holds as if it were all a follower lacks',
  },
];
