/** Lets those who ask the same at the same time share one answer, or one failure. */
export class SingleFlight<Value> {
  readonly #flights = new Map<string, Promise<Value>>();

  run(key: string, ask: () => Promise<Value>): Promise<Value> {
    const flying = this.#flights.get(key);
    if (flying !== undefined) return flying;
    const flight = ask().finally(() => this.#flights.delete(key));
    this.#flights.set(key, flight);
    return flight;
  }
}
