import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Clock, Timer } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Envelope } from './envelope.ts';
import { logVersion } from './nats-appender.ts';
import { type FollowCounters, NatsFollower } from './nats-follower.ts';
import type { NatsMessage, NatsPort } from './nats-port.ts';
import type { NatsStream } from './nats-stream.ts';

const HEARTBEAT_MS = 1_000;
const INACTIVE_MS = 30_000;
const RETRY_MS = 250;
const SERVER_SAYS = 100;

/** Where to begin: `oldest` is all that is retained; `rv`: what brings a version above it; `sequence`: behind it. */
export type LogStart = { readonly oldest: true } | { readonly rv: ResourceVersion } | { readonly sequence: number };

export interface LogReaderOptions {
  readonly stream: NatsStream;
  readonly port: NatsPort;
  readonly clock: Clock;
  readonly log: Log;
  readonly track: string;
  readonly subject: string;
  readonly from: LogStart;
  readonly maxEnvelopeBytes: number;
  /** `sequence` is the stream's: a place to go on from. */
  readonly onEnvelope: (envelope: Envelope, sequence: number) => void;
  /** Reading cannot go on and has ended: retention took what would be next, or the stream is another. */
  readonly onLost: (reason: 'evicted' | 'replaced') => void;
}

/**
 * Reads one track of the log, then follows it. The client package's own consumers hang when the server that hosts them
 * dies, and skip silently in a stream made anew, so this one never asks a consumer how it is: it watches heartbeats
 * and sequences, makes a new one behind the last message it has, and looks at the stream first.
 */
export class NatsLogReader {
  readonly #options: LogReaderOptions;
  readonly #follower: NatsFollower;
  readonly #watchdog: Timer;
  readonly #stopStatus: () => void;
  readonly counters: FollowCounters = { received: 0, gaps: 0, reordered: 0, repeated: 0, deposed: 0, unreadable: 0 };
  /** Stream sequence of the last message taken. */
  #cursor = 0;
  /** When the stream was created; undefined until it was first looked at. */
  #created: string | undefined;
  #consumer: { readonly name: string; readonly unsubscribe: () => void; delivered: number } | undefined;
  #retry: Timer | undefined;
  #seenAt = 0;
  #starting = false;
  #stopped = false;
  /** Consumers made so far. */
  consumers = 0;

