const FIRST_CAPACITY = 1024;
/** What is kept for the next frame once one was taken: enough for usual objects, little enough to hold per stream. */
const KEPT_CAPACITY = 64 * 1024;

/** The beginning of something that straddles chunks. Grows by doubling, so that many small chunks cost linear time. */
export class CarryBuffer {
  #bytes = Buffer.alloc(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  append(view: Buffer): void {
    const needed = this.#length + view.length;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(FIRST_CAPACITY, this.#bytes.length * 2, needed));
      this.#bytes.copy(grown, 0, 0, this.#length);
      this.#bytes = grown;
    }
    view.copy(this.#bytes, this.#length);
    this.#length = needed;
  }

  /** A view of what is held, good until the next append, take or clear. */
  peek(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** A copy of what was held, of exactly its size; the buffer is empty afterwards. */
  take(): Buffer {
    const taken = Buffer.from(this.peek());
    this.clear();
    return taken;
  }

  clear(): void {
    this.#length = 0;
    if (this.#bytes.length > KEPT_CAPACITY) this.#bytes = Buffer.alloc(0);
  }
}
