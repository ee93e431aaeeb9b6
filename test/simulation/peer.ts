import type { Envelope } from '@dogwatch/bus/envelope.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import type { Lack, Recovery } from '@dogwatch/replica/lane-supply.ts';
import type { SimIngest } from './ingest.ts';
import type { Random } from './random.ts';

const AWAY = 0.2;
/** The answer is as things stood when it was asked for, not as they are when it comes. */
const STALE = 0.3;

/** Answers what followers lack, truthfully but in its own time; now and then it is away. */
export class Peer implements Recovery {
  readonly #ingest: SimIngest;
  readonly #random: Random;
  /** It forgets what led to what it holds, now and then. */
  readonly #forgets: boolean;
  readonly #waiting: (() => void)[] = [];
  #faults = true;
  /** Answers given, by kind. */
  readonly given = { changes: 0, state: 0, delivered: 0 };

  constructor(ingest: SimIngest, random: Random, forgets: boolean) {
    this.#ingest = ingest;
    this.#random = random;
    this.#forgets = forgets;
  }

  heal(): void {
    this.#faults = false;
  }

  recover({ partition, from }: Lack, deliver: (envelope: Envelope) => void): Promise<TrackState | 'delivered'> {
    const { promise, resolve, reject } = Promise.withResolvers<TrackState | 'delivered'>();
    const random = this.#random;
    const short = this.#forgets && random.chance(0.3);
    const early = random.chance(STALE) ? this.#ingest.stateOf(partition, from, short) : undefined;
    this.#waiting.push(() => {
      if (this.#faults && random.chance(AWAY)) return reject(new Error('the peer is away'));
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
