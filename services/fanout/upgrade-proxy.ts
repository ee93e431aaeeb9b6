import { type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, STATUS_CODES } from 'node:http';
import { type Duplex, pipeline, Transform } from 'node:stream';
import { badRequest, type StatusBody, StatusError, statusHeaders } from '@dogwatch/kube/status.ts';
import { statusJson } from '@dogwatch/kube/status-encoding.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import type { ResponseHeaders, UpgradeExchange } from './exchange.ts';
import { type FailureLog, failureStatus, ownCredentialRefused } from './proxy-failure.ts';
import { forwardedHeaders, returnedHeaders, tokens } from './proxy-headers.ts';
import { checkTarget, transportIdentity } from './proxy-target.ts';
import type { Caller } from './user.ts';

/** What kube-apiserver speaks after an upgrade; port-forward tunnels SPDY through the latter. */
const PROTOCOLS: ReadonlySet<string> = new Set(['spdy/3.1', 'websocket']);
/** How long a refused client may take to close its end. */
const LINGER_MS = 5_000;

/** Whether a request asks for an upgrade that is tunnelled. Others (h2c) are for the server to ignore (RFC 9110 7.8). */
function isTunnelUpgrade(headers: IncomingHttpHeaders): boolean {
  return tokens(headers.connection).includes('upgrade') && PROTOCOLS.has(headers.upgrade?.trim().toLowerCase() ?? '');
}

export interface UpgradeProxyOptions {
  readonly upstream: Upstream;
  readonly failures: FailureLog;
  readonly exchange: UpgradeExchange;
  readonly caller: Caller;
}

/**
 * Asks upstream for the upgrade and, if it agrees with 101, joins the two sockets. Every other answer goes to the client
 * as an ordinary one, and then both connections are closed (CVE-2018-1002105); redirects are not passed on
 * (CVE-2020-8559).
 */
export function proxyUpgrade(options: UpgradeProxyOptions): void {
  const upgrade = new Upgrade(options);
  upgrade.start().catch((error: unknown) => upgrade.fail(error));
}

class Upgrade {
  readonly #upstream: Upstream;
  readonly #failures: FailureLog;
  readonly #exchange: UpgradeExchange;
  readonly #caller: Caller;
  readonly #client: Duplex;
  /** The client's socket has an answer, or the beginning of one. */
  #answered = false;
  #stopWatching: () => void = () => undefined;

  constructor({ upstream, failures, exchange, caller }: UpgradeProxyOptions) {
    this.#upstream = upstream;
    this.#failures = failures;
    this.#exchange = exchange;
    this.#caller = caller;
    this.#client = exchange.socket;
    this.#client.on('error', () => this.#client.destroy());
  }

  async start(): Promise<void> {
    const { method, url, headers, connection } = this.#exchange;
    checkUpgrade(this.#exchange, this.#upstream.server);
    const identity = transportIdentity(this.#caller);
    const forwarded = forwardedHeaders({
      headers,
      caller: this.#caller,
      remoteAddress: connection.remoteAddress,
      ownHeaders: identity === 'own' ? await this.#upstream.ownHeaders() : {},
    });
    if (this.#client.destroyed) return;
    const request = this.#upstream.forward({
      method,
      path: url,
      headers: { ...forwarded, connection: 'Upgrade', upgrade: headers.upgrade },
      identity,
      upgrade: true,
    });
    this.#watchClient(request);
    request.once('upgrade', (response, server: Duplex, head: Buffer) => this.#join(server, response, head));
    request.once('response', (response) => this.#answer(response));
    request.on('error', (error) => this.fail(error));
    request.once('close', () => this.fail(new Error('closed without an answer')));
    request.end();
  }

  /** Until there is an answer, a client that closes its end is gone, and its request with it. */
  #watchClient(request: ClientRequest): void {
    const client = this.#client;
    // Makes Node read, up to its buffer's bound, so that it sees the end.
    const read = () => undefined;
    const gone = () => {
      request.destroy();
      client.destroy();
    };
    client.on('readable', read).once('end', gone).once('close', gone);
    this.#stopWatching = () => {
      client.off('readable', read).off('end', gone).off('close', gone);
    };
  }

  /** The client's socket is about to get an answer. */
  #begin(): void {
    this.#answered = true;
    this.#stopWatching();
  }

