import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { ClientConnection } from './client-connection.ts';
import type { Exchange, UpgradeExchange } from './exchange.ts';
import { Http1Exchange } from './http1-exchange.ts';
import type { HttpServerLimits } from './http-server-limits.ts';
import type { Protocol, ProtocolConnection } from './protocol.ts';
import { readRequestHead } from './request-head.ts';

export interface Http1ProtocolOptions {
  readonly limits: HttpServerLimits;
  readonly onRequest: (exchange: Exchange) => void;
  readonly onUpgrade: (exchange: UpgradeExchange) => void;
}

interface PipelinedRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** How often unfinished request heads are looked for. */
const CHECK_INTERVAL_MS = 5_000;

/** HTTP/1.1 over sockets that somebody else accepts. */
export function createHttp1Protocol({ limits, onRequest, onUpgrade }: Http1ProtocolOptions): Protocol {
  const connections = new WeakMap<Duplex, Http1Connection>();
  const server = createServer({
    headersTimeout: limits.headersTimeoutMs,
    // A proxied body (an upload through a pod's proxy, say) may take any time, as upstream allows.
    requestTimeout: 0,
    keepAliveTimeout: limits.idleTimeoutMs,
    maxHeaderSize: limits.maxHeaderBytes,
    connectionsCheckingInterval: Math.min(CHECK_INTERVAL_MS, limits.headersTimeoutMs),
    insecureHTTPParser: false,
    // Other upgrades (h2c) are ordinary requests whose offer is passed over (RFC 9110 7.8).
    shouldUpgradeCallback: (request: IncomingMessage) => /^(websocket|spdy\/.*)$/i.test(request.headers.upgrade ?? ''),
  });
  // One more than allowed, so that too many are seen and not silently dropped.
  server.maxHeadersCount = limits.maxHeaderPairs + 1;
  const onHead = (request: IncomingMessage, response: ServerResponse) => {
    connections.get(request.socket)!.arrived({ request, response });
  };
  server.on('request', onHead);
  server.on('checkContinue', onHead);
  server.on('upgrade', (request, socket, head) => connections.get(socket)!.upgrade(request, socket, head));
  server.on('connect', (_request, socket) => refuseRaw(socket, '405 Method Not Allowed'));
  // It never listens itself; this starts its watch over unfinished heads.
  server.emit('listening');

  return {
    accept(connection) {
      const accepted = new Http1Connection({ connection, limits, onRequest, onUpgrade });
      connections.set(connection.socket, accepted);
      server.emit('connection', connection.socket);
      return accepted;
    },
    close() {
      server.close();
    },
  };
}

interface Http1ConnectionOptions extends Http1ProtocolOptions {
  readonly connection: ClientConnection;
}

/** One connection: its requests are answered one after the other, as in Go. */
class Http1Connection implements ProtocolConnection {
  readonly #connection: ClientConnection;
  readonly #socket: TLSSocket;
  readonly #limits: HttpServerLimits;
  readonly #onRequest: (exchange: Exchange) => void;
  readonly #onUpgrade: (exchange: UpgradeExchange) => void;
  readonly #pipelined: PipelinedRequest[] = [];
  #upgraded = false;
  #written = 0;
  #unwritten = 0;
  #progressAt = 0;

  constructor({ connection, limits, onRequest, onUpgrade }: Http1ConnectionOptions) {
    this.#connection = connection;
    this.#socket = connection.socket;
    this.#limits = limits;
    this.#onRequest = onRequest;
    this.#onUpgrade = onUpgrade;
  }

  arrived(pipelined: PipelinedRequest): void {
    if (this.#connection.openExchanges === 0) this.#serve(pipelined);
    else if (this.#pipelined.length < this.#limits.maxPipelinedRequests) this.#pipelined.push(pipelined);
    else this.#socket.destroy();
  }

  upgrade(request: IncomingMessage, socket: Duplex, bytes: Buffer): void {
    const head = this.#head(request);
    if ('status' in head || this.#connection.openExchanges > 0) {
      refuseRaw(socket, '400 Bad Request');
      return;
    }
    this.#upgraded = true;
    this.#onUpgrade({ ...head, connection: this.#connection, socket, head: bytes });
  }

  drain(): void {
    this.#connection.draining = true;
    if (this.#connection.openExchanges === 0 && !this.#upgraded) this.#socket.destroySoon();
  }

  check(now: number): void {
    const { bytesWritten, writableLength } = this.#socket;
    if (writableLength === 0 || bytesWritten !== this.#written || writableLength !== this.#unwritten) {
      this.#written = bytesWritten;
      this.#unwritten = writableLength;
      this.#progressAt = now;
    } else if (now - this.#progressAt >= this.#limits.stallTimeoutMs) {
      this.#socket.destroy();
    }
  }

  #head(request: IncomingMessage): ReturnType<typeof readRequestHead> {
    const { method = '', url = '', headers, rawHeaders } = request;
    return readRequestHead({ method, target: url, headers, rawHeaders, maxHeaderPairs: this.#limits.maxHeaderPairs });
  }

  #serve({ request, response }: PipelinedRequest): void {
    this.#connection.openExchanges += 1;
    // The close event says what there is to say; without a listener an error would end the process.
    request.on('error', () => {});
    response.on('error', () => {});
    response.once('close', () => this.#answered());
    const head = this.#head(request);
    if ('status' in head) {
      response.writeHead(head.status, { 'content-type': 'text/plain', connection: 'close' }).end(`${head.reason}\n`);
      return;
    }
    this.#onRequest(new Http1Exchange({ request, response, head, connection: this.#connection }));
  }

  #answered(): void {
    this.#connection.openExchanges -= 1;
    if (this.#socket.destroyed) return;
    if (this.#connection.draining) {
      this.#socket.destroySoon();
      return;
    }
    const next = this.#pipelined.shift();
    if (next !== undefined) this.#serve(next);
  }
}

function refuseRaw(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
}
