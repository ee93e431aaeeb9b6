import type { Clock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Bus, LaneRequestKind, LaneRequests } from './bus.ts';
import type { Envelope } from './envelope.ts';
import { type FollowCounters, NatsFollower } from './nats-follower.ts';
import type { NatsPort, NatsStatus } from './nats-port.ts';
import { NatsPublisher } from './nats-publisher.ts';
import { NatsRequests } from './nats-requests.ts';
import { DEFAULT_SUBJECT_PREFIX, liveSubject } from './nats-subject.ts';

const MEBIBYTE = 1024 * 1024;
const CLOSE_TIMEOUT_MS = 5_000;
/** Object bytes of a listing that is published as it is; of a longer one only word goes out, and followers sync. */
const LISTING_BYTES_MAX = MEBIBYTE;
/** Between two lines of log about messages that cannot be read, and about errors of NATS. */
const REPEATED_LOG_MS = 10_000;

export interface NatsBusOptions {
  readonly port: NatsPort;
  readonly clock: Clock;
  readonly log: Log;
  /** Default `dogwatch`. */
  readonly prefix?: string;
  /** See PublisherOptions. Default 64 MiB, as much as a server holds for a slow client. */
  readonly maxPendingBytes?: number;
  /** Longest envelope a follower puts together. Default 256 MiB: a few of upstream's longest frames. */
  readonly maxEnvelopeBytes?: number;
  /** A quiet track says this often where it stands, which shows a lost tail. Default 1 s. */
  readonly heartbeatMs?: number;
  /** A server from which nothing came for so long is taken for dead. It shows itself five times as often. Default 5 s. */
  readonly silenceMs?: number;
  /** Longest wait for an answer. Default 2 min. */
  readonly answerMs?: number;
  /** Requests under way, asked or served; more are refused. Default 1024. */
  readonly maxRequests?: number;
}

export interface NatsBusCounters extends Readonly<FollowCounters> {
  readonly published: number;
  readonly publishedBytes: number;
  /** Envelopes not published: disconnected, or NATS took too little. */
  readonly dropped: number;
  readonly disconnects: number;
}

/** The bus over core NATS: live delivery. It stays one through any outage; what is lost shows as a gap. */
export interface NatsBus extends Bus {
  readonly counters: NatsBusCounters;
  readonly connected: boolean;
  /** Resolves once NATS has taken everything published before, and everything followed before is subscribed. */
  flush(): Promise<void>;
  /** Sends what is under way, refuses open requests, and closes the port. */
  close(): Promise<void>;
}

/** A bus over `port`, which it then owns. */
export function createNatsBus(options: NatsBusOptions): NatsBus {
  return new PortBus(options);
}

type ListingEnvelope = Extract<Envelope, { readonly kind: 'listing' }>;

function isLong(envelope: Envelope): envelope is ListingEnvelope {
  if (envelope.kind !== 'listing') return false;
  let bytes = 0;
  return envelope.listing.objects.some((object) => (bytes += object.bytes.length) > LISTING_BYTES_MAX);
}

function listedOf({ epoch, listing }: ListingEnvelope): Envelope {
  return { kind: 'listed', epoch, rv: listing.rv };
}

class PortBus implements NatsBus {
  readonly #port: NatsPort;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #prefix: string;
  readonly #maxEnvelopeBytes: number;
  readonly #publisher: NatsPublisher;
  readonly #requests: NatsRequests;
  readonly #followed = new Map<string, { readonly follower: NatsFollower; readonly unsubscribe: () => void }>();
  readonly #follow: FollowCounters = { received: 0, gaps: 0, reordered: 0, repeated: 0, deposed: 0, unreadable: 0 };
  readonly #reconnectedListeners = new Set<() => void>();
  #disconnects = 0;
  #unreadableLoggedAt = -Infinity;
  #errorLoggedAt = -Infinity;

