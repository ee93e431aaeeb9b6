/** Items filed under the second they are due in: one timer turns it, however many there are. */
export class SecondsWheel<T> {
  readonly #slots = new Map<number, Set<T>>();
  /** Seconds before this one were taken. */
  #next = 0;

  /** `at` is monotonic time in ms; what lies in the past is due at the next turn. Returns the slot, for `remove`. */
  add(at: number, item: T): number {
    const second = Math.max(Math.ceil(at / 1000), this.#next);
    const slot = this.#slots.get(second);
    if (slot === undefined) this.#slots.set(second, new Set([item]));
    else slot.add(item);
    return second;
  }

  remove(second: number, item: T): void {
    const slot = this.#slots.get(second);
    if (slot?.delete(item) === true && slot.size === 0) this.#slots.delete(second);
  }

  /** Takes out everything due by `now`. */
  due(now: number): T[] {
    const last = Math.floor(now / 1000);
    const found: T[] = [];
    // After a long pause there are more seconds than slots.
    const seconds = last - this.#next > this.#slots.size ? [...this.#slots.keys()] : range(this.#next, last);
    for (const second of seconds) {
      if (second > last) continue;
      found.push(...(this.#slots.get(second) ?? []));
      this.#slots.delete(second);
    }
    this.#next = last + 1;
    return found;
  }
}

function* range(from: number, to: number): Generator<number, void> {
  for (let value = from; value <= to; value++) yield value;
}
