/** A queue whose items keep their sequence numbers: dense, from 0, never used twice. */
export class Fifo<T> {
  #items: (T | undefined)[] = [];
  /** Index in #items of the oldest; those before it are cut off now and then. */
  #head = 0;
  /** Sequence number of #items[0]. */
  #base = 0;

  /** Sequence number of the oldest item; `end` if there is none. */
  get first(): number {
    return this.#base + this.#head;
  }

  /** Sequence number the next item will get. */
  get end(): number {
    return this.#base + this.#items.length;
  }

  get size(): number {
    return this.#items.length - this.#head;
  }

  /** Undefined where it is not held. */
  at(sequence: number): T | undefined {
    return this.#items[sequence - this.#base];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (item === undefined) return undefined;
    this.#items[this.#head++] = undefined;
    if (this.#head >= 1_024 && this.#head * 2 > this.#items.length) this.#cut();
    return item;
  }

  clear(): void {
    this.#head = this.#items.length;
    this.#cut();
  }

  #cut(): void {
    this.#items = this.#items.slice(this.#head);
    this.#base += this.#head;
    this.#head = 0;
  }
}
