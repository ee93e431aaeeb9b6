import { StatusError, serviceUnavailable } from '@dogwatch/kube/status.ts';
import type { Clock, Timer } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { type LaneRequestKind, type LaneRequests, NoResponder } from './bus.ts';
import type { NatsMessage, NatsPort } from './nats-port.ts';
import { requestSubject } from './nats-subject.ts';
import { decodeReply, decodeRequest, encodeReply, encodeRequest } from './request-codec.ts';

/** All processes that serve a kind share the work: each request goes to one of them. */
const QUEUE = 'servers';
const NO_RESPONDERS = 503;
/** An empty message says that the server is still at work. */
const STILL_AT_WORK = Buffer.alloc(0);

export interface RequestOptions {
  readonly port: NatsPort;
  readonly clock: Clock;
  readonly log: Log;
  readonly prefix: string;
  /** A server at work says so this often. */
  readonly signOfLifeMs: number;
  /** A server from which nothing came for so long is taken for dead. */
  readonly silenceMs: number;
  /** Nobody waits longer than this for an answer. */
  readonly answerMs: number;
  /** Requests under way, asked or served; more are refused. */
  readonly maxRequests: number;
}

interface Pending {
  readonly kind: LaneRequestKind;
  readonly to: string | undefined;
  readonly parts: Buffer[];
  readonly deadline: number;
  silence: Timer;
  readonly settle: (outcome: { readonly reply: unknown } | { readonly error: unknown }) => void;
}

type Handler = (request: never) => Promise<unknown>;

/**
 * Requests over NATS. An answer is a message or several to the inbox of the request; until then the server shows that
 * it lives, so that a long request may take its time and a dead server is noticed soon.
 */
export class NatsRequests {
  readonly #options: RequestOptions;
  readonly #handlers = new Map<LaneRequestKind, Handler>();
  readonly #pending = new Map<string, Pending>();
  readonly #inbox: string;
  readonly #stopInbox: () => void;
  #asked = 0;
  /** Of requests being served: what shows that this server lives. */
  readonly #serving = new Set<Timer>();

  constructor(options: RequestOptions) {
    this.#options = options;
    this.#inbox = options.port.newInbox();
    this.#stopInbox = options.port.subscribe(`${this.#inbox}.*`, (message) => this.#onAnswer(message));
  }

  /** Throws NoResponder, and StatusError for all else. */
  request<K extends LaneRequestKind>(
    kind: K,
    request: LaneRequests[K]['request'],
    to?: string,
  ): Promise<LaneRequests[K]['reply']> {
    const { port, clock, prefix, answerMs, maxRequests } = this.#options;
    if (!port.connected) return Promise.reject(unavailable('disconnected from NATS'));
    if (this.#pending.size >= maxRequests) return Promise.reject(unavailable('too many requests on the bus'));
    const id = String(this.#asked++);
    return new Promise((resolve, reject) => {
      const pending: Pending = {
        kind,
        to,
        parts: [],
        deadline: clock.now() + answerMs,
        silence: this.#awaitSign(id, kind),
        settle: (outcome) => {
          pending.silence.cancel();
          this.#pending.delete(id);
          if ('reply' in outcome) resolve(outcome.reply as LaneRequests[K]['reply']);
          else reject(outcome.error as Error);
        },
      };
      this.#pending.set(id, pending);
      try {
        const bytes = encodeRequest(kind, request);
        port.publish(requestSubject(prefix, kind, to), bytes, { reply: `${this.#inbox}.${id}` });
      } catch (error) {
        pending.settle({ error });
      }
    });
  }

  serve<K extends LaneRequestKind>(
    kind: K,
    handler: (request: LaneRequests[K]['request']) => Promise<LaneRequests[K]['reply']>,
    as?: string,
  ): () => void {
    if (this.#handlers.has(kind)) throw new Error(`"${kind}" requests are answered already`);
    const { port, prefix } = this.#options;
    this.#handlers.set(kind, handler as Handler);
    const onMessage = (message: NatsMessage): void => void this.#answer(kind, handler as Handler, message);
    const subscriptions = [port.subscribe(requestSubject(prefix, kind, undefined), onMessage, QUEUE)];
    if (as !== undefined) subscriptions.push(port.subscribe(requestSubject(prefix, kind, as), onMessage));
    return () => {
      if (this.#handlers.get(kind) !== (handler as Handler)) return;
      this.#handlers.delete(kind);
      for (const unsubscribe of subscriptions) unsubscribe();
    };
  }

  /** To be called when the connection broke: an answer may have been lost. */
  disconnected(): void {
    for (const { settle } of this.#pending.values()) settle({ error: unavailable('disconnected from NATS') });
  }

  close(): void {
    this.#stopInbox();
    for (const life of this.#serving) life.cancel();
    for (const { settle } of this.#pending.values()) settle({ error: unavailable('the bus is closed') });
  }

  #awaitSign(id: string, kind: LaneRequestKind): Timer {
    const { clock, silenceMs } = this.#options;
    return clock.setTimeout(
      () => this.#pending.get(id)?.settle({ error: unavailable(`no sign of whoever answers "${kind}" requests`) }),
      silenceMs,
    );
  }

  #onAnswer(message: NatsMessage): void {
    const id = message.subject.slice(this.#inbox.length + 1);
    const pending = this.#pending.get(id);
    // Of a request that was given up.
    if (pending === undefined) return;
    if (message.status === NO_RESPONDERS) {
      pending.settle({ error: new NoResponder(pending.kind, pending.to) });
      return;
    }
    if (this.#options.clock.now() > pending.deadline) {
      pending.settle({ error: unavailable(`a "${pending.kind}" request was not answered in time`) });
      return;
    }
    pending.silence.cancel();
    pending.silence = this.#awaitSign(id, pending.kind);
    if (message.data.length === 0) return;
    pending.parts.push(Buffer.from(message.data));
    try {
      const answer = decodeReply(pending.kind, pending.parts);
      if (answer !== undefined) pending.settle(answer);
    } catch (error) {
      pending.settle({ error });
    }
  }

  async #answer(kind: LaneRequestKind, handler: Handler, message: NatsMessage): Promise<void> {
    const { port, clock, log, signOfLifeMs } = this.#options;
    const { reply } = message;
    const sign = (): void => {
      if (port.connected) port.publish(reply, STILL_AT_WORK);
    };
    const life = clock.setInterval(sign, signOfLifeMs);
    this.#serving.add(life);
    try {
      const outcome = await this.#outcome(kind, handler, message);
      const { maxPayloadBytes } = port.server;
      const parts = encodeReply(kind, outcome as never, { maxPayloadBytes });
      if (port.connected) for (const part of parts) port.publish(reply, part);
      else log.debug({ kind }, 'an answer has nowhere to go: disconnected from NATS');
    } catch (error) {
      log.error({ kind, err: error }, 'an answer could not be sent');
    } finally {
      this.#serving.delete(life);
      life.cancel();
    }
  }

  async #outcome(kind: LaneRequestKind, handler: Handler, message: NatsMessage): Promise<object> {
    if (this.#serving.size > this.#options.maxRequests) return { error: unavailable('too many requests on the bus') };
    try {
      const decoded = decodeRequest(message.data);
      if (decoded.kind !== kind) throw new Error(`a "${decoded.kind}" request where "${kind}" requests belong`);
      return { reply: await handler(decoded.request as never) };
    } catch (error) {
      return { error };
    }
  }
}

function unavailable(message: string): StatusError {
  return new StatusError(serviceUnavailable(message, 1));
}
