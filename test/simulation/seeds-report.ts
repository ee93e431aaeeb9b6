/** What a process that ran seeds of the simulation says of it, in the last line of its stdout. */
export interface SeedsReport {
  /** Seeds that were run, the one that failed included. */
  readonly seeds: number;
  readonly seconds: number;
  /** What went on in all runs together: a simulation in which nothing happens proves nothing. */
  readonly counts: Readonly<Record<string, number>>;
  readonly failed?: { readonly seed: number; readonly message: string };
}
