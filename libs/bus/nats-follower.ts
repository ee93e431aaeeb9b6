import { type Decoded, EnvelopeReader } from './envelope-codec.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Envelope } from './envelope.ts';

/** What the envelopes of all tracks followed showed. */
export interface FollowCounters {
  /** Envelopes handed to followers. */
  received: number;
  /** Envelopes that are missing by their numbers. */
  gaps: number;
  /** Envelopes whose number is below one that came before: repeated or out of order. */
  reordered: number;
  /** Repetitions of the last envelope, heartbeats among them: nothing new, not handed on. */
  repeated: number;
  /** Envelopes of a publisher that was replaced: not handed on. */
  deposed: number;
  /** Messages that are no envelope of this track. */
  unreadable: number;
}

export interface FollowerOptions {
  readonly track: string;
  readonly clock: Clock;
  readonly maxEnvelopeBytes: number;
  readonly counters: FollowCounters;
  readonly onUnreadable: (track: string, error: unknown) => void;
}

/**
 * One track as a process follows it, read once for all its followers. Numbers are dense within (term, track), so losses
 * show here; what they mean is for the chain of positions to decide, hence all that is new is handed on.
 */
export class NatsFollower {
  readonly #options: FollowerOptions;
  readonly #reader: EnvelopeReader;
  readonly #followers = new Set<(envelope: Envelope) => void>();
  #term = 0;
  #sequence: number | undefined;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#reader = new EnvelopeReader({ clock: options.clock, maxPendingBytes: options.maxEnvelopeBytes });
  }

  get empty(): boolean {
    return this.#followers.size === 0;
  }

  add(onEnvelope: (envelope: Envelope) => void): void {
    this.#followers.add(onEnvelope);
  }

  remove(onEnvelope: (envelope: Envelope) => void): void {
    this.#followers.delete(onEnvelope);
  }

  /** Takes the next message of the track's subject. Throws what a follower throws, after all others had their turn. */
  take(data: Buffer): void {
    const decoded = this.#read(data);
    if (decoded === undefined || !this.#isNew(decoded)) return;
    this.#options.counters.received++;
    const failures: unknown[] = [];
    // A copy: who begins to follow while an envelope is delivered does not get this one.
    for (const onEnvelope of Array.from(this.#followers)) {
      if (!this.#followers.has(onEnvelope)) continue;
      try {
        onEnvelope(decoded.envelope);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  #read(data: Buffer): Decoded | undefined {
    const { track, counters, onUnreadable } = this.#options;
    try {
      const decoded = this.#reader.read(data);
      if (decoded === undefined || decoded.track === track) return decoded;
      throw new Error(`an envelope of track ${decoded.track}`);
    } catch (error) {
      counters.unreadable++;
      onUnreadable(track, error);
      return undefined;
    }
  }

  #isNew({ term, sequence }: Decoded): boolean {
    const { counters } = this.#options;
    if (term < this.#term) {
      counters.deposed++;
      return false;
    }
    if (term > this.#term) this.#sequence = undefined;
    this.#term = term;
    const last = this.#sequence;
    if (sequence === last) {
      counters.repeated++;
      return false;
    }
    if (last !== undefined && sequence < last) {
      counters.reordered++;
      return true;
    }
    if (last !== undefined) counters.gaps += sequence - last - 1;
    this.#sequence = sequence;
    return true;
  }
}
