import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';

/** One a second. */
const SAMPLES_MAX = 128;
const SAMPLE_MS = 1_000;

/** When the versions of the last two minutes were first heard of, to the second. */
export class VersionAges {
  /** Ascending in both. */
  readonly #samples: { rv: ResourceVersion; readonly at: number }[] = [];

  /** Everything up to `rv` is heard of. `now`: monotonic, ms. */
  note(rv: ResourceVersion, now: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && rv <= last.rv) return;
    // Taken for up to a second older than it is.
    if (last !== undefined && this.#samples.length > 1 && now - last.at < SAMPLE_MS) last.rv = rv;
    else this.#samples.push({ rv, at: now });
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
  }

  /** Ms since `rv` was first heard of; Infinity where that is not remembered. */
  of(rv: ResourceVersion, now: number): number {
    const [oldest] = this.#samples;
    if (oldest === undefined || rv < oldest.rv) return Infinity;
    const sample = this.#samples.find((its) => its.rv >= rv);
    return sample === undefined ? 0 : now - sample.at;
  }
}
