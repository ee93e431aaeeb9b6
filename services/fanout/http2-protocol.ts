import type { IncomingHttpHeaders } from 'node:http';
import {
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from 'node:http2';
import type { ClientConnection } from './client-connection.ts';
import type { Exchange } from './exchange.ts';
import { Http2Exchange } from './http2-exchange.ts';
import type { HttpServerLimits } from './http-server-limits.ts';
import type { Protocol, ProtocolConnection } from './protocol.ts';
import { readRequestHead } from './request-head.ts';

export interface Http2ProtocolOptions {
  readonly limits: HttpServerLimits;
  /** See HttpServerOptions. */
  readonly isLast: () => boolean;
  readonly onRequest: (exchange: Exchange) => void;
  /** The session broke: a protocol error, a flood, a lost connection. */
  readonly onSessionError: (error: Error, connection: ClientConnection) => void;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

/** Request bodies are small; upstream gives 256 KiB, proxies at the edge give 64 KiB. */
const STREAM_WINDOW_BYTES = 64 * 1024;
const CONNECTION_WINDOW_BYTES = 1024 * 1024;

/** HTTP/2 over sockets that somebody else accepts. Push and extended CONNECT are never offered. */
export function createHttp2Protocol(options: Http2ProtocolOptions): Protocol {
  const { limits } = options;
  const session: ServerOptions = {
    settings: {
      maxConcurrentStreams: limits.maxStreamsPerConnection,
      initialWindowSize: STREAM_WINDOW_BYTES,
      maxHeaderListSize: limits.maxHeaderBytes,
      enableConnectProtocol: false,
    },
    maxHeaderListPairs: limits.maxHeaderPairs,
    maxSessionMemory: limits.maxSessionMemoryMb,
    // Floods: each ends the session. Node's own defaults are 1000 invalid frames and 100 refused streams.
    maxSessionInvalidFrames: 32,
    maxSessionRejectedStreams: 100,
    maxSettings: 32,
    maxOutstandingPings: 10,
    // CVE-2023-44487. Go's server, upstream's, bounds resets only by the handlers that wait (4 times its streams), so who
    // cancels hundreds of watches a second works there and has to here: 1000 at once, then 500 a second.
    streamResetBurst: 1000,
    streamResetRate: 500,
  };
  return {
    accept: (connection) =>
      new Http2Connection(performServerHandshake(connection.socket, session), connection, options),
    close() {},
  };
}

class Http2Connection implements ProtocolConnection {
  readonly #session: ServerHttp2Session;
  readonly #connection: ClientConnection;
  readonly #limits: HttpServerLimits;
  readonly #isLast: () => boolean;
  readonly #onRequest: (exchange: Exchange) => void;
  readonly #now: () => number;
  #idleSince: number;
  #heardAt: number;
  #heardBytes = 0;
  #pingedAt: number | undefined;

  constructor(session: ServerHttp2Session, connection: ClientConnection, options: Http2ProtocolOptions) {
    this.#session = session;
    this.#connection = connection;
    this.#limits = options.limits;
    this.#isLast = options.isLast;
    this.#onRequest = options.onRequest;
    this.#now = options.now;
    this.#idleSince = options.now();
    this.#heardAt = this.#idleSince;
    session.on('error', (error) => options.onSessionError(error, connection));
    session.once('connect', () => session.setLocalWindowSize(CONNECTION_WINDOW_BYTES));
    session.on('stream', (stream, headers, _flags, rawHeaders) => {
      this.#serve(stream as ServerHttp2Stream, headers, rawHeaders);
    });
  }

  drain(): void {
    this.#connection.draining = true;
    this.#goAway();
  }

  check(now: number): void {
    if (this.#session.destroyed) return;
    if (this.#connection.openExchanges === 0 && now - this.#idleSince >= this.#limits.idleTimeoutMs) this.#goAway();
    const { bytesRead } = this.#connection.socket;
    if (bytesRead !== this.#heardBytes) {
      this.#heardBytes = bytesRead;
      this.#heardAt = now;
      this.#pingedAt = undefined;
    } else if (this.#pingedAt !== undefined) {
      if (now - this.#pingedAt >= this.#limits.pingTimeoutMs) this.#connection.socket.destroy();
    } else if (now - this.#heardAt >= this.#limits.pingIntervalMs) {
      this.#pingedAt = now;
      // The answer shows in bytesRead, as anything else does that the client sends.
      this.#session.ping(() => {});
    }
  }

  readonly #goAway = (): void => {
    this.#session.close();
  };

  #serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void {
    this.#connection.openExchanges += 1;
    // The close event says what there is to say; without a listener an error would end the process.
    stream.on('error', () => {});
    stream.once('close', () => {
      this.#connection.openExchanges -= 1;
      if (this.#connection.openExchanges === 0) this.#idleSince = this.#now();
    });
    const head = readHead(headers, rawHeaders, this.#limits.maxHeaderPairs);
    if ('status' in head) {
      stream.respond({ ':status': head.status, 'content-type': 'text/plain' });
      stream.end(`${head.reason}\n`);
      return;
    }
    const isLast = this.#isLast();
    this.#onRequest(new Http2Exchange({ stream, head, connection: this.#connection, isLast, goAway: this.#goAway }));
  }
}

/** As over HTTP/1.1: pseudo headers become method, target and Host. */
function readHead(
  headers: IncomingHttpHeaders,
  rawHeaders: readonly string[],
  maxHeaderPairs: number,
): ReturnType<typeof readRequestHead> {
  const { ':method': method, ':path': target, ':authority': authority, ':scheme': _scheme, ...rest } = headers;
  // RFC 9113 8.3.1: a Host that differs from :authority makes the request malformed.
  if (authority !== undefined && rest.host !== undefined && rest.host !== authority) {
    return { status: 400, reason: 'the Host header differs from :authority' };
  }
  if (typeof authority === 'string') rest.host = authority;
  return readRequestHead({
    method: String(method),
    target: String(target ?? ''),
    headers: rest,
    rawHeaders,
    maxHeaderPairs,
  });
}
