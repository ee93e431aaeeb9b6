/** Things under the value they are found by. */
export class ValueIndex<T> {
  readonly #sets = new Map<string, Set<T>>();

  add(value: string, thing: T): void {
    const set = this.#sets.get(value);
    if (set === undefined) this.#sets.set(value, new Set([thing]));
    else set.add(thing);
  }

  remove(value: string, thing: T): void {
    const set = this.#sets.get(value);
    if (set?.delete(thing) === true && set.size === 0) this.#sets.delete(value);
  }

  get(value: string): Iterable<T> {
    return this.#sets.get(value) ?? [];
  }
}
