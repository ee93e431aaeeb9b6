import type { Clock, Timer } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { NatsMessage, NatsPort } from './nats-port.ts';
import type { NatsStream } from './nats-stream.ts';

const HEARTBEAT_MS = 1_000;
const INACTIVE_MS = 30_000;
const RETRY_MS = 250;
const SERVER_SAYS = 100;

/** Where in the stream a pushed message stands. */
export interface PushedPlace {
  readonly sequence: number;
  /** Number within the consumer, from 1. */
  readonly delivered: number;
  /** Messages that are to come as far as the server knows. */
  readonly pending: number;
}

export interface NatsPushOptions {
  readonly stream: NatsStream;
  readonly port: NatsPort;
  readonly clock: Clock;
  readonly log: Log;
  readonly subject: string;
  /** Called before every consumer, which begins with the last message of every subject; tried again if it rejects. */
  readonly prepare: () => Promise<void>;
  /** The consumer is there and began with `pending` messages; some may have come before. */
  readonly onStarted: (pending: number) => void;
  readonly onMessage: (message: NatsMessage, place: PushedPlace) => void;
}

/**
 * The last message of every subject and then all that come, through a consumer of our own. As NatsLogReader does, it
 * never asks a consumer how it is: it watches heartbeats and numbers, and makes a new one.
 */
export class NatsPush {
  readonly #options: NatsPushOptions;
  readonly #watchdog: Timer;
  readonly #stopStatus: () => void;
  #consumer: { readonly name: string; readonly unsubscribe: () => void; delivered: number } | undefined;
  #retry: Timer | undefined;
  #heardAt = 0;
  #starting = false;
  #closed = false;
  /** Why the last attempt to begin failed. */
  failure: unknown;

  constructor(options: NatsPushOptions) {
    const { clock, port } = options;
    this.#options = options;
    this.#watchdog = clock.setInterval(() => this.#watch(), HEARTBEAT_MS);
    this.#stopStatus = port.onStatus(({ type }) => {
      if (type === 'reconnected') this.restart('reconnected');
    });
    this.restart('begin');
  }

  /** Begins again with a new consumer, unless one is being made. */
  restart(reason: string): void {
    if (this.#closed || this.#starting) return;
    const { clock, log, stream } = this.#options;
    this.#dropConsumer();
    this.#retry?.cancel();
    this.#starting = true;
    log.debug({ stream: stream.name, reason }, 'reads a stream');
    this.#start()
      .catch((error: unknown) => {
        this.failure = error;
        this.#dropConsumer();
        if (!this.#closed) log.debug({ stream: stream.name, err: error }, 'cannot read a stream, trying again');
      })
      .finally(() => {
        this.#starting = false;
        // It failed, or the consumer was found broken meanwhile.
        if (this.#consumer === undefined && !this.#closed) {
          this.#retry = clock.setTimeout(() => this.restart('again'), RETRY_MS);
        }
      });
  }

  close(): void {
    this.#closed = true;
    this.#watchdog.cancel();
    this.#retry?.cancel();
    this.#stopStatus();
    this.#dropConsumer();
  }

  #watch(): void {
    if (this.#consumer !== undefined && this.#options.clock.now() - this.#heardAt > 2 * HEARTBEAT_MS + 500) {
      this.restart('no heartbeat');
    }
  }

  async #start(): Promise<void> {
    const { stream, port, clock, subject, prepare, onStarted } = this.#options;
    await prepare();
    if (this.#closed) return;
    const inbox = port.newInbox();
    const name = inbox.replaceAll('.', '_');
    const unsubscribe = port.subscribe(inbox, (message) => this.#onMessage(name, message));
    const consumer = { name, unsubscribe, delivered: 0 };
    this.#consumer = consumer;
    this.#heardAt = clock.now();
    const pending = await stream.push(name, { subject, inbox, heartbeatMs: HEARTBEAT_MS, inactiveMs: INACTIVE_MS });
    if (this.#consumer === consumer) onStarted(pending);
  }

  #onMessage(name: string, message: NatsMessage): void {
    const consumer = this.#consumer;
    if (consumer?.name !== name) return;
    this.#heardAt = this.#options.clock.now();
    if (message.status === 0) this.#onData(consumer, message);
    else if (message.status === SERVER_SAYS) this.#onServerSays(consumer.delivered, message);
    else this.#break(message.description);
  }

  #onData(consumer: { delivered: number }, message: NatsMessage): void {
    const place = placeOf(message.reply);
    if (place === undefined || place.delivered !== consumer.delivered + 1) {
      this.#break('a message is missing');
      return;
    }
    consumer.delivered++;
    try {
      this.#options.onMessage(message, place);
    } catch (error) {
      // It ends the process, and not the reading of the connection.
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
    if (sent !== '' && Number(sent) !== delivered) this.#break('a tail is missing');
  }

  #break(reason: string): void {
    this.#dropConsumer();
    this.restart(reason);
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
function placeOf(reply: string): PushedPlace | undefined {
  const tokens = reply.split('.');
  if (tokens[1] !== 'ACK' || tokens.length < 9) return undefined;
  const at = tokens.length === 9 ? 5 : 7;
  return { sequence: Number(tokens[at]), delivered: Number(tokens[at + 1]), pending: Number(tokens[at + 3]) };
}
