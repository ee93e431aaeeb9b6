/** Bounds of the server; what happens at each is said beside it. Times in milliseconds. */
export interface HttpServerLimits {
  /** Open sockets, unfinished handshakes included; further ones are closed at once and counted. */
  readonly maxConnections: number;
  /** Unfinished TLS handshakes are cut. */
  readonly handshakeTimeoutMs: number;
  /** HTTP/1.1 connections whose request head is not complete by then are cut (408). */
  readonly headersTimeoutMs: number;
  /** Bytes of a request's head; 431, or a refused stream. */
  readonly maxHeaderBytes: number;
  /** Header lines of a request; 431, or a refused stream. */
  readonly maxHeaderPairs: number;
  /** HTTP/1.1 requests waiting behind the one being answered; at the bound the connection is cut. */
  readonly maxPipelinedRequests: number;
  /** HTTP/2 streams of a connection; further ones are refused (RFC 9113 5.1.2). */
  readonly maxStreamsPerConnection: number;
  /** Bytes written to a connection's watch streams and not yet taken by its socket; writers wait. */
  readonly unflushedBytesPerConnection: number;
  /** Node's count of an HTTP/2 session's memory, in MB; further streams are refused. */
  readonly maxSessionMemoryMb: number;
  /** Connections without a request are closed. */
  readonly idleTimeoutMs: number;
  /** HTTP/2 connections that were silent for this long get a PING … */
  readonly pingIntervalMs: number;
  /** … and are cut if they stay silent for this long after it. */
  readonly pingTimeoutMs: number;
  /** HTTP/1.1 connections whose socket takes nothing for this long are cut. */
  readonly stallTimeoutMs: number;
  /** At shutdown, what is open after this is cut. */
  readonly shutdownGraceMs: number;
}

export const defaultHttpServerLimits: HttpServerLimits = {
  maxConnections: 10_000,
  handshakeTimeoutMs: 10_000,
  headersTimeoutMs: 32_000,
  maxHeaderBytes: 64 * 1024,
  maxHeaderPairs: 128,
  maxPipelinedRequests: 16,
  maxStreamsPerConnection: 250,
  unflushedBytesPerConnection: 64 * 1024,
  maxSessionMemoryMb: 64,
  idleTimeoutMs: 90_000,
  pingIntervalMs: 30_000,
  pingTimeoutMs: 15_000,
  stallTimeoutMs: 180_000,
  shutdownGraceMs: 10_000,
};
