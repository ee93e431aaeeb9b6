import { constants } from 'node:crypto';
import type { AddressInfo, Socket } from 'node:net';
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { ClientConnection } from './client-connection.ts';
import type { Exchange, UpgradeExchange } from './exchange.ts';
import { createHttp1Protocol } from './http1-protocol.ts';
import { createHttp2Protocol } from './http2-protocol.ts';
import { defaultHttpServerLimits, type HttpServerLimits } from './http-server-limits.ts';
import { ListenError } from './listen-error.ts';
import type { Protocol, ProtocolConnection } from './protocol.ts';

export interface HttpServerOptions {
  readonly tls: {
    /** PEM. */
    readonly cert: Buffer;
    readonly key: Buffer;
    /** Ask clients for a certificate; it is presented, not verified: see client-certificate.ts. */
    readonly requestClientCertificate: boolean;
  };
  readonly address: string;
  /** 0: any free one. */
  readonly port: number;
  readonly limits?: Partial<HttpServerLimits>;
  /** Asked for each HTTP/2 request: whether its connection gets GOAWAY with the head of its answer (row H9). Default: never. */
  readonly isLast?: () => boolean;
  /** What it throws, or rejects with, becomes a 500 or an aborted answer, and is logged. */
  readonly onRequest: (exchange: Exchange) => void | Promise<void>;
  /** A WebSocket or SPDY upgrade; the socket is the receiver's to answer, end and watch for errors. */
  readonly onUpgrade: (exchange: UpgradeExchange) => void | Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

export interface HttpServer {
  /**
   * Listens until `signal` aborts. Then: no new connections; GOAWAY, or `Connection: close`, on all; the answers under
   * way may end within the grace; the rest is cut. Rejects with ListenError.
   */
  run(signal: AbortSignal): Promise<void>;
  /** Where it listens; rejects as `run` does. */
  readonly listening: Promise<{ readonly address: string; readonly port: number }>;
  /** Connections past their handshake. */
  readonly connectionCount: number;
  /** Connections turned away at the bound, since the start. */
  readonly refusedConnections: number;
}

const CHECK_INTERVAL_MS = 1_000;
const TCP_KEEPALIVE_MS = 180_000;
/** Forward secrecy and authenticated encryption only; TLS 1.3 first. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/** HTTP/1.1 and HTTP/2 over TLS on one port. */
export function createHttpServer(options: HttpServerOptions): HttpServer {
  return new TlsHttpServer(options);
}

class TlsHttpServer implements HttpServer {
  readonly listening: Promise<{ readonly address: string; readonly port: number }>;
  refusedConnections = 0;
  readonly #options: HttpServerOptions;
  readonly #limits: HttpServerLimits;
  readonly #server: Server;
  readonly #http1: Protocol;
  readonly #http2: Protocol;
  readonly #sockets = new Set<Socket>();
  readonly #connections = new Map<ClientConnection, ProtocolConnection>();
  readonly #listening = Promise.withResolvers<{ readonly address: string; readonly port: number }>();
  #draining = false;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#limits = { ...defaultHttpServerLimits, ...options.limits };
    this.listening = this.#listening.promise;
    // run() rejects with the same error, so nobody needs to wait for this one.
    this.listening.catch(() => {});
    const { clock, log, onUpgrade } = options;
    this.#http1 = createHttp1Protocol({
      limits: this.#limits,
      onRequest: (exchange) => void this.#serve(exchange),
      onUpgrade: (exchange) =>
        void this.#guard(
          async () => onUpgrade(exchange),
          exchange,
          () => exchange.socket.destroy(),
        ),
    });
    this.#http2 = createHttp2Protocol({
      limits: this.#limits,
      isLast: options.isLast ?? (() => false),
      onRequest: (exchange) => void this.#serve(exchange),
      onSessionError: (err, { remoteAddress }) => log.debug({ err, remoteAddress }, 'HTTP/2 session failed'),
      now: () => clock.now(),
    });
    this.#server = createServer(tlsOptions(options, this.#limits));
    this.#server.maxConnections = this.#limits.maxConnections;
    this.#server.on('connection', (socket) => this.#track(socket));
    this.#server.on('secureConnection', (socket) => this.#accept(socket));
    this.#server.on('tlsClientError', (err, socket) => {
      log.debug({ err, remoteAddress: socket.remoteAddress }, 'TLS handshake failed');
      socket.destroy();
    });
    this.#server.on('drop', () => this.#refused());
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { address, port, clock } = this.#options;
    try {
      await this.#listen(address, port);
    } catch (error) {
      this.#http1.close();
      this.#listening.reject(error);
      throw error;
    }
    const { address: boundAddress, port: boundPort } = this.#server.address() as AddressInfo;
    this.#listening.resolve({ address: boundAddress, port: boundPort });
    const checks = clock.setInterval(() => {
      const now = clock.now();
      for (const connection of this.#connections.values()) connection.check(now);
    }, CHECK_INTERVAL_MS);
    await aborted(signal);
    await this.#drain();
    checks.cancel();
    this.#http1.close();
  }

  #listen(address: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause) => reject(ListenError.from(cause, address, port)));
      this.#server.listen({ host: address, port }, () => {
        // Later errors are those of accept (no file descriptors, say): the listener lives on.
        this.#server.removeAllListeners('error');
        this.#server.on('error', (err) => this.#options.log.error({ err }, 'cannot accept connections'));
        resolve();
      });
    });
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    for (const connection of this.#connections.values()) connection.drain();
    const grace = this.#options.clock.setTimeout(() => {
      for (const { socket } of this.#connections.keys()) socket.destroy();
      for (const socket of this.#sockets) socket.destroy();
    }, this.#limits.shutdownGraceMs);
    await closed;
    grace.cancel();
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  #refused(): void {
    this.refusedConnections += 1;
    if (this.refusedConnections % 1000 !== 1) return;
    const { maxConnections } = this.#limits;
    this.#options.log.warn(
      { maxConnections, refused: this.refusedConnections },
      'too many connections, new ones are closed',
    );
  }

  #accept(socket: TLSSocket): void {
    // CVE-2025-59465: a TLS socket under HTTP/2 needs a listener of its own.
    socket.on('error', (err) => this.#options.log.debug({ err }, 'connection failed'));
    if (this.#draining) {
      socket.destroy();
      return;
    }
    const connection = new ClientConnection(socket, this.#limits.unflushedBytesPerConnection);
    const protocol = socket.alpnProtocol === 'h2' ? this.#http2 : this.#http1;
    this.#connections.set(connection, protocol.accept(connection));
    socket.once('close', () => this.#connections.delete(connection));
  }

  #serve(exchange: Exchange): Promise<void> {
    return this.#guard(
      async () => this.#options.onRequest(exchange),
      exchange,
      () => {
        if (exchange.started) exchange.abort();
        else
          exchange.respond(
            500,
            { 'content-type': 'text/plain; charset=utf-8' },
            'This request caused dogwatch to fail. Look in its log for details.\n',
          );
      },
    );
  }

  async #guard(
    serve: () => Promise<void>,
    { method, url }: Exchange | UpgradeExchange,
    fail: () => void,
  ): Promise<void> {
    try {
      await serve();
    } catch (err) {
      this.#options.log.error({ err, method, path: url.split('?', 1)[0] }, 'request failed unexpectedly');
      fail();
    }
  }
}

function tlsOptions({ tls }: HttpServerOptions, limits: HttpServerLimits): TlsOptions {
  return {
    cert: tls.cert,
    key: tls.key,
    // Verified by client-certificate.ts: OpenSSL's verdict is lost, or wrong, in resumed sessions. An empty list of
    // authorities lets every client send the certificate it has.
    requestCert: tls.requestClientCertificate,
    rejectUnauthorized: false,
    ca: [],
    // Not ALPNProtocols: Node copies that into its buffer pool for each connection, which then keeps 64 KiB alive.
    ALPNCallback: ({ protocols }) => ['h2', 'http/1.1'].find((known) => protocols.includes(known)),
    minVersion: 'TLSv1.2',
    ciphers: CIPHERS,
    // No tickets, so no resumption: a resumed TLS 1.3 session without a certificate counts as authorized
    // (nodejs/node#35317), and a resumed one outlives the certificate. No renegotiation: an identity is for good.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    handshakeTimeout: limits.handshakeTimeoutMs,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: TCP_KEEPALIVE_MS,
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
