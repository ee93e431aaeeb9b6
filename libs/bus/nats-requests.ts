import { StatusError, serviceUnavailable } from '@dogwatch/kube/status.ts';
import type { Clock, Timer } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { type LaneRequestKind, type LaneRequests, NoResponder } from './bus.ts';
import { NatsDisconnected, type NatsMessage, type NatsPort } from './nats-port.ts';
import { requestSubject } from './nats-subject.ts';
import { FollowerGone, PageReceiver, PageSender } from './nats-sync.ts';
import { decodeReply, decodeRequest, encodeReply, encodeRequest } from './request-codec.ts';
import { encodeTrackState } from './track-state-codec.ts';
import type { TrackState } from './track-state.ts';
import { Turns } from './turns.ts';

/** All processes that serve a kind share the work: each request goes to one of them. */
const QUEUE = 'servers';
const NO_RESPONDERS = 503;
/** An empty message says that the server is still at work. */
const STILL_AT_WORK = Buffer.alloc(0);
/** States sent at once, and followers that wait for their turn. */
const SYNCS_SERVED = { atOnce: 8, waitingMax: 256 };
/** States asked for at once: what is on its way to one process stays far below what a server holds for a client. */
const SYNCS_ASKED_AT_ONCE = 4;

export interface RequestOptions {
  readonly port: NatsPort;
  readonly clock: Clock;
  readonly log: Log;
  readonly prefix: string;
  /** A server at work says so this often. */
  readonly signOfLifeMs: number;
  /** A server from which nothing came for so long is taken for dead. */
  readonly silenceMs: number;
  /** Nobody waits longer than this for an answer, or for the next page of a state. */
  readonly answerMs: number;
  /** Requests under way, asked or served; more are refused. */
  readonly maxRequests: number;
}

interface Pending {
  readonly kind: LaneRequestKind;
  readonly to: string | undefined;
  readonly parts: Buffer[];
  /** Of a state. */
  readonly pages: PageReceiver | undefined;
  deadline: number;
  silence: Timer;
  readonly settle: (outcome: { readonly reply: unknown } | { readonly error: unknown }) => void;
}

type Handler = (request: never) => Promise<unknown>;

interface Server {
  readonly kind: LaneRequestKind;
  readonly handler: Handler;
}

/**
 * Requests over NATS. An answer is a message or several to the inbox of the request; until then the server shows that
 * it lives, so that a long request may take its time and a dead server is noticed soon. The state of a track, which may
 * be gigabytes, comes in pages as fast as they are read.
 */
export class NatsRequests {
  readonly #options: RequestOptions;
  /** By kind and name. */
  readonly #servers = new Map<string, Server>();
  readonly #pending = new Map<string, Pending>();
  readonly #inbox: string;
  readonly #stopInbox: () => void;
  #asked = 0;
  /** Of requests being served: what shows that this server lives. */
  readonly #serving = new Set<Timer>();
  readonly #pages: PageSender;
  readonly #syncsServed = new Turns(SYNCS_SERVED);
  readonly #syncsAsked: Turns;

  constructor(options: RequestOptions) {
    this.#options = options;
    this.#pages = new PageSender(options);
    this.#syncsAsked = new Turns({ atOnce: SYNCS_ASKED_AT_ONCE, waitingMax: options.maxRequests });
    this.#inbox = options.port.newInbox();
    this.#stopInbox = options.port.subscribe(`${this.#inbox}.*`, (message) => this.#onAnswer(message));
  }

  /** Throws NoResponder, and StatusError for all else. */
  async request<K extends LaneRequestKind>(
    kind: K,
    request: LaneRequests[K]['request'],
    to?: string,
  ): Promise<LaneRequests[K]['reply']> {
    if (kind !== 'sync') return await this.#ask(kind, request, to);
    return await this.#syncsAsked.run(() => this.#ask(kind, request, to), tooMany);
  }

