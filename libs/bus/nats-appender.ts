import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { encodeEnvelope } from './envelope-codec.ts';
import type { Envelope } from './envelope.ts';
import { isTransient } from './nats-patience.ts';
import type { NatsPort } from './nats-port.ts';
import { JetStreamError, type NatsStream, type StoredMessage } from './nats-stream.ts';

const WRONG_LAST_SEQUENCE = 10_071;
const RETRY_MS = { first: 20, most: 1_000 };
/** The fence is renewed once it is in the oldest quarter of the stream: retention takes the oldest. */
const FENCE_RENEWED_AT = 4;
const FENCE_CHECK_MS = 5_000;
/** Room for the headers of an append: names, numbers, the track twice and the subject of the fence. */
const HEADER_BYTES_MAX = 4_096;

const TERM = 'Dogwatch-Term';
const EPOCH = 'Dogwatch-Epoch';
const VERSION = 'Dogwatch-Rv';
const PART = 'Dogwatch-Part';
const BEFORE = 'Dogwatch-Before';

/** Somebody else leads the track now. Stop, drop what is buffered, and campaign again if that is wanted. */
export class Deposed extends Error {
  readonly code = 'Deposed';
  constructor(track: string, term: number) {
    super(`term ${term} over track ${track} has ended: another publisher has taken over`);
  }
}

/** The stream was deleted or made anew: what was appended is gone. Open the log and campaign again. */
export class StreamReplaced extends Error {
  readonly code = 'StreamReplaced';
  constructor(stream: string) {
    super(`stream ${stream} is not the one it was: its history is lost`);
  }
}

/** The appender was closed before the envelope was stored; it may be stored or not. */
export class AppenderClosed extends Error {
  readonly code = 'AppenderClosed';
  constructor(track: string) {
    super(`the appender of track ${track} is closed`);
  }
}

/** What an appender needs of a stream. */
export type AppendableStream = Pick<NatsStream, 'name' | 'facts' | 'last' | 'next' | 'append'>;

export interface AppenderOptions {
  readonly stream: AppendableStream;
  readonly port: Pick<NatsPort, 'server'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly track: string;
  readonly dataSubject: string;
  readonly fenceSubject: string;
  readonly duplicateWindowMs: number;
}

/** Where the log of a track stood when a leadership over it began. */
export interface LogHead {
  /** The history it tells; 0 if there is none. */
  readonly epoch: number;
  /** Version of its last change or watermark. */
  readonly rv: ResourceVersion;
  /** Stream sequence of its last whole envelope, 0 if there is none. */
  readonly sequence: number;
}

const NO_HEAD: LogHead = { epoch: 0, rv: 0, sequence: 0 };

/**
 * One leadership over one track of the log. Safety is the fence: a message that says who leads, whose stream sequence
 * every append names; after a rival has put up its own, no append of ours can be stored. One message is in flight at a
 * time, and repeated as it is until it is stored, so nothing is lost, doubled or out of order.
 */
export class NatsAppender {
  readonly term: number;
  readonly head: LogHead;
  readonly #options: AppenderOptions;
  readonly #closing = new AbortController();
  readonly #created: string;
  #fence: number;
  #fenceCheckedAt: number;
  /** Number of the next envelope within the term. */
  #number = 0;
  /** Of the last whole envelope. */
  #last: LogHead;
  #busy = false;

  private constructor(
    options: AppenderOptions,
    leadership: { term: number; fence: number; head: LogHead; created: string },
  ) {
    this.#options = options;
    this.term = leadership.term;
    this.head = leadership.head;
    this.#fence = leadership.fence;
    this.#last = leadership.head;
    this.#created = leadership.created;
    this.#fenceCheckedAt = options.clock.now();
  }

  /**
   * Takes the leadership over the track; whoever had it is deposed. Throws Deposed if a rival was quicker,
   * StreamReplaced if there is no stream, and what a request to JetStream throws.
   */
  static async campaign(options: AppenderOptions): Promise<NatsAppender> {
    const { stream, clock, track, fenceSubject, dataSubject } = options;
    const facts = await stream.facts();
    if (facts === undefined) throw new StreamReplaced(stream.name);
    const held = await stream.last(fenceSubject);
    const data = await stream.last(dataSubject);
    const last = Math.max(Number(held?.header(TERM) ?? 0), Number(data?.header(TERM) ?? 0));
    // Milliseconds since 1970, or one more than there was: it grows even if the log was lost.
    const term = Math.max(last + 1, Math.floor(clock.wall()));
    const fence = await putFence(options, term, held?.sequence ?? 0);
    options.log.info({ track, term }, 'leads the log of a track');
    // Read again: until the fence stood, the one before may have appended.
    const head = await headOf(stream, dataSubject);
    return new NatsAppender(options, { term, fence, head, created: facts.created });
  }

