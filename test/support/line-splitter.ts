/** Cuts a stream of chunks into lines. */
export class LineSplitter {
  #rest: Buffer = Buffer.alloc(0);

  /** True between lines. */
  get whole(): boolean {
    return this.#rest.length === 0;
  }

  /** The lines that `chunk` completes, without their ends. */
  *push(chunk: Buffer): Generator<string> {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let from = 0;
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, from)) {
      yield bytes.toString('utf8', from, at);
      from = at + 1;
    }
    this.#rest = bytes.subarray(from);
  }
}
