import type { X509Certificate } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Duplex, Readable } from 'node:stream';

/** Response headers, lower case names. */
export type ResponseHeaders = Record<string, string | string[]>;

/** What the connection proved about its peer; verified once per connection, kept for all its requests. */
export interface Connection {
  readonly remoteAddress: string;
  /** Leaf first; empty if the client sent no certificate. Not verified: see client-certificate.ts. */
  peerCertificates(): readonly X509Certificate[];
}

/**
 * The outgoing half of a streamed answer. `write` never buffers without bound on its own: after it returned
 * false the writer keeps its cursor where it is until `onDrain` is called.
 */
export interface ClientStream {
  /** Hands bytes to the socket; the buffer may be shared and must not change. False: stop until drained. */
  write(bytes: Buffer): boolean;
  /** Clean end (END_STREAM, or the final chunk). */
  end(): void;
  /** Unclean end (RST_STREAM, or a destroyed socket). */
  abort(): void;
  /** Replaces the callbacks; one owner at a time. `onClose` is called once, also after `end`. */
  listen(handlers: { onDrain(): void; onClose(): void }): void;
}

/** One request and its answer, the same over HTTP/1.1 and HTTP/2. */
export interface Exchange {
  readonly method: string;
  /** Path and query as sent. */
  readonly url: string;
  /**
   * Lower case names; HTTP/2 pseudo headers removed (`host` is filled from `:authority`). `impersonate-*` are arrays
   * with one entry per header line; of several Authorization lines only the first is kept, as in Go.
   */
  readonly headers: IncomingHttpHeaders;
  readonly httpVersion: '1.1' | '2.0';
  readonly connection: Connection;
  /** The request body; empty stream if none. */
  body(): Readable;
  /**
   * A whole answer. Here and below `connection: close` means that no request may follow (GOAWAY on HTTP/2, where 401
   * implies it); framing headers are the server's own, and nothing but `date` is added. All are void if the client is gone.
   */
  respond(status: number, headers: ResponseHeaders, body: Buffer | string): void;
  /** Starts a streamed answer; headers are flushed at once. Without a body (HEAD, 204, 304) writes are discarded. */
  stream(status: number, headers: ResponseHeaders): ClientStream;
  /** As `stream`, as a Writable for piping a proxied body; trailers, HEAD and 304 are the server's to get right. */
  pipe(status: number, headers: ResponseHeaders, body: Readable): void;
  /** Unclean end, whether started or not (RST_STREAM, or a destroyed socket). */
  abort(): void;
  /** Called once when the client is gone or the answer is complete. */
  onClose(callback: () => void): void;
  /** True once headers are out. */
  readonly started: boolean;
}

/** An HTTP/1.1 upgrade (SPDY or WebSocket): the raw socket and what was read past the head. */
export interface UpgradeExchange {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly connection: Connection;
  readonly socket: Duplex;
  readonly head: Buffer;
}
