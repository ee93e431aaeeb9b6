import type { Envelope } from '@dogwatch/bus/envelope.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import type { Lack, Recovery } from '@dogwatch/replica/lane-supply.ts';
import type { SimIngest } from './ingest.ts';
import type { Faults } from './faults.ts';
import type { Random } from './random.ts';

/** Answers what followers lack, truthfully but in its own time; now and then it is away. */
export class Peer implements Recovery {
  readonly #ingest: SimIngest;
  readonly #random: Random;
  readonly #chances: Faults;
  readonly #waiting: (() => void)[] = [];
  #faults = true;
  /** Answers given, by kind. */
  readonly given = { changes: 0, state: 0, delivered: 0 };

  constructor(ingest: SimIngest, random: Random, faults: Faults) {
    this.#ingest = ingest;
    this.#random = random;
    this.#chances = faults;
  }

  heal(): void {
    this.#faults = false;
  }

  recover({ partition, from }: Lack, deliver: (envelope: Envelope) => void): Promise<TrackState | 'delivered'> {
    const { promise, resolve, reject } = Promise.withResolvers<TrackState | 'delivered'>();
    const random = this.#random;
    const short = random.chance(this.#chances.forgets);
    const early = random.chance(this.#chances.stale) ? this.#ingest.stateOf(partition, from, short) : undefined;
    this.#waiting.push(() => {
      if (this.#faults && random.chance(this.#chances.away)) return reject(new Error('the peer is away'));
      if (from !== undefined && random.chance(0.3)) {
        try {
          for (const envelope of this.#ingest.logOf(partition, from)) deliver(envelope);
        } catch (error) {
          return reject(error as Error);
        }
        this.given.delivered++;
        return resolve('delivered');
      }
      const state = early ?? this.#ingest.stateOf(partition, from, short);
      this.given[state.kind]++;
      resolve(state);
    });
    return promise;
  }

  /** Answers one request; false if there is none. */
  step(): boolean {
    if (this.#waiting.length === 0) return false;
    this.#waiting.splice(this.#random.below(this.#waiting.length), 1)[0]!();
    return true;
  }
}