  serve<K extends LaneRequestKind>(
    kind: K,
    handler: (request: LaneRequests[K]['request']) => Promise<LaneRequests[K]['reply']>,
    as?: string,
  ): () => void {
    const key = JSON.stringify([kind, as]);
    if (this.#servers.has(key)) throw new Error(`"${kind}" requests are answered already`);
    const { port, prefix } = this.#options;
    const server = { kind, handler: handler as Handler };
    this.#servers.set(key, server);
    const onMessage = (message: NatsMessage): void => void this.#answer(server, message);
    const subscriptions = [port.subscribe(requestSubject(prefix, kind, undefined), onMessage, QUEUE)];
    if (as !== undefined) subscriptions.push(port.subscribe(requestSubject(prefix, kind, as), onMessage));
    return () => {
      if (this.#servers.get(key) !== server) return;
      this.#servers.delete(key);
      for (const unsubscribe of subscriptions) unsubscribe();
    };
  }

  /** To be called when the connection broke: an answer may have been lost. */
  disconnected(): void {
    this.#pages.disconnected();
    for (const { settle } of this.#pending.values()) settle({ error: unavailable('disconnected from NATS') });
  }

  close(): void {
    this.#stopInbox();
    this.#pages.close();
    for (const turns of [this.#syncsServed, this.#syncsAsked]) turns.clear(unavailable('the bus is closed'));
    for (const life of this.#serving) life.cancel();
    for (const { settle } of this.#pending.values()) settle({ error: unavailable('the bus is closed') });
  }

  #ask<K extends LaneRequestKind>(
    kind: K,
    request: LaneRequests[K]['request'],
    to: string | undefined,
  ): Promise<LaneRequests[K]['reply']> {
    const { port, clock, prefix, answerMs, maxRequests } = this.#options;
    if (!port.connected) return Promise.reject(unavailable('disconnected from NATS'));
    if (this.#pending.size >= maxRequests) return Promise.reject(tooMany());
    const id = String(this.#asked++);
    return new Promise((resolve, reject) => {
      const settle: Pending['settle'] = (outcome) => {
        pending.silence.cancel();
        pending.pages?.end();
        this.#pending.delete(id);
        if ('reply' in outcome) resolve(outcome.reply as LaneRequests[K]['reply']);
        else reject(outcome.error as Error);
      };
      const pending: Pending = {
        kind,
        to,
        parts: [],
        pages: kind === 'sync' ? this.#receiver(settle) : undefined,
        deadline: clock.now() + answerMs,
        silence: this.#awaitSign(id, kind),
        settle,
      };
      this.#pending.set(id, pending);
      try {
        const bytes = encodeRequest(kind, request);
        const { maxPayloadBytes } = port.server;
        if (bytes.length > maxPayloadBytes) throw tooLong(kind, bytes.length, maxPayloadBytes);
        port.publish(requestSubject(prefix, kind, to), bytes, { reply: `${this.#inbox}.${id}` });
      } catch (error) {
        settle({ error });
      }
    });
  }

  #receiver(settle: Pending['settle']): PageReceiver {
    const { port, clock } = this.#options;
    return new PageReceiver({
      port,
      clock,
      onState: (reply) => settle({ reply }),
      onError: (error) => settle({ error: rejectionOf(error) }),
    });
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
    if (pending.pages !== undefined) {
      pending.deadline = this.#options.clock.now() + this.#options.answerMs;
      pending.pages.take(message);
      return;
    }
    pending.parts.push(Buffer.from(message.data));
    try {
      const answer = decodeReply(pending.kind, pending.parts);
      if (answer !== undefined) pending.settle(answer);
    } catch (error) {
      pending.settle({ error: rejectionOf(error) });
    }
  }

  async #answer(server: Server, message: NatsMessage): Promise<void> {
    const { port, clock, log, signOfLifeMs } = this.#options;
    const { kind } = server;
    const { reply } = message;
    const sign = (): void => {
      if (port.connected) port.publish(reply, STILL_AT_WORK);
    };
    const life = clock.setInterval(sign, signOfLifeMs);
    this.#serving.add(life);
    try {
      const outcome = await this.#outcome(server, message);
      if (outcome === 'sent') return;
      const parts = encodeReply(kind, outcome as never, port.server);
      if (port.connected) for (const part of parts) port.publish(reply, part);
      else log.debug({ kind }, 'an answer has nowhere to go: disconnected from NATS');
    } catch (error) {
      log.error({ kind, err: error }, 'an answer could not be sent');
    } finally {
      this.#serving.delete(life);
      life.cancel();
    }
  }

  async #outcome({ kind, handler }: Server, { data, reply }: NatsMessage): Promise<object | 'sent'> {
    if (this.#serving.size > this.#options.maxRequests) return { error: tooMany() };
    try {
      const decoded = decodeRequest(data);
      if (decoded.kind !== kind) throw new Error(`a "${decoded.kind}" request where "${kind}" requests belong`);
      const { request } = decoded;
      if (kind !== 'sync') return { reply: await handler(request as never) };
      await this.#syncsServed.run(async () => {
        const state = (await handler(request as never)) as TrackState;
        await this.#pages.send(reply, encodeTrackState(state));
      }, tooMany);
      return 'sent';
    } catch (error) {
      if (!(error instanceof FollowerGone || error instanceof NatsDisconnected)) return { error };
      this.#options.log.debug({ kind, err: error }, 'an answer was not taken');
      return 'sent';
    }
  }
}

/** What came for an answer: a rejection, or bytes that are none of an answer. */
function rejectionOf(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  return unavailable(`an answer could not be read: ${error instanceof Error ? error.message : String(error)}`);
}

function tooMany(): StatusError {
  return unavailable('too many requests on the bus');
}

function tooLong(kind: LaneRequestKind, bytes: number, maxBytes: number): StatusError {
  return unavailable(
    `a "${kind}" request of ${bytes} bytes is longer than the ${maxBytes} NATS takes: raise max_payload of its servers`,
  );
}

function unavailable(message: string): StatusError {
  return new StatusError(serviceUnavailable(message, 1));
}
