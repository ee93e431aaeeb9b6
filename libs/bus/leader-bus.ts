import type { Lane } from '@dogwatch/kube/lane.ts';
import { StatusError, serviceUnavailable } from '@dogwatch/kube/status.ts';
import { type Clock, NEVER, sleep } from '@dogwatch/process/clock.ts';
import { type Bus, type LaneRequestKind, type LaneRequests, NoResponder } from './bus.ts';
import type { Envelope } from './envelope.ts';

/** A leader that has just died is replaced within this time; requests to it wait as long. */
const PATIENCE_MS = 6_000;
const RETRY_MS = 200;

/** What a leader of a lane is asked. */
const LEADER_KINDS: ReadonlySet<LaneRequestKind> = new Set(['open', 'close', 'repair', 'fence', 'backfill', 'sync']);

/**
 * A bus whose requests about a lane go to the ingest that leads it, unless they are addressed otherwise. They reject with
 * StatusError, 503 where nobody has led it for some seconds.
 */
export class LeaderBus implements Bus {
  readonly #bus: Bus;
  readonly #leaderOf: (lane: Lane) => string | undefined;
  readonly #clock: Clock;

  constructor(bus: Bus, options: { leaderOf: (lane: Lane) => string | undefined; clock: Clock }) {
    this.#bus = bus;
    this.#leaderOf = options.leaderOf;
    this.#clock = options.clock;
  }

  publish(track: string, envelope: Envelope, term?: number): void {
    this.#bus.publish(track, envelope, term);
  }

  cease(track: string): void {
    this.#bus.cease(track);
  }

  follow(track: string, onEnvelope: (envelope: Envelope) => void): () => void {
    return this.#bus.follow(track, onEnvelope);
  }

  onReconnected(listener: () => void): () => void {
    return this.#bus.onReconnected(listener);
  }

  serve<K extends LaneRequestKind>(
    kind: K,
    handler: (request: LaneRequests[K]['request']) => Promise<LaneRequests[K]['reply']>,
    as?: string,
  ): () => void {
    return this.#bus.serve(kind, handler, as);
  }

  async request<K extends LaneRequestKind>(
    kind: K,
    request: LaneRequests[K]['request'],
    to?: string,
  ): Promise<LaneRequests[K]['reply']> {
    if (to !== undefined || !LEADER_KINDS.has(kind)) return await this.#bus.request(kind, request, to);
    const { lane } = request as { readonly lane: Lane };
    const deadline = this.#clock.now() + PATIENCE_MS;
    for (;;) {
      try {
        return await this.#ask(kind, request, this.#leaderOf(lane));
      } catch (error) {
        if (!isLeaderless(error)) throw error;
        if (this.#clock.now() >= deadline) throw unavailable(error);
      }
      await sleep(this.#clock, RETRY_MS, NEVER);
    }
  }

  /** Where no leader is known any ingest may be asked, but for a state: shards answer for those, too. */
  #ask<K extends LaneRequestKind>(
    kind: K,
    request: LaneRequests[K]['request'],
    leader: string | undefined,
  ): Promise<LaneRequests[K]['reply']> {
    if (leader === undefined && kind === 'sync') return Promise.reject(new NoResponder(kind));
    return this.#bus.request(kind, request, leader);
  }
}

/** What could not be asked for so long; that nobody answered says nothing of what there is. */
function unavailable(error: unknown): unknown {
  if (!(error instanceof NoResponder)) return error;
  return new StatusError(serviceUnavailable(error.message, 1), { cause: error });
}

/** Nobody answered, or somebody who does not lead (any more). */
function isLeaderless(error: unknown): boolean {
  return error instanceof NoResponder || (error instanceof StatusError && error.status.code === 503);
}