  fail(error: unknown): void {
    if (this.#answered || this.#client.destroyed) return;
    const { method } = this.#exchange;
    this.#failures.record(error, method);
    this.#refuse(failureStatus(error, method));
  }

  #join(server: Duplex, response: IncomingMessage, head: Buffer): void {
    // Half-closes are passed on, not answered.
    this.#client.allowHalfOpen = true;
    server.allowHalfOpen = true;
    server.on('error', () => server.destroy());
    if (this.#client.destroyed) {
      server.destroy();
      return;
    }
    this.#begin();
    const headers = { ...returnedHeaders(response), connection: 'Upgrade', upgrade: response.headers.upgrade ?? '' };
    this.#client.write(headText(101, headers), 'latin1');
    if (head.length > 0) this.#client.write(head);
    if (this.#exchange.head.length > 0) server.write(this.#exchange.head);
    link(this.#client, server);
    link(server, this.#client);
  }

  /** An answer other than 101. */
  #answer(response: IncomingMessage): void {
    const server = response.socket;
    const status = response.statusCode ?? 0;
    if (this.#client.destroyed) return;
    if (status === 401 && this.#caller.credential.kind === 'impersonate') {
      this.#upstream.ownCredentialRefused();
      server.destroy();
      this.#refuse(ownCredentialRefused());
      return;
    }
    if (status >= 300 && status < 400) {
      server.destroy();
      this.#refuse(badGateway('kube-apiserver answered an upgrade with a redirect, which is not followed'));
      return;
    }
    this.#begin();
    const sized = status === 204 || response.headers['content-length'] !== undefined;
    const framing = sized ? {} : { 'transfer-encoding': 'chunked' };
    this.#client.write(headText(status, { ...returnedHeaders(response), connection: 'close', ...framing }), 'latin1');
    this.#discardRest();
    // A body that breaks off destroys the client's socket, without the last chunk.
    const whenDone = () => server.destroy();
    if (sized) pipeline(response, this.#client, whenDone);
    else pipeline(response, chunked(), this.#client, whenDone);
  }

  /** An answer of our own on the raw socket, which is then closed. */
  #refuse(status: StatusBody): void {
    this.#begin();
    const body = Buffer.from(statusJson(status));
    const headers = {
      'content-type': 'application/json',
      'cache-control': 'no-cache, private',
      ...statusHeaders(status),
      'content-length': String(body.length),
      connection: 'close',
    };
    this.#client.write(headText(status.code ?? 500, headers), 'latin1');
    this.#client.end(body);
    this.#discardRest();
  }

  /** Reads what the client still sends: closing a socket with unread bytes would reset it, and the answer with it. */
  #discardRest(): void {
    const client = this.#client;
    client.resume();
    client.once('finish', () => {
      const timer = setTimeout(() => client.destroy(), LINGER_MS);
      client.once('close', () => clearTimeout(timer));
    });
  }
}

/** Throws StatusError 400 or 405. */
function checkUpgrade(exchange: UpgradeExchange, server: URL): void {
  const { method, headers } = exchange;
  checkTarget(exchange, server);
  if (method !== 'GET' && method !== 'POST') {
    const message = `an upgrade by ${method} is not supported`;
    throw new StatusError({ status: 'Failure', message, reason: 'MethodNotAllowed', code: 405 });
  }
  if (!isTunnelUpgrade(headers))
    throw new StatusError(badRequest('only upgrades to SPDY/3.1 and websocket are supported'));
  // What follows the head belongs to the new protocol; a body would be a second meaning of the same bytes.
  if ((headers['content-length'] ?? '0') !== '0' || headers['transfer-encoding'] !== undefined) {
    throw new StatusError(badRequest('an upgrade must not have a body'));
  }
}

function badGateway(message: string): StatusBody {
  return { status: 'Failure', message, reason: 'InternalError', code: 502 };
}

/** One direction: bytes with backpressure, a half-close as a half-close, anything else as destruction. */
function link(from: Duplex, to: Duplex): void {
  from.once('close', () => {
    if (!from.readableEnded || !from.writableFinished) to.destroy();
  });
  from.pipe(to);
}

function headText(status: number, headers: ResponseHeaders): string {
  const lines = Object.entries(headers).flatMap(([name, value]) => [value].flat().map((one) => `${name}: ${one}\r\n`));
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n`;
}

/** Chunked transfer coding (RFC 9112 7.1). */
function chunked(): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, callback) {
      this.push(`${chunk.length.toString(16)}\r\n`);
      this.push(chunk);
      callback(null, '\r\n');
    },
    flush(callback) {
      callback(null, '0\r\n\r\n');
    },
  });
}
