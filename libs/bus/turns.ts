interface Waiting {
  readonly pass: () => void;
  readonly fail: (error: Error) => void;
}

/** Lets a bounded number through at a time, in order of arrival; of those that wait there is a bounded number, too. */
export class Turns {
  #free: number;
  readonly #waitingMax: number;
  #waiting: Waiting[] = [];

  constructor(options: { readonly atOnce: number; readonly waitingMax: number }) {
    this.#free = options.atOnce;
    this.#waitingMax = options.waitingMax;
  }

  /** Runs `work` when it is its turn. Rejects with `refusal()` if too many wait, and with what `work` rejects with. */
  async run<T>(work: () => Promise<T>, refusal: () => Error): Promise<T> {
    if (this.#free > 0) this.#free--;
    else if (this.#waiting.length >= this.#waitingMax) throw refusal();
    else await new Promise<void>((pass, fail) => this.#waiting.push({ pass, fail }));
    try {
      return await work();
    } finally {
      // Whoever is next takes this place over.
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next.pass();
    }
  }

  /** Turns away all that wait. */
  clear(error: Error): void {
    for (const { fail } of this.#waiting.splice(0)) fail(error);
  }
}