  constructor(options: LogReaderOptions) {
    const { clock, port, track, log, maxEnvelopeBytes, onEnvelope } = options;
    this.#options = options;
    this.#follower = new NatsFollower({
      track,
      clock,
      maxEnvelopeBytes,
      counters: this.counters,
      onUnreadable: (name, error) => log.error({ track: name, err: error }, 'a message of the log is no envelope'),
    });
    this.#follower.add((envelope) => onEnvelope(envelope, this.#cursor));
    this.#watchdog = clock.setInterval(() => this.#watch(), HEARTBEAT_MS);
    this.#stopStatus = port.onStatus(({ type }) => {
      if (type === 'reconnected') this.#restart('reconnected');
    });
    this.#restart('begin');
  }

  stop(): void {
    this.#stopped = true;
    this.#watchdog.cancel();
    this.#retry?.cancel();
    this.#stopStatus();
    this.#dropConsumer();
  }

  #watch(): void {
    if (this.#consumer !== undefined && this.#options.clock.now() - this.#seenAt > 2 * HEARTBEAT_MS + 500) {
      this.#restart('no heartbeat');
    }
  }

  #restart(reason: string): void {
    if (this.#stopped || this.#starting) return;
    const { clock, log, track } = this.#options;
    this.#dropConsumer();
    this.#retry?.cancel();
    this.#starting = true;
    log.debug({ track, reason, cursor: this.#cursor }, 'reads the log');
    this.#start().then(
      () => {
        this.#starting = false;
      },
      (error: unknown) => {
        this.#starting = false;
        if (this.#stopped) return;
        log.debug({ track, err: error }, 'cannot read the log, trying again');
        this.#dropConsumer();
        this.#retry = clock.setTimeout(() => this.#restart('again'), RETRY_MS);
      },
    );
  }

  async #start(): Promise<void> {
    const { stream, port, clock, subject } = this.#options;
    if (!(await this.#canGoOn()) || this.#stopped) return;
    const inbox = port.newInbox();
    const name = inbox.replaceAll('.', '_');
    const unsubscribe = port.subscribe(inbox, (message) => this.#onMessage(name, message));
    this.#consumer = { name, unsubscribe, delivered: 0 };
    this.#seenAt = clock.now();
    this.consumers++;
    await stream.push(name, {
      subject,
      inbox,
      sequence: this.#cursor + 1,
      heartbeatMs: HEARTBEAT_MS,
      inactiveMs: INACTIVE_MS,
    });
  }

  /** False, and reading has ended, if the stream does not hold what would be next. */
  async #canGoOn(): Promise<boolean> {
    const { stream, from } = this.#options;
    const facts = await stream.facts();
    if (facts === undefined && this.#created === undefined) throw new Error(`no stream ${stream.name} yet`);
    if (facts === undefined || (this.#created !== undefined && facts.created !== this.#created)) {
      return this.#lost('replaced');
    }
    if (this.#created === undefined) {
      this.#cursor = await this.#cursorOf(from, facts.firstSequence, facts.lastSequence);
      this.#created = facts.created;
      if ('rv' in from || 'oldest' in from) return true;
    }
    if (facts.lastSequence < this.#cursor) return this.#lost('replaced');
    if (facts.firstSequence > this.#cursor + 1) return this.#lost('evicted');
    return true;
  }

  /** The cursor whose next message is the first wanted. */
  async #cursorOf(from: LogStart, first: number, last: number): Promise<number> {
    if ('sequence' in from) return from.sequence;
    if ('oldest' in from) return Math.max(0, first - 1);
    const { stream, subject } = this.#options;
    let [low, high] = [first, last + 1];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const message = await stream.next(subject, middle);
      if (message === undefined || logVersion(message) > from.rv) high = middle;
      else low = message.sequence + 1;
    }
    return low - 1;
  }

  #lost(reason: 'evicted' | 'replaced'): false {
    if (this.#stopped) return false;
    this.stop();
    this.#options.onLost(reason);
    return false;
  }

  #onMessage(name: string, message: NatsMessage): void {
    const consumer = this.#consumer;
    if (consumer?.name !== name) return;
    this.#seenAt = this.#options.clock.now();
    if (message.status === 0) this.#onData(consumer, message);
    else if (message.status === SERVER_SAYS) this.#onServerSays(consumer.delivered, message);
    else this.#restart(message.description);
  }

  #onData(consumer: { delivered: number }, message: NatsMessage): void {
    const place = placeOf(message.reply);
    if (place === undefined || place.delivered !== consumer.delivered + 1) {
      this.#restart('a message is missing');
      return;
    }
    consumer.delivered++;
    this.#cursor = place.sequence;
    try {
      this.#follower.take(message.data);
    } catch (error) {
      // As a follower's bug on the bus: it ends the process, and not the reading of the connection.
      this.#options.clock.setTimeout(() => {
        throw error;
      }, 0);
    }
  }

  /** Flow control must be answered, or the server stops pushing. */
  #onServerSays(delivered: number, message: NatsMessage): void {
    const { port } = this.#options;
    const stalled = message.header('Nats-Consumer-Stalled');
    if (message.reply !== '') port.publish(message.reply, Buffer.alloc(0));
    if (stalled !== '') port.publish(stalled, Buffer.alloc(0));
    const sent = message.header('Nats-Last-Consumer');
    if (sent !== '' && Number(sent) !== delivered) this.#restart('a tail is missing');
  }

  #dropConsumer(): void {
    if (this.#consumer === undefined) return;
    const { name, unsubscribe } = this.#consumer;
    this.#consumer = undefined;
    unsubscribe();
    this.#options.stream.stopPush(name);
  }
}

/** `$JS.ACK.STREAM.CONSUMER.TRIES.SEQUENCE.DELIVERED.TIME.PENDING`; newer servers put domain and account in front. */
function placeOf(reply: string): { readonly sequence: number; readonly delivered: number } | undefined {
  const tokens = reply.split('.');
  if (tokens[1] !== 'ACK' || tokens.length < 9) return undefined;
  const at = tokens.length === 9 ? 5 : 7;
  return { sequence: Number(tokens[at]), delivered: Number(tokens[at + 1]) };
}
