import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Clock, Timer } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { type Position, WHOLE_VERSION } from '@dogwatch/watch/watch-cache.ts';
import { encodeEnvelope } from './envelope-codec.ts';
import type { Envelope } from './envelope.ts';
import type { NatsPort } from './nats-port.ts';
import { liveSubject } from './nats-subject.ts';

/**
 * Live envelopes are compressed from here on. A call of zstd costs 13 µs here and 10 µs at every follower however short
 * the body is: with fewer than three dozen leases that is more time than the bytes saved are worth. The log, which is kept,
 * compresses earlier.
 */
const COMPRESS_FROM_BYTES = 16 * 1024;
/** A part of maxPendingBytes after which the server is asked whether it has taken what was given. */
const CONFIRM_PARTS = 16;
/** Heartbeats repeat the end of a track's history this often, then the track is silent. */
const END_HEARTBEATS = 10;

export interface PublisherOptions {
  readonly port: NatsPort;
  readonly clock: Clock;
  readonly log: Log;
  readonly prefix: string;
  /** Bytes given to the connection that the server has not confirmed. At the bound envelopes are dropped. */
  readonly maxPendingBytes: number;
  readonly heartbeatMs: number;
}

interface Track {
  readonly subject: string;
  /** The leadership that publishes it; numbers begin anew with each. */
  term: number;
  /** Of the next envelope. */
  sequence: number;
  /** What heartbeats say: where the track stands. Undefined: it has none, for it is published no more. */
  head: Envelope | undefined;
  /** False: something was published since the last tick. */
  quiet: boolean;
  endHeartbeats: number;
}

/**
 * The publishing half of a bus: numbers the envelopes of each track and hands them to the connection. Nothing waits:
 * what cannot go now (disconnected, or too much unconfirmed) is dropped and counted, its number is used up, and
 * followers see the gap at the next envelope or heartbeat. A heartbeat repeats the last number with the track's head.
 */
export class NatsPublisher {
  readonly #options: PublisherOptions;
  readonly #tracks = new Map<string, Track>();
  readonly #heartbeat: Timer;
  #given = 0;
  #confirmed = 0;
  #confirming = false;
  /** Grows with every disconnect, so that a late confirmation of the connection before counts for nothing. */
  #connection = 0;
  #dropping = false;
  #closed = false;
  published = 0;
  publishedBytes = 0;
  /** Envelopes that were not published. */
  dropped = 0;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#heartbeat = options.clock.setInterval(() => this.#beat(), options.heartbeatMs);
  }

  publish(name: string, envelope: Envelope, term: number): void {
    const track = this.#track(name, term);
    const sequence = track.sequence++;
    track.head = headOf(envelope);
    track.quiet = false;
    track.endHeartbeats = 0;
    this.#send(name, track, { envelope, sequence });
  }

  /** The track has no heartbeats any more. Its number is kept: of one term none may stand for two envelopes. */
  cease(name: string): void {
    const track = this.#tracks.get(name);
    if (track !== undefined) track.head = undefined;
  }

  /** To be called when the connection broke: what it had not confirmed may be lost. */
  disconnected(): void {
    this.#connection++;
    this.#confirmed = this.#given;
    this.#confirming = false;
  }

  /** To be called when there is a connection again: shows followers at once what was lost. */
  reconnected(): void {
    for (const track of this.#tracks.values()) track.quiet = true;
    this.#beat();
  }

  /** What is published from now on is dropped. */
  close(): void {
    this.#closed = true;
    this.#heartbeat.cancel();
  }

  #track(name: string, term: number): Track {
    let track = this.#tracks.get(name);
    if (track?.term !== term) {
      const subject = liveSubject(this.#options.prefix, name);
      track = { subject, term, sequence: 0, head: undefined, quiet: false, endHeartbeats: 0 };
      this.#tracks.set(name, track);
    }
    return track;
  }

  #send(
    name: string,
    { subject, term }: Track,
    { envelope, sequence }: { envelope: Envelope; sequence: number },
  ): void {
    const { port } = this.#options;
    if (!this.#accepts()) {
      this.dropped++;
      return;
    }
    const { maxPayloadBytes } = port.server;
    const options = { track: name, term, sequence, maxPayloadBytes, compressFromBytes: COMPRESS_FROM_BYTES };
    for (const part of encodeEnvelope(envelope, options)) {
      port.publish(subject, part);
      this.#given += part.length;
      this.publishedBytes += part.length;
    }
    this.published++;
    this.#confirm();
  }

  /** One envelope may overshoot the bound, or one that is longer could never be published. */
  #accepts(): boolean {
    const { port, log, maxPendingBytes } = this.#options;
    if (this.#closed) return false;
    const reason = !port.connected
      ? 'disconnected from NATS'
      : this.#given - this.#confirmed >= maxPendingBytes
        ? 'NATS takes too little'
        : undefined;
    if (reason !== undefined && !this.#dropping) {
      const pendingBytes = this.#given - this.#confirmed;
      log.warn({ reason, pendingBytes }, 'envelopes are dropped until NATS takes them again; followers will repair');
    }
    if (reason === undefined && this.#dropping) log.info({ dropped: this.dropped }, 'envelopes are published again');
    this.#dropping = reason !== undefined;
    return reason === undefined;
  }

  #confirm(): void {
    const { port, log, maxPendingBytes } = this.#options;
    const given = this.#given;
    if (this.#confirming || given - this.#confirmed < maxPendingBytes / CONFIRM_PARTS) return;
    this.#confirming = true;
    const connection = this.#connection;
    port.flush().then(
      () => {
        if (connection !== this.#connection) return;
        this.#confirmed = given;
        this.#confirming = false;
        this.#confirm();
      },
      (error: unknown) => {
        log.debug({ err: error }, 'a confirmation was lost with its connection');
        if (connection === this.#connection) this.disconnected();
      },
    );
  }

  #beat(): void {
    for (const [name, track] of this.#tracks) {
      const { head: envelope, quiet } = track;
      track.quiet = true;
      if (!quiet || envelope === undefined) continue;
      if (envelope.kind === 'end' && track.endHeartbeats++ >= END_HEARTBEATS) continue;
      if (!this.#options.port.connected) continue;
      this.#send(name, track, { envelope, sequence: track.sequence - 1 });
    }
  }
}

/** What tells a follower, at no harm to one that missed nothing, where a track stands after `envelope`. */
function headOf(envelope: Envelope): Envelope {
  switch (envelope.kind) {
    case 'watermark':
    case 'end':
      return envelope;
    case 'listing':
      return headAt(envelope.epoch, envelope.listing.rv);
    case 'listed':
      return headAt(envelope.epoch, envelope.rv);
    case 'batch': {
      const { epoch, batch } = envelope;
      const previous = endOf(
        batch.previous,
        batch.changes.map(({ object }) => object.rv),
      );
      // Of its own version more events may follow; everything below it was published.
      return { kind: 'watermark', epoch, previous, rv: previous.rv - 1 };
    }
  }
}

function headAt(epoch: number, rv: ResourceVersion): Envelope {
  return { kind: 'watermark', epoch, previous: { rv, index: WHOLE_VERSION }, rv };
}

/** The place of the last of `rvs`, which continue `previous`. */
function endOf(previous: Position, rvs: readonly number[]): Position {
  const rv = rvs.at(-1);
  if (rv === undefined) return previous;
  const first = rvs.indexOf(rv);
  const index = rvs.length - 1 - first;
  return first === 0 && previous.rv === rv ? { rv, index: previous.index + 1 + index } : { rv, index };
}