  /**
   * Resolves with the envelope's stream sequence once it is stored. One at a time. It waits as long as JetStream cannot
   * store (5 to 9 s after the unclean loss of its leader). Throws Deposed, StreamReplaced, AppenderClosed.
   */
  async append(envelope: Envelope): Promise<number> {
    if (this.#busy) throw new Error('one append at a time: wait for the one before');
    this.#busy = true;
    try {
      await this.#renewFence();
      const { track, port } = this.#options;
      // Used up even if this fails half-way: an id must never stand for two messages.
      const number = this.#number++;
      const { maxPayloadBytes } = port.server;
      const parts = encodeEnvelope(envelope, {
        track,
        term: this.term,
        sequence: number,
        maxPayloadBytes: maxPayloadBytes - HEADER_BYTES_MAX,
      });
      const rv = versionOf(envelope) ?? this.#last.rv;
      let sequence = 0;
      for (const [index, part] of parts.entries()) {
        const headers = {
          [TERM]: String(this.term),
          [EPOCH]: String(envelope.epoch),
          [VERSION]: String(rv),
          [PART]: `${index + 1}/${parts.length}`,
          [BEFORE]: String(this.#last.sequence),
        };
        sequence = await this.#store(part, `${this.term}.${track}.${number}.${index}`, headers);
      }
      // In a stream made anew another fence may stand at the number of ours.
      if (sequence <= this.#last.sequence) throw new StreamReplaced(this.#options.stream.name);
      this.#last = { epoch: envelope.epoch, rv, sequence };
      return sequence;
    } finally {
      this.#busy = false;
    }
  }

  /** Gives up what is not stored yet. */
  close(): void {
    this.#closing.abort();
  }

  async #store(part: Buffer, id: string, headers: Record<string, string>): Promise<number> {
    const { stream, clock, log, track, dataSubject, fenceSubject, duplicateWindowMs } = this.#options;
    const { signal } = this.#closing;
    const began = clock.now();
    let rejected = false;
    for (let wait = RETRY_MS.first; ; wait = Math.min(2 * wait, RETRY_MS.most)) {
      if (signal.aborted) throw new AppenderClosed(track);
      try {
        if (rejected) await this.#findFence();
        // Past the window the server has forgotten the id, so one more copy would be stored.
        if (clock.now() - began > duplicateWindowMs / 2) {
          const last = await stream.last(dataSubject);
          if (last?.header('Nats-Msg-Id') === id) return last.sequence;
        }
        return await stream.append(dataSubject, part, {
          ...headers,
          'Nats-Msg-Id': id,
          'Nats-Expected-Last-Subject-Sequence': String(this.#fence),
          'Nats-Expected-Last-Subject-Sequence-Subject': fenceSubject,
        });
      } catch (error) {
        rejected = isRejected(error);
        if (!rejected && !isTransient(error)) throw error;
        log.debug({ track, err: error, waitMs: wait }, 'the log does not store, trying again');
      }
      await sleep(clock, wait, signal);
    }
  }

  /** The fence is not where it was: it is a rival's, or ours put up again without our knowing, or retention took it. */
  async #findFence(): Promise<void> {
    const { stream, track, fenceSubject } = this.#options;
    const held = await stream.last(fenceSubject);
    if (held === undefined) this.#fence = await putFence(this.#options, this.term, 0);
    else if (Number(held.header(TERM)) === this.term) this.#fence = held.sequence;
    else throw new Deposed(track, this.term);
  }

  /** Puts the fence up again before retention takes it, for without it every append would fail. */
  async #renewFence(): Promise<void> {
    const { stream, clock, log, track } = this.#options;
    const now = clock.now();
    if (now - this.#fenceCheckedAt < FENCE_CHECK_MS) return;
    this.#fenceCheckedAt = now;
    try {
      const facts = await stream.facts();
      if (facts?.created !== this.#created) throw new StreamReplaced(stream.name);
      const { firstSequence, lastSequence } = facts;
      if (this.#fence - firstSequence > (lastSequence - firstSequence) / FENCE_RENEWED_AT) return;
      this.#fence = await putFence(this.#options, this.term, this.#fence);
    } catch (error) {
      if (!isTransient(error)) throw error;
      log.debug({ track, err: error }, 'the fence could not be looked at, trying again later');
    }
  }
}

async function putFence(options: AppenderOptions, term: number, held: number): Promise<number> {
  const { stream, track, fenceSubject } = options;
  try {
    return await stream.append(fenceSubject, Buffer.alloc(0), {
      [TERM]: String(term),
      'Nats-Expected-Last-Subject-Sequence': String(held),
    });
  } catch (error) {
    if (isRejected(error)) throw new Deposed(track, term);
    throw error;
  }
}

/** The last whole envelope: a publisher may have died between the parts of one. */
async function headOf(stream: AppendableStream, dataSubject: string): Promise<LogHead> {
  const last = await stream.last(dataSubject);
  if (last === undefined) return NO_HEAD;
  const [part, parts] = last.header(PART).split('/');
  if (part === parts) return headAfter(last);
  const before = Number(last.header(BEFORE));
  const whole = before === 0 ? undefined : await stream.next(dataSubject, before);
  return whole?.sequence === before ? headAfter(whole) : NO_HEAD;
}

function headAfter(message: StoredMessage): LogHead {
  return { epoch: Number(message.header(EPOCH)), rv: logVersion(message), sequence: message.sequence };
}

/** Version of the last change or watermark once this message's envelope was read. */
export function logVersion(message: StoredMessage): ResourceVersion {
  return Number(message.header(VERSION));
}

/** Undefined if the envelope brings none. */
function versionOf(envelope: Envelope): ResourceVersion | undefined {
  switch (envelope.kind) {
    case 'listing':
      return envelope.listing.rv;
    case 'batch':
      return envelope.batch.changes.at(-1)?.object.rv ?? envelope.batch.previous.rv;
    case 'listed':
    case 'watermark':
      return envelope.rv;
    case 'end':
      return undefined;
  }
}

function isRejected(error: unknown): boolean {
  return error instanceof JetStreamError && error.errorCode === WRONG_LAST_SEQUENCE;
}
