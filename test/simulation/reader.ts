import assert from 'node:assert/strict';
import { StatusError } from '@dogwatch/kube/status.ts';
import type { LaneReplica } from '@dogwatch/replica/lane-replica.ts';
import { interest } from '@dogwatch/watch/test-objects.ts';
import type { History } from './history.ts';

const TIMEOUT_MS = 3_000;
const EVERYTHING = interest();

/** Who lists at resourceVersion "": what is answered is not older than the question (promise I6), or there is no answer. */
export class Reader {
  readonly #history: History;
  #failure: unknown;
  readonly counts = { fresh: 0, refused: 0 };

  constructor(history: History) {
    this.#history = history;
  }

  /** Asks, and looks at the answer whenever it comes. */
  read(replica: LaneReplica): void {
    if (!replica.ready) return;
    const asked = this.#history.rv;
    replica
      .fresh(TIMEOUT_MS, (rv) => this.#take(replica, { asked, rv }), { interest: EVERYTHING, limit: 0 })
      .catch((error: unknown) => {
        if (error instanceof StatusError) this.counts.refused++;
        else this.#failure ??= error;
      });
  }

  /** Throws what was wrong with an answer. */
  expectNothingStale(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  #take({ cache }: LaneReplica, { asked, rv }: { asked: number; rv: number }): void {
    this.counts.fresh++;
    assert(rv >= asked, `I6: what was asked for at ${asked} was answered as of ${rv}`);
    // Of the watermark's own version some may be under way, all of it after the question.
    if (rv === cache.watermark && cache.settled < rv && rv > asked) return;
    const listed = Array.from(cache.select(EVERYTHING), ({ key, rv: version, uid }) => `${key}@${version} ${uid}`);
    assert.deepEqual(listed.toSorted(), this.#history.selectedAt(rv, EVERYTHING), `I6: what was listed fresh at ${rv}`);
  }
}