  constructor(options: NatsBusOptions) {
    const { port, clock, log, prefix = DEFAULT_SUBJECT_PREFIX, silenceMs = 5_000 } = options;
    this.#port = port;
    this.#clock = clock;
    this.#log = log;
    this.#prefix = prefix;
    this.#maxEnvelopeBytes = options.maxEnvelopeBytes ?? 256 * MEBIBYTE;
    this.#publisher = new NatsPublisher({
      port,
      clock,
      log,
      prefix,
      maxPendingBytes: options.maxPendingBytes ?? 64 * MEBIBYTE,
      heartbeatMs: options.heartbeatMs ?? 1_000,
    });
    this.#requests = new NatsRequests({
      port,
      clock,
      log,
      prefix,
      silenceMs,
      signOfLifeMs: silenceMs / 5,
      answerMs: options.answerMs ?? 120_000,
      maxRequests: options.maxRequests ?? 1_024,
    });
    port.onStatus((status) => this.#onStatus(status));
  }

  get counters(): NatsBusCounters {
    const { published, publishedBytes, dropped } = this.#publisher;
    return { ...this.#follow, published, publishedBytes, dropped, disconnects: this.#disconnects };
  }

  get connected(): boolean {
    return this.#port.connected;
  }

  publish(track: string, envelope: Envelope, term = 0): void {
    this.#publisher.publish(track, isLong(envelope) ? listedOf(envelope) : envelope, term);
  }

  cease(track: string): void {
    this.#publisher.cease(track);
  }

  onReconnected(listener: () => void): () => void {
    // A function of its own, so that one listener may listen twice.
    const call = (): void => listener();
    this.#reconnectedListeners.add(call);
    return () => this.#reconnectedListeners.delete(call);
  }

  follow(track: string, onEnvelope: (envelope: Envelope) => void): () => void {
    const { follower } = this.#followed.get(track) ?? this.#subscribe(track);
    // A function of its own, so that one listener may follow twice.
    const deliver = (envelope: Envelope): void => onEnvelope(envelope);
    follower.add(deliver);
    return () => {
      follower.remove(deliver);
      const followed = this.#followed.get(track);
      if (followed?.follower !== follower || !follower.empty) return;
      this.#followed.delete(track);
      followed.unsubscribe();
    };
  }

  request<K extends LaneRequestKind>(
    kind: K,
    request: LaneRequests[K]['request'],
    to?: string,
  ): Promise<LaneRequests[K]['reply']> {
    return this.#requests.request(kind, request, to);
  }

  serve<K extends LaneRequestKind>(
    kind: K,
    handler: (request: LaneRequests[K]['request']) => Promise<LaneRequests[K]['reply']>,
    as?: string,
  ): () => void {
    return this.#requests.serve(kind, handler, as);
  }

  flush(): Promise<void> {
    return this.#port.flush();
  }

  async close(): Promise<void> {
    this.#publisher.close();
    this.#requests.close();
    await this.#port.close(CLOSE_TIMEOUT_MS);
  }

  #subscribe(track: string): { readonly follower: NatsFollower; readonly unsubscribe: () => void } {
    const follower = new NatsFollower({
      track,
      clock: this.#clock,
      maxEnvelopeBytes: this.#maxEnvelopeBytes,
      counters: this.#follow,
      onUnreadable: (name, error) => this.#onUnreadable(name, error),
    });
    const unsubscribe = this.#port.subscribe(liveSubject(this.#prefix, track), ({ data }) => {
      try {
        follower.take(data);
      } catch (error) {
        // A follower's bug, which must not stop the reading of the connection: it ends the process, as in memory.
        this.#clock.setTimeout(() => {
          throw error;
        }, 0);
      }
    });
    const followed = { follower, unsubscribe };
    this.#followed.set(track, followed);
    return followed;
  }

  #onUnreadable(track: string, error: unknown): void {
    const now = this.#clock.now();
    if (now - this.#unreadableLoggedAt < REPEATED_LOG_MS) return;
    this.#unreadableLoggedAt = now;
    const { unreadable } = this.#follow;
    this.#log.error({ track, unreadable, err: error }, 'a message on the bus is no envelope of its track, skipped');
  }

  #onStatus(status: NatsStatus): void {
    switch (status.type) {
      case 'disconnected':
        this.#disconnects++;
        this.#publisher.disconnected();
        this.#requests.disconnected();
        this.#log.warn({ server: status.server }, 'disconnected from NATS');
        break;
      case 'reconnected':
        this.#publisher.reconnected();
        this.#log.info({ server: status.server }, 'connected to NATS again');
        for (const listener of this.#reconnectedListeners) listener();
        break;
      case 'lame-duck':
        this.#log.info({ server: status.server }, 'a NATS server shuts down');
        break;
      case 'error':
        this.#onError(status.error);
        break;
    }
  }

  /** Of a server that lets nobody in there is one with every attempt to connect. */
  #onError(error: Error): void {
    const now = this.#clock.now();
    const repeated = now - this.#errorLoggedAt < REPEATED_LOG_MS;
    this.#errorLoggedAt = repeated ? this.#errorLoggedAt : now;
    this.#log[repeated ? 'debug' : 'error']({ err: error }, 'NATS reports an error');
  }
}
