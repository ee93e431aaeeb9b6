import type { Mutant } from '../mutant.ts';

const FENCE = 'services/ingest/fence.ts';
const PUBLISHER = 'services/ingest/publisher.ts';
const RING = 'services/ingest/ring.ts';

/** In the reading of a lane. The simulation has an ingest of its own, so unit tests have to catch these. */
export const INGEST_MUTANTS: readonly Mutant[] = [
  {
    id: 'watermark-before-its-batch',
    promise: 'I3',
    file: PUBLISHER,
    find: 'this.flush();\n    if (rv < this.#read.rv) return;',
    replace: 'if (rv < this.#read.rv) return;',
    what: 'a watermark goes out before the batch that is gathering',
    by: 'services/ingest/publisher.test.ts',
  },
  {
    id: 'loss-vouched-for',
    promise: 'I4',
    file: PUBLISHER,
    find: 'if (this.#interrupted) return;',
    replace: '',
    what: 'upstream vouches for what was lost, until the next listing',
    by: 'services/ingest/publisher.test.ts',
  },
  {
    id: 'repeats-published',
    promise: 'I5',
    file: PUBLISHER,
    find: 'if (rv === this.#read.rv && this.#repeats > 0) {',
    replace: 'if (false) {',
    what: 'events that a resumed watch sends again are published again',
    by: 'services/ingest/publisher.test.ts',
  },
  {
    id: 'ring-hole-told',
    promise: 'I4',
    file: RING,
    find: 'if (comparePositions(position, start) < 0) return undefined;',
    replace: '',
    what: 'what the ring evicted is left out of what a follower is told it lacks',
    by: 'services/ingest/ring.test.ts',
  },
  {
    id: 'ring-without-bound',
    promise: 'I9',
    file: RING,
    find: 'while (this.#bytes > this.#bytesMax) {',
    replace: 'while (false) {',
    what: 'what an ingest keeps for those who were away grows for ever',
    by: 'services/ingest/ring.test.ts',
  },
  {
    id: 'probe-of-before',
    promise: 'I6',
    file: 'services/ingest/shared-work.ts',
    find: 'if (!current.begun) return current.promise;',
    replace: 'return current.promise;',
    what: 'who asks for proof is given one that had left before',
    by: 'services/ingest/shared-work.test.ts',
  },
  {
    id: 'restored-upstream-believed',
    promise: 'I6',
    file: FENCE,
    find: 'if (rv < read && this.#publisher.epoch === epoch) this.#onBackwards(rv, read);',
    replace: '',
    what: 'a consistent list older than what was read is no sign that upstream was restored',
    by: 'services/ingest/fence.test.ts',
  },
  {
    id: 'verified-before-it-was-read',
    promise: 'I4',
    file: FENCE,
    find: 'while (!publisher.holds(shown) && this.#clock.now() < deadline && !signal.aborted) {',
    replace: 'while (false) {',
    also: {
      find: 'if (publisher.holds(shown) && publisher.epoch === epoch) publisher.watermark(vouched);',
      replace: 'if (publisher.epoch === epoch) publisher.watermark(vouched);',
    },
    what: 'a verification watch vouches for what the lane has not read',
    by: 'services/ingest/fence.test.ts',
  },
  {
    id: 'listings-at-once',
    promise: 'I8',
    file: 'services/ingest/turnstile.ts',
    find: 'if (this.#free > 0) this.#free--;',
    replace: 'if (this.#free > -1_000) this.#free--;',
    what: 'all lanes list upstream at the same time',
    by: 'services/ingest/turnstile.test.ts',
  },
  {
    id: 'version-copied-wrong',
    promise: 'I1',
    file: 'libs/kube/event-framer.ts',
    find: 'return Buffer.concat([object.subarray(0, rvStart), digits, object.subarray(rvEnd)]);',
    replace:
      'return Buffer.from(JSON.stringify({ ...JSON.parse(object.toString()) as object, resourceVersion: String(rv) }));',
    what: 'an object is encoded anew where only its version is to be another',
    by: 'libs/kube/event-framer.test.ts',
  },
];
