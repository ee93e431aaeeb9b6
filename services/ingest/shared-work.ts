/**
 * Work whose result is good only for those who asked before it began: one run for all of them, and another for those
 * who asked while it ran.
 */
export class SharedWork<T> {
  readonly #work: () => Promise<T>;
  #current: { readonly promise: Promise<T>; begun: boolean } | undefined;
  #next: Promise<T> | undefined;

  constructor(work: () => Promise<T>) {
    this.#work = work;
  }

  /** True if nothing runs and nobody waits. */
  get idle(): boolean {
    return this.#current === undefined && this.#next === undefined;
  }

  /** The result of a run that begins after this call. */
  ask(): Promise<T> {
    const current = this.#current;
    if (current === undefined) return this.#begin();
    if (!current.begun) return current.promise;
    const again = (): Promise<T> => {
      this.#next = undefined;
      return this.#begin();
    };
    this.#next ??= current.promise.then(again, again);
    return this.#next;
  }

  #begin(): Promise<T> {
    // It begins in a microtask, so that all who ask in the same turn share it.
    const run = {
      begun: false,
      promise: Promise.resolve()
        .then(() => {
          run.begun = true;
          return this.#work();
        })
        .finally(() => {
          if (this.#current === run) this.#current = undefined;
        }),
    };
    this.#current = run;
    return run.promise;
  }
}
