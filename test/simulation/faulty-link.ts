import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { type Batch, comparePositions } from '@dogwatch/watch/watch-cache.ts';
import type { Faults } from './faults.ts';
import type { Random } from './random.ts';

export interface FaultyLinkOptions {
  readonly partitions: number;
  readonly random: Random;
  readonly faults: Faults;
  readonly deliver: (envelope: Envelope, partition: number) => void;
}

/** Two batches as one, if the second continues the first. */
function join({ previous, changes }: Batch, next: Batch): Batch | undefined {
  let place = previous;
  for (const { object } of changes) {
    place = object.rv === place.rv ? { rv: object.rv, index: place.index + 1 } : { rv: object.rv, index: 0 };
  }
  return comparePositions(place, next.previous) === 0
    ? { previous, changes: [...changes, ...next.changes] }
    : undefined;
}

/**
 * What one follower gets of the bus: the envelopes of a track in order, but not all of them, some twice, and any track
 * as late as it likes.
 */
export class FaultyLink {
  readonly #random: Random;
  readonly #chances: Faults;
  readonly #deliver: (envelope: Envelope, partition: number) => void;
  readonly #queues: Envelope[][];
  readonly #past: Envelope[][];
  readonly #stalled = new Set<number>();
  #faults = true;
  dropped = 0;

  constructor({ partitions, random, faults, deliver }: FaultyLinkOptions) {
    this.#random = random;
    this.#chances = faults;
    this.#deliver = deliver;
    this.#queues = Array.from({ length: partitions }, () => []);
    this.#past = Array.from({ length: partitions }, () => []);
  }

  /** From now on everything arrives. */
  heal(): void {
    this.#faults = false;
    this.#stalled.clear();
  }

  /** What is on its way is lost. */
  cut(): void {
    for (const envelopes of [...this.#queues, ...this.#past]) envelopes.length = 0;
  }

  publish(partition: number, envelope: Envelope): void {
    // A lane of many tracks is not to be always in repair.
    if (this.#faults && this.#random.chance(this.#chances.dropped / Math.sqrt(this.#queues.length))) {
      this.dropped++;
      return;
    }
    this.#queues[partition]!.push(envelope);
    if (this.#faults && this.#random.chance(this.#chances.doubled)) this.#queues[partition]!.push(envelope);
  }

  /** Delivers one envelope; false if none is due. */
  step(): boolean {
    const random = this.#random;
    if (this.#faults && random.chance(this.#chances.stalled)) this.#stalled.add(random.below(this.#queues.length));
    if (random.chance(this.#chances.goesOn)) this.#stalled.clear();
    const due = [...this.#queues.keys()].filter((at) => this.#queues[at]!.length > 0 && !this.#stalled.has(at));
    if (due.length === 0) return false;
    const partition = random.pick(due);
    const envelope = this.#queues[partition]!.shift()!;
    const past = this.#past[partition]!;
    past.push(envelope);
    if (past.length > 20) past.shift();
    this.#deliver(envelope, partition);
    if (this.#faults && random.chance(this.#chances.again)) this.#again(partition);
    return true;
  }

  /** What was delivered comes once more, cut into other batches, as from a second publisher at a takeover. */
  #again(partition: number): void {
    // Two of what has come and of what comes next: then the first half is held already.
    const known = [...this.#past[partition]!, ...this.#queues[partition]!.slice(0, 1)];
    const at = this.#random.below(this.#past[partition]!.length);
    const [envelope, next] = [known[at]!, known[at + 1]];
    if (envelope.kind === 'batch' && next?.kind === 'batch' && next.epoch === envelope.epoch) {
      const batch = join(envelope.batch, next.batch);
      if (batch !== undefined) return this.#deliver({ ...envelope, batch }, partition);
    }
    this.#deliver(envelope, partition);
  }
}
