import { IncomingMessage, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import { pipeline, type Readable } from 'node:stream';
import type { ClientConnection } from './client-connection.ts';
import { discardingStream } from './discarding-stream.ts';
import type { ClientStream, Exchange, ResponseHeaders } from './exchange.ts';
import type { RequestHead } from './request-head.ts';
import { type ResponseHead, responseHead } from './response-head.ts';

/** Most bytes of an unwanted request body that are read to keep its connection; then it is closed. */
const MAX_DISCARDED_BYTES = 4 * 1024 * 1024;

export interface Http1ExchangeOptions {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly head: RequestHead;
  readonly connection: ClientConnection;
}

const RESPONSE_LISTENERS_MAX = 24;

/** A request over HTTP/1.1 (or 1.0). */
export class Http1Exchange implements Exchange {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly httpVersion = '1.1';
  readonly connection: ClientConnection;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  #bodyTaken = false;

  constructor({ request, response, head, connection }: Http1ExchangeOptions) {
    this.method = head.method;
    this.url = head.url;
    this.headers = head.headers;
    this.connection = connection;
    this.#request = request;
    this.#response = response;
    // Node's own pipeline listens half a dozen times, and each part of the edge that waits for the end once.
    response.setMaxListeners(RESPONSE_LISTENERS_MAX);
  }

  get started(): boolean {
    return this.#response.headersSent;
  }

  body(): Readable {
    if (!this.#bodyTaken && this.#expectsContinue && !this.started) this.#response.writeContinue();
    this.#bodyTaken = true;
    return this.#request;
  }

  respond(status: number, headers: ResponseHeaders, body: Buffer | string): void {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    const head = responseHead(this.method, status, headers);
    if (status !== 204 && status !== 304) head.headers['content-length'] ??= String(bytes.length);
    if (!this.#begin(status, head)) return;
    this.#response.end(head.bodiless ? undefined : bytes);
  }

  stream(status: number, headers: ResponseHeaders): ClientStream {
    const head = responseHead(this.method, status, headers);
    const begun = this.#begin(status, head);
    if (head.bodiless) {
      if (begun) this.#response.end();
      return discardingStream((callback) => this.onClose(callback));
    }
    if (begun) this.#response.flushHeaders();
    return new Http1ClientStream(this.#response);
  }

  pipe(status: number, headers: ResponseHeaders, body: Readable): void {
    const head = responseHead(this.method, status, headers);
    if (!this.#begin(status, head)) {
      body.destroy();
      return;
    }
    if (head.bodiless) {
      // Read to its end, so that the upstream connection can be used again.
      body.once('error', () => {}).resume();
      this.#response.end();
      return;
    }
    this.#response.flushHeaders();
    if ('trailer' in head.headers && body instanceof IncomingMessage) {
      body.once('end', () => this.#response.addTrailers(pairs(body.rawTrailers)));
    }
    // A failed or cut-off body destroys the socket, so that the client does not take it for whole, and the reverse.
    pipeline(body, this.#response, () => {});
  }

  abort(): void {
    this.#response.destroy();
  }

  onClose(callback: () => void): void {
    if (this.#response.closed) queueMicrotask(callback);
    else this.#response.once('close', callback);
  }

  get #expectsContinue(): boolean {
    return this.headers.expect?.toLowerCase() === '100-continue';
  }

  /** Hands the head to Node, which sends it with the first bytes; false if the client is gone. */
  #begin(status: number, head: ResponseHead): boolean {
    const response = this.#response;
    if (response.destroyed) return false;
    // A client that was not told to go on may or may not send its body: where the next request begins is unknown.
    const closes = head.closes || this.connection.draining || (this.#expectsContinue && !this.#bodyTaken);
    // Without this Node adds Connection and Keep-Alive of its own.
    if (closes) head.headers['connection'] = 'close';
    else response.removeHeader('connection');
    response.writeHead(status, head.headers);
    this.#discardBody();
    return true;
  }

  /** Reads a body that nobody took, to get at the next request; within bounds. */
  #discardBody(): void {
    const hasBody = 'transfer-encoding' in this.headers || Number(this.headers['content-length'] ?? 0) > 0;
    if (this.#bodyTaken || !hasBody || this.#request.complete) return;
    let left = MAX_DISCARDED_BYTES;
    this.#request.on('data', (bytes: Buffer) => {
      left -= bytes.length;
      if (left < 0) this.connection.socket.destroy();
    });
  }
}

/** A streamed answer over HTTP/1.1. `write` returns false at the socket's high-water mark (64 KiB). */
class Http1ClientStream implements ClientStream {
  readonly #response: ServerResponse;
  #handlers: { onDrain(): void; onClose(): void } | undefined;
  #blocked = false;

  constructor(response: ServerResponse) {
    this.#response = response;
    response.on('drain', () => this.#drained());
    response.once('close', () => this.#handlers?.onClose());
  }

  write(bytes: Buffer): boolean {
    if (this.#response.destroyed || this.#response.writableEnded) return false;
    const flowing = this.#response.write(bytes);
    if (!flowing) this.#blocked = true;
    return flowing;
  }

  end(): void {
    this.#response.end();
  }

  abort(): void {
    this.#response.destroy();
  }

  listen(handlers: { onDrain(): void; onClose(): void }): void {
    this.#handlers = handlers;
    if (this.#response.closed) queueMicrotask(() => handlers.onClose());
  }

  #drained(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.#handlers?.onDrain();
  }
}

/** Node's alternating list as [name, value] pairs. */
function pairs(raw: readonly string[]): [string, string][] {
  return Array.from({ length: raw.length / 2 }, (_, index) => [raw[index * 2]!, raw[index * 2 + 1]!]);
}
