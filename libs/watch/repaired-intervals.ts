import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';

interface Interval {
  readonly from: ResourceVersion;
  readonly to: ResourceVersion;
}

/** Of more the oldest is forgotten, and with it all that may be resumed from up to its end. */
const INTERVALS_MAX = 64;

/**
 * The versions repairs passed over: strictly between the version held before and that of the listing only the outcome
 * is known. Who holds such a version may hold an object that came and went in between, of which nobody can tell it.
 */
export class RepairedIntervals {
  #intervals: Interval[] = [];
  /** End of the last interval that was forgotten. */
  #forgottenBelow: ResourceVersion;
  #end: ResourceVersion;

  /** Below `passedBelow` every version is taken for one that was passed over. */
  constructor(passedBelow: ResourceVersion) {
    this.#forgottenBelow = this.#end = passedBelow;
  }

  /** From here on nothing was passed over. */
  get end(): ResourceVersion {
    return this.#end;
  }

  /**
   * A repair passed from `from`, which was held, to `to`; `deletes`: it found some. Those stand at `from`, where a
   * client may be that has not seen them, so that `from` itself is of no use to whoever does not have the repair.
   */
  add({ from, to }: Interval, deletes: boolean): void {
    this.#end = Math.max(this.#end, to, deletes ? from + 1 : 0);
    if (to > from) this.#intervals.push({ from, to });
    if (this.#intervals.length > INTERVALS_MAX) this.#forgottenBelow = this.#intervals.shift()!.to;
  }

  /** True if `rv` was passed over, or that is not known any more. */
  has(rv: ResourceVersion): boolean {
    return this.after(rv) > rv;
  }

  /** The lowest version, `rv` or above it, that was not passed over. */
  after(rv: ResourceVersion): ResourceVersion {
    const around = this.#intervals.find(({ from, to }) => from < rv && rv < to);
    return Math.max(rv, this.#forgottenBelow, around?.to ?? 0);
  }
}
