/** So many batches of changes within so many ms: the next is a few ms away, and a version is passed sooner than it could be listed. */
const BATCHES = 5;
const WITHIN_MS = 100;

/** Whether a lane is on the move: then it passes any version within milliseconds, and otherwise it may never. */
export class Pace {
  readonly #times: number[] = Array.from({ length: BATCHES }, () => -Infinity);
  #at = 0;

  /** A batch of changes was applied. `now`: monotonic, ms. */
  note(now: number): void {
    this.#times[this.#at] = now;
    this.#at = (this.#at + 1) % BATCHES;
  }

  isMoving(now: number): boolean {
    return now - this.#times[this.#at]! <= WITHIN_MS;
  }
}
