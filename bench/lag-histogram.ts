/** Buckets per doubling: values are kept to about 3 %. */
const SUB_BUCKETS = 32;
const DOUBLINGS = 32;

/** Counts of lags in microseconds, to about 3 % and up to an hour; two can be added. */
export class LagHistogram {
  readonly #counts: Float64Array;

  /** Empty, or what `toArray` gave. */
  constructor(counts?: readonly number[]) {
    this.#counts = counts === undefined ? new Float64Array(SUB_BUCKETS * DOUBLINGS) : Float64Array.from(counts);
  }

  record(micros: number): void {
    const index = bucketOf(Math.max(0, micros));
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
  }

  add(other: LagHistogram): void {
    other.#counts.forEach((count, index) => (this.#counts[index] = (this.#counts[index] ?? 0) + count));
  }

  clear(): void {
    this.#counts.fill(0);
  }

  get count(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  /** The value in microseconds that a share (0 to 1) of the records does not exceed; undefined if there are none. */
  percentile(share: number): number | undefined {
    const wanted = Math.ceil(this.count * share);
    let seen = 0;
    for (let index = 0; index < this.#counts.length; index += 1) {
      seen += this.#counts[index] ?? 0;
      if (seen >= wanted && seen > 0) return upperBound(index);
    }
    return undefined;
  }

  /** For a message to another process. */
  toArray(): number[] {
    return [...this.#counts];
  }
}

/** The first 32 buckets are one microsecond wide; after that each doubling has 32. */
function bucketOf(micros: number): number {
  if (micros < SUB_BUCKETS) return Math.floor(micros);
  const doubling = Math.floor(Math.log2(micros)) - 4;
  const within = Math.floor(micros / 2 ** (doubling - 1)) - SUB_BUCKETS;
  return Math.min(SUB_BUCKETS * DOUBLINGS - 1, doubling * SUB_BUCKETS + within);
}

function upperBound(index: number): number {
  const doubling = Math.floor(index / SUB_BUCKETS);
  if (doubling === 0) return index + 1;
  return ((index % SUB_BUCKETS) + SUB_BUCKETS + 1) * 2 ** (doubling - 1);
}
