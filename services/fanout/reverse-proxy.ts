import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { badRequest, type StatusBody, StatusError } from '@dogwatch/kube/status.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { answerStatus } from './answer.ts';
import type { Exchange, UpgradeExchange } from './exchange.ts';
import { FailureLog, failureStatus, ownCredentialRefused } from './proxy-failure.ts';
import { forwardedHeaders, returnedHeaders } from './proxy-headers.ts';
import { checkTarget, transportIdentity } from './proxy-target.ts';
import { proxyUpgrade } from './upgrade-proxy.ts';
import type { Caller } from './user.ts';

export interface ReverseProxyOptions {
  readonly upstream: Upstream;
  readonly log: Log;
}

/**
 * Hands requests on to kube-apiserver as they came: same method, path, body and answer, streamed both ways, never sent
 * twice. Both methods answer every failure themselves.
 */
export interface ReverseProxy {
  proxy(exchange: Exchange, caller: Caller): void;
  /** exec, attach, port-forward and WebSocket watches. */
  upgrade(exchange: UpgradeExchange, caller: Caller): void;
}

export function createReverseProxy({ upstream, log }: ReverseProxyOptions): ReverseProxy {
  const failures = new FailureLog(log);
  return {
    proxy: (exchange, caller) => {
      const forwarding = new Forwarding({ upstream, failures, exchange, caller });
      forwarding.start().catch((error: unknown) => forwarding.fail(error));
    },
    upgrade: (exchange, caller) => proxyUpgrade({ upstream, failures, exchange, caller }),
  };
}

interface ForwardingOptions {
  readonly upstream: Upstream;
  readonly failures: FailureLog;
  readonly exchange: Exchange;
  readonly caller: Caller;
}

/** How the length of a body is told. */
type Framing = 'none' | 'length' | 'chunked';

/** One request on its way. */
class Forwarding {
  readonly #upstream: Upstream;
  readonly #failures: FailureLog;
  readonly #exchange: Exchange;
  readonly #caller: Caller;
  /** The client is gone, or has its answer. */
  #closed = false;
  #answered = false;
  #takenBody: Readable | undefined;

  constructor({ upstream, failures, exchange, caller }: ForwardingOptions) {
    this.#upstream = upstream;
    this.#failures = failures;
    this.#exchange = exchange;
    this.#caller = caller;
    exchange.onClose(() => (this.#closed = true));
  }

  async start(): Promise<void> {
    const { method, url, headers, connection } = this.#exchange;
    checkTarget(this.#exchange, this.#upstream.server);
    const identity = transportIdentity(this.#caller);
    const forwarded = forwardedHeaders({
      headers,
      caller: this.#caller,
      remoteAddress: connection.remoteAddress,
      ownHeaders: identity === 'own' ? await this.#upstream.ownHeaders() : {},
    });
    const framing = await this.#framing();
    if (this.#closed) return;
    const request = this.#upstream.forward({
      method,
      path: url,
      headers: { ...forwarded, ...framingHeaders(framing, this.#exchange) },
      identity,
    });
    this.#listen(request);
    if (framing === 'none') request.end();
    else this.#sendBody(request);
  }

  /** No answer from upstream: one of our own, unless one has begun. */
  fail(error: unknown): void {
    if (this.#answered || this.#closed) return;
    const { method } = this.#exchange;
    this.#failures.record(error, method);
    this.#respond(failureStatus(error, method));
  }

  #listen(request: ClientRequest): void {
    let response: IncomingMessage | undefined;
    request.once('response', (incoming) => {
      response = incoming;
      this.#answer(request, incoming);
    });
    // After the head this is a body that upstream did not want to the end; the answer counts.
    request.on('error', (error) => this.fail(error));
    // node:http closes a request without an error if the answer is an unasked 101.
    request.once('close', () => this.fail(new Error('closed without an answer')));
    this.#exchange.onClose(() => {
      // A request that is done has given its connection back.
      if (response?.readableEnded !== true || !request.writableFinished) request.destroy();
    });
  }

  #answer(request: ClientRequest, response: IncomingMessage): void {
    if (this.#closed) return;
    const status = response.statusCode ?? 0;
    if (status === 401 && this.#caller.credential.kind === 'impersonate') {
      this.#upstream.ownCredentialRefused();
      request.destroy();
      this.#respond(ownCredentialRefused());
      return;
    }
    this.#answered = true;
    const headers = returnedHeaders(response);
    // Upstream will not read the rest of the body, nor shall we: the client's connection is of no more use.
    if (!request.writableFinished && !request.shouldKeepAlive && this.#exchange.httpVersion === '1.1') {
      headers['connection'] = 'close';
    }
    this.#exchange.pipe(status, headers, response);
  }

  #sendBody(request: ClientRequest): void {
    const body = this.#body();
    const brokenOff = () => {
      this.#closed = true;
      request.destroy();
    };
    body.once('error', brokenOff);
    body.once('end', () => {
      if (isWhole(body)) request.end();
      else brokenOff();
    });
    body.pipe(request, { end: false });
    request.once('close', () => {
      // Answered before the end of the body: take the rest off the client's connection.
      body.unpipe(request);
      body.resume();
    });
  }

  async #framing(): Promise<Framing> {
    const { 'content-length': length, 'transfer-encoding': coding } = this.#exchange.headers;
    if (coding !== undefined && (length !== undefined || coding.toLowerCase() !== 'chunked')) {
      throw new StatusError(badRequest('a request has either Content-Length or "Transfer-Encoding: chunked"'));
    }
    if (length !== undefined) return length === '0' ? 'none' : 'length';
    if (this.#exchange.httpVersion === '1.1') return coding === undefined ? 'none' : 'chunked';
    // HTTP/2 needs no length: only the first bytes, or their absence, tell.
    return (await hasContent(this.#body())) ? 'chunked' : 'none';
  }

  #body(): Readable {
    this.#takenBody ??= this.#exchange.body();
    return this.#takenBody;
  }

  #respond(status: StatusBody): void {
    this.#answered = true;
    answerStatus(this.#exchange, status);
  }
}

/** Node ends the body of an HTTP/2 stream also when the client, or its connection, broke off. */
function isWhole(body: Readable): boolean {
  const { aborted = false, rstCode = 0 } = body as Readable & { aborted?: boolean; rstCode?: number };
  return !aborted && rstCode === 0;
}

function framingHeaders(framing: Framing, { headers }: Exchange): OutgoingHttpHeaders {
  if (framing === 'none') return headers['content-length'] === undefined ? {} : { 'content-length': '0' };
  if (framing === 'chunked') return { 'transfer-encoding': 'chunked' };
  return { 'content-length': headers['content-length'] };
}

function hasContent(body: Readable): Promise<boolean> {
  if (body.readableLength > 0) return Promise.resolve(true);
  if (body.readableEnded || body.destroyed) return Promise.resolve(false);
  return new Promise((resolve) => {
    const settle = () => {
      for (const event of ['readable', 'end', 'close']) body.off(event, settle);
      resolve(body.readableLength > 0);
    };
    for (const event of ['readable', 'end', 'close']) body.once(event, settle);
  });
}
