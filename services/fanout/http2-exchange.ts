import { IncomingMessage, type IncomingHttpHeaders } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import { pipeline, type Readable } from 'node:stream';
import type { ClientConnection } from './client-connection.ts';
import { discardingStream } from './discarding-stream.ts';
import type { ClientStream, Exchange, ResponseHeaders } from './exchange.ts';
import { Http2ClientStream, resetStream } from './http2-client-stream.ts';
import type { RequestHead } from './request-head.ts';
import { type ResponseHead, responseHead } from './response-head.ts';

export interface Http2ExchangeOptions {
  readonly stream: ServerHttp2Stream;
  readonly head: RequestHead;
  readonly connection: ClientConnection;
  /** No request may follow, whatever the answer is. */
  readonly isLast: boolean;
  /** Sends GOAWAY: streams that are open go on, the client dials anew for others. */
  readonly goAway: () => void;
}

/** A request over HTTP/2, on Node's core stream: its compatibility layer costs several KB for each open watch. */
export class Http2Exchange implements Exchange {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly httpVersion = '2.0';
  readonly connection: ClientConnection;
  readonly #stream: ServerHttp2Stream;
  readonly #isLast: boolean;
  readonly #goAway: () => void;

  constructor({ stream, head, connection, isLast, goAway }: Http2ExchangeOptions) {
    this.method = head.method;
    this.url = head.url;
    this.headers = head.headers;
    this.connection = connection;
    this.#stream = stream;
    this.#isLast = isLast;
    this.#goAway = goAway;
  }

  get started(): boolean {
    return this.#stream.headersSent;
  }

  body(): Readable {
    if (this.headers.expect?.toLowerCase() === '100-continue' && !this.started && !this.#gone) {
      this.#stream.additionalHeaders({ ':status': 100 });
    }
    return this.#stream;
  }

  respond(status: number, headers: ResponseHeaders, body: Buffer | string): void {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    const head = responseHead(this.method, status, headers);
    if (status !== 204 && status !== 304) head.headers['content-length'] ??= String(bytes.length);
    const empty = head.bodiless || bytes.length === 0;
    if (!this.#begin(status, head, { endStream: empty })) return;
    if (!empty) this.#stream.end(bytes);
  }

  stream(status: number, headers: ResponseHeaders): ClientStream {
    const head = responseHead(this.method, status, headers);
    this.#begin(status, head, { endStream: head.bodiless });
    if (head.bodiless) return discardingStream((callback) => this.onClose(callback));
    return new Http2ClientStream(this.#stream, this.connection.budget);
  }

  pipe(status: number, headers: ResponseHeaders, body: Readable): void {
    const head = responseHead(this.method, status, headers);
    const trailers = 'trailer' in head.headers && body instanceof IncomingMessage ? body : undefined;
    if (
      !this.#begin(status, head, {
        endStream: head.bodiless,
        waitForTrailers: trailers !== undefined && !head.bodiless,
      })
    ) {
      body.destroy();
      return;
    }
    if (head.bodiless) {
      // Read to its end, so that the upstream connection can be used again.
      body.once('error', () => {}).resume();
      return;
    }
    if (trailers !== undefined) this.#stream.once('wantTrailers', () => this.#stream.sendTrailers(trailers.trailers));
    // A failed or cut-off body destroys the stream, which the client sees as RST_STREAM; a gone client destroys the body.
    pipeline(body, this.#stream, () => {});
  }

  abort(): void {
    resetStream(this.#stream);
  }

  onClose(callback: () => void): void {
    if (this.#stream.destroyed) queueMicrotask(callback);
    else this.#stream.once('close', callback);
  }

  get #gone(): boolean {
    return this.#stream.destroyed || this.#stream.closed;
  }

  /** Sends the head; false if the client is gone. */
  #begin(status: number, head: ResponseHead, options: { endStream: boolean; waitForTrailers?: boolean }): boolean {
    // Unauthenticated clients may not keep an HTTP/2 connection (upstream's UnauthenticatedHTTP2DOSMitigation).
    if (head.closes || status === 401 || this.#isLast) this.#goAway();
    if (this.#gone) return false;
    this.#stream.respond({ ':status': status, ...head.headers }, options);
    return true;
  }
}
