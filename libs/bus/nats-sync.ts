import type { Clock } from '@dogwatch/process/clock.ts';
import { Reassembler, splitMessage } from './message-chunks.ts';
import { type NatsMessage, NatsDisconnected, type NatsPort } from './nats-port.ts';
import { decodeReply } from './request-codec.ts';
import { EnvelopeTooLarge, MESSAGE_KINDS, unseal } from './sealed-message.ts';
import { TrackStateReader } from './track-state-codec.ts';
import type { TrackState } from './track-state.ts';

/** Bytes of pages on their way to one follower: a server of NATS cuts a client for which it would hold 64 MiB. */
export const SYNC_CREDIT_BYTES = 8 * 2 ** 20;
/** Bytes of pages that came and are not read yet. A sender keeps to its credit, so more is no sender of ours. */
const UNREAD_BYTES_MAX = 8 * SYNC_CREDIT_BYTES;
/** A page of one object, which may be as long as upstream's longest frame, twice. */
const CHUNKED_PAGE_BYTES_MAX = 256 * 2 ** 20;
const ACKNOWLEDGED = Buffer.alloc(0);
const NO_RESPONDERS = 503;

/** Who asked for a state takes no more of it. */
export class FollowerGone extends Error {
  readonly code = 'FollowerGone';
  constructor() {
    super('a follower that asked for the state of a track takes no more of it');
  }
}

interface PageStream {
  sent: number;
  acknowledged: number;
  /** What the stream ends with. */
  error: Error | undefined;
  /** Lets the sender look again. */
  wake: () => void;
}

export interface PageSenderOptions {
  readonly port: NatsPort;
  readonly clock: Clock;
  /** A follower that acknowledges nothing for so long is gone. */
  readonly silenceMs: number;
}

/** Sends states page by page, no faster than they are read: each message asks for an acknowledgement of its place. */
export class PageSender {
  readonly #options: PageSenderOptions;
  readonly #streams = new Map<string, PageStream>();
  readonly #inbox: string;
  readonly #stopInbox: () => void;
  #begun = 0;

  constructor(options: PageSenderOptions) {
    this.#options = options;
    this.#inbox = options.port.newInbox();
    this.#stopInbox = options.port.subscribe(`${this.#inbox}.*.*`, (message) => this.#onAcknowledged(message));
  }

  /**
   * Resolves once all of `pages` was read by who listens at `subject`. Between two pages the event loop turns.
   * Rejects with FollowerGone, NatsDisconnected, and with what making a page throws.
   */
  async send(subject: string, pages: Iterable<Buffer>): Promise<void> {
    const { port } = this.#options;
    const id = String(this.#begun++);
    const stream: PageStream = { sent: 0, acknowledged: 0, error: undefined, wake: () => {} };
    this.#streams.set(id, stream);
    try {
      for (const page of pages) {
        for (const part of splitMessage(page, port.server.maxPayloadBytes)) {
          // One part goes in any case, or one longer than the credit never could.
          await this.#until(stream, () => stream.sent + part.length - stream.acknowledged <= SYNC_CREDIT_BYTES);
          if (!port.connected) throw new NatsDisconnected();
          stream.sent += part.length;
          port.publish(subject, part, { reply: `${this.#inbox}.${id}.${stream.sent}` });
        }
        await nextTurn();
      }
      await this.#until(stream, () => false);
    } finally {
      this.#streams.delete(id);
    }
  }

  disconnected(): void {
    this.#end(new NatsDisconnected());
  }

  close(): void {
    this.#stopInbox();
    this.#end(new FollowerGone());
  }

  #end(error: Error): void {
    for (const stream of this.#streams.values()) {
      stream.error ??= error;
      stream.wake();
    }
  }

  /** Resolves once `enough`, or all was acknowledged. Throws FollowerGone, and what ends the stream. */
  async #until(stream: PageStream, enough: () => boolean): Promise<void> {
    const { clock, silenceMs } = this.#options;
    while (stream.error === undefined && stream.acknowledged < stream.sent && !enough()) {
      await new Promise<void>((resolve) => {
        const timer = clock.setTimeout(() => {
          stream.error ??= new FollowerGone();
          resolve();
        }, silenceMs);
        stream.wake = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    if (stream.error !== undefined) throw stream.error;
  }

  #onAcknowledged({ subject, status }: NatsMessage): void {
    const [id = '', bytes] = subject.slice(this.#inbox.length + 1).split('.');
    const stream = this.#streams.get(id);
    const place = Number(bytes);
    if (stream === undefined || !(place <= stream.sent)) return;
    if (status === NO_RESPONDERS) stream.error ??= new FollowerGone();
    else stream.acknowledged = Math.max(stream.acknowledged, place);
    stream.wake();
  }
}

export interface PageReceiverOptions {
  readonly port: NatsPort;
  readonly clock: Clock;
  readonly onState: (state: TrackState) => void;
  /** With a StatusError if the server rejected; nothing comes after it. */
  readonly onError: (error: unknown) => void;
}

/** Reads the messages of one state as they come, one in a turn of the event loop, and acknowledges each when it is read. */
export class PageReceiver {
  readonly #options: PageReceiverOptions;
  readonly #reader = new TrackStateReader();
  readonly #chunks: Reassembler;
  #unread: { readonly data: Buffer; readonly acknowledge: string }[] = [];
  #unreadBytes = 0;
  #turn: NodeJS.Immediate | undefined;
  #ended = false;

  constructor(options: PageReceiverOptions) {
    this.#options = options;
    this.#chunks = new Reassembler({ clock: options.clock, maxPendingBytes: CHUNKED_PAGE_BYTES_MAX });
  }

  /** Nothing of `message` is kept but a copy of its bytes. */
  take(message: NatsMessage): void {
    if (this.#ended) return;
    this.#unreadBytes += message.data.length;
    if (this.#unreadBytes > UNREAD_BYTES_MAX) {
      this.#fail(new EnvelopeTooLarge(this.#unreadBytes, UNREAD_BYTES_MAX));
      return;
    }
    this.#unread.push({ data: Buffer.from(message.data), acknowledge: message.reply });
    this.#turn ??= setImmediate(() => this.#readOne());
  }

  /** Reads nothing any more. */
  end(): void {
    this.#ended = true;
    this.#unread = [];
    clearImmediate(this.#turn);
  }

  #readOne(): void {
    const { port, onState } = this.#options;
    const next = this.#unread.shift();
    this.#turn = this.#unread.length === 0 ? undefined : setImmediate(() => this.#readOne());
    if (next === undefined) return;
    this.#unreadBytes -= next.data.length;
    try {
      const state = this.#read(next.data);
      if (next.acknowledge !== '' && port.connected) port.publish(next.acknowledge, ACKNOWLEDGED);
      if (state === undefined) return;
      this.end();
      onState(state);
    } catch (error) {
      this.#fail(error);
    }
  }

  #read(data: Buffer): TrackState | undefined {
    const sealed = unseal(data);
    const whole = sealed.kind === MESSAGE_KINDS.chunk ? this.#chunks.add(sealed) : sealed;
    if (whole === undefined) return undefined;
    if (whole.kind !== MESSAGE_KINDS.reply) return this.#reader.add(whole.bytes);
    // It throws what the server rejected with: what a server gives comes in pages.
    decodeReply('sync', [whole.bytes]);
    return undefined;
  }

  #fail(error: unknown): void {
    this.end();
    this.#options.onError(error);
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
