import type { Collection } from './simulated-collection.ts';
import type { SimulatedFleet } from './simulated-fleet.ts';
import type { SimulatedStore } from './simulated-store.ts';
import { monotonicMicros } from './written-stamp.ts';

export interface RateWriterOptions {
  readonly store: SimulatedStore;
  readonly fleet: SimulatedFleet;
  /** Events per second, a constant arrival rate; 150,000 to one watch take about a quarter of a core, TLS included. */
  readonly rate: number;
  /** The same seed writes the same objects in the same order. */
  readonly seed: number;
  /** Stops by itself after so many events. */
  readonly limit?: number;
  /** Microseconds; what events are stamped with is when they were due. Default: the machine's monotonic clock. */
  readonly now?: () => number;
}

/** What a writer did, and whether it held its rate. */
export interface RateReport {
  readonly rate: number;
  readonly written: number;
  /** Events that came due and were given up, because the writer was too far behind. */
  readonly skipped: number;
  /** The most that an event was written after it was due. */
  readonly lateMicrosMax: number;
  readonly seconds: number;
}

/** Falls behind by at most this; what is older is skipped and counted, so that a stall makes no endless burst. */
const MAX_LAG_MICROS = 250_000;
const BATCH_MAX = 2_048;
const TICK_MS = 1;

/** Writes a fleet's objects at a constant rate, in a batch per millisecond: each once, in a shuffled order, over and over. */
export class RateWriter {
  /** Resolves when `limit` was reached. */
  readonly done: Promise<void>;
  readonly #options: RateWriterOptions;
  readonly #collection: Collection;
  readonly #order: Uint32Array;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | undefined;
  #startedAt = 0;
  /** Events that have come due and were written or skipped. */
  #due = 0;
  #written = 0;
  #skipped = 0;
  #late = 0;
  #cursor = 0;
  #onDone: (() => void) | undefined;

  constructor(options: RateWriterOptions) {
    const { store, fleet, seed, now = monotonicMicros } = options;
    this.#options = options;
    this.#collection = store.collection(fleet.resource.group, fleet.resource.resource);
    this.#order = shuffled(fleet.size, seed);
    this.#now = now;
    this.done = new Promise((resolve) => (this.#onDone = resolve));
  }

  start(): void {
    if (this.#options.rate <= 0 || this.#options.fleet.size === 0) return;
    this.#startedAt = this.#now();
    this.#timer = setInterval(() => this.tick(), TICK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  report(): RateReport {
    return {
      rate: this.#options.rate,
      written: this.#written,
      skipped: this.#skipped,
      lateMicrosMax: Math.round(this.#late),
      seconds: this.#startedAt === 0 ? 0 : (this.#now() - this.#startedAt) / 1_000_000,
    };
  }

  /** Writes what has come due. Called by the timer; public for tests with a clock of their own. */
  tick(): void {
    const { rate, limit = Number.POSITIVE_INFINITY } = this.#options;
    const interval = 1_000_000 / rate;
    const elapsed = this.#now() - this.#startedAt;
    const oldest = Math.floor((elapsed - MAX_LAG_MICROS) / interval);
    if (oldest > this.#due) {
      this.#skipped += oldest - this.#due;
      this.#due = oldest;
    }
    this.#late = Math.max(this.#late, elapsed - this.#due * interval);
    let count = Math.min(Math.floor(elapsed / interval) - this.#due, limit - this.#written);
    while (count > 0) {
      const batch = Math.min(count, BATCH_MAX);
      this.#write(batch, interval);
      count -= batch;
    }
    if (this.#written >= limit) {
      this.stop();
      this.#onDone?.();
    }
  }

  #write(count: number, interval: number): void {
    const { store, fleet } = this.#options;
    const indexes = new Uint32Array(count);
    const stamps = new Float64Array(count);
    for (let at = 0; at < count; at += 1) {
      indexes[at] = this.#next();
      stamps[at] = Math.round(this.#startedAt + (this.#due + at) * interval);
    }
    this.#due += count;
    this.#written += count;
    store.writeFleet(this.#collection, fleet, indexes, stamps);
  }

  /** The next object that is still the fleet's. */
  #next(): number {
    for (let tries = 0; tries < this.#order.length; tries += 1) {
      const index = this.#order[this.#cursor] ?? 0;
      this.#cursor = (this.#cursor + 1) % this.#order.length;
      if (this.#options.fleet.holds(index)) return index;
    }
    throw new TypeError('every object of the fleet was deleted or written by somebody else: nothing is left to write');
  }
}

/** 0 to before `size` in an order that the seed alone decides (Fisher and Yates, with xorshift). */
function shuffled(size: number, seed: number): Uint32Array {
  const order = Uint32Array.from({ length: size }, (_, index) => index);
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  for (let at = size - 1; at > 0; at -= 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    const other = state % (at + 1);
    const kept = order[at] ?? 0;
    order[at] = order[other] ?? 0;
    order[other] = kept;
  }
  return order;
}
