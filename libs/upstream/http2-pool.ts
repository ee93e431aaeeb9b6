import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  type IncomingHttpStatusHeader,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { type ClientCertificate } from './credential.ts';
import { type Dialed, type Dialer, sameCertificate } from './dialer.ts';
import { UpstreamBusy, UpstreamInterrupted, UpstreamUnreachable } from './upstream-error.ts';

const MIB = 1024 * 1024;
/**
 * Receive windows. Large, because kube-apiserver ends a watch that does not take its events at once; a stream that is
 * not read buffers up to its own window and takes nothing from the others (Node gives the connection's window back on
 * arrival).
 */
const STREAM_WINDOW_BYTES = 16 * MIB;
const CONNECTION_WINDOW_BYTES = 64 * MIB;
/** Node counts what is buffered against this (in MB) and refuses new streams beyond; the windows are the bound that counts. */
const MAX_SESSION_MEMORY_MB = 2048;
/** kube-apiserver allows 100 (H6); others may allow more, but one lost connection should not cost more either. */
const MAX_STREAMS = 100;
/** Streams left free, as the two ends do not see a stream's end at the same moment. */
const STREAM_MARGIN = 4;
/** How old the knowledge of the client certificate's files may be when a session is chosen. */
const CERTIFICATE_AGE_MS = 60_000;
/** A stream that upstream refused unprocessed (RFC 9113 8.7) is sent again on another session, at most this often. */
const MAX_REFUSALS = 3;

export interface Http2PoolOptions {
  readonly server: URL;
  readonly dialer: Dialer;
  /** Sessions, draining ones included; at the bound requests are refused. */
  readonly maxSessions: number;
  /** A session without streams is closed after this time. */
  readonly idleMs: number;
  /** A PING each; a session that has not answered by the next one is destroyed. */
  readonly pingMs: number;
  readonly connectTimeoutMs: number;
  /** Told why a session was lost. */
  readonly onProblem: (problem: Error) => void;
}

export interface Http2Response {
  readonly headers: IncomingHttpHeaders & IncomingHttpStatusHeader;
  readonly stream: ClientHttp2Stream;
}

export interface Http2Request {
  /** With the pseudo headers. */
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer | string | undefined;
  readonly signal: AbortSignal;
}

/** The server answered ALPN with something else than h2. */
export class Http2NotOffered extends Error {
  override readonly name = 'Http2NotOffered';
}

/** HTTP/2 sessions to one server for one identity; a new one is dialed when all are full. */
export class Http2Pool {
  readonly #options: Http2PoolOptions;
  readonly #sessions = new Set<PooledSession>();
  #dialing: Promise<void> | undefined;
  #closed = false;

  constructor(options: Http2PoolOptions) {
    this.#options = options;
  }

  /** Sessions held, draining ones included. */
  get size(): number {
    return this.#sessions.size;
  }

  /**
   * Resolves at the response head; the stream is the caller's. Rejects with UpstreamUnreachable, UpstreamBusy,
   * UpstreamInterrupted, Http2NotOffered, KubeconfigError or the signal's reason.
   */
  async request(request: Http2Request): Promise<Http2Response> {
    for (let refusals = 0; ; refusals++) {
      const session = await this.#reserve(request.signal);
      try {
        return await this.#exchange(session, request);
      } catch (error) {
        if (!(error instanceof StreamRefused)) throw error;
        session.draining = true;
        if (refusals < MAX_REFUSALS) continue;
        throw new UpstreamBusy(
          `kube-apiserver at ${this.#options.dialer.host} refuses HTTP/2 streams: try again later`,
          {
            cause: error,
          },
        );
      }
    }
  }

  /** Destroys every session; its streams get an error. */
  close(): void {
    this.#closed = true;
    for (const { session } of this.#sessions) session.destroy(this.#unreachable('closed'));
  }

  /** A session with a place for one more stream, which is taken. */
  async #reserve(signal: AbortSignal): Promise<PooledSession> {
    const { dialer, maxSessions } = this.#options;
    // Each round dials one session; others who wait may take all its places.
    for (let round = 0; round <= maxSessions; round++) {
      const certificate = await dialer.certificate(CERTIFICATE_AGE_MS);
      signal.throwIfAborted();
      if (this.#closed) throw this.#unreachable('closed');
      const free = [...this.#sessions].find((session) => session.hasPlace(certificate));
      if (free !== undefined) {
        free.take();
        return free;
      }
      if (this.#sessions.size >= maxSessions) break;
      this.#dialing ??= this.#dial().finally(() => (this.#dialing = undefined));
      await abortable(this.#dialing, signal);
    }
    throw new UpstreamBusy(
      `${maxSessions} connections to ${dialer.host} are full, which is the bound: try again later`,
    );
  }

  async #dial(): Promise<void> {
    const { dialer } = this.#options;
    const dialed = await dialer.dial(['h2', 'http/1.1']);
    if (dialed.protocol !== 'h2') {
      dialed.socket.destroy();
      throw new Http2NotOffered(`${dialer.host} does not offer HTTP/2`);
    }
    const session = await this.#handshake(dialed);
    if (this.#closed) {
      session.destroy();
      throw this.#unreachable('closed');
    }
    const pooled = new PooledSession({
      session,
      certificate: dialed.certificate,
      options: this.#options,
      onError: (cause) => {
        if (!this.#closed) this.#options.onProblem(cause);
      },
    });
    this.#sessions.add(pooled);
    session.once('close', () => this.#sessions.delete(pooled));
  }

  /** Waits for the server's SETTINGS, as they say how many streams it takes. */
  #handshake({ socket }: Dialed): Promise<ClientHttp2Session> {
    const { server, dialer, connectTimeoutMs } = this.#options;
    const session = connect(server.origin, {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW_BYTES },
      maxSessionMemory: MAX_SESSION_MEMORY_MB,
    });
    return new Promise((resolve, reject) => {
      const fail = (error: UpstreamUnreachable) => {
        clearTimeout(timer);
        session.destroy();
        reject(error);
      };
      const timer = setTimeout(() => fail(this.#unreachable('timeout')), connectTimeoutMs);
      const onError = (cause: Error) => fail(UpstreamUnreachable.from(cause, dialer.host));
      const onClose = () => fail(this.#unreachable('connection_lost'));
      session.once('error', onError).once('close', onClose);
      session.once('remoteSettings', () => {
        clearTimeout(timer);
        session.off('error', onError).off('close', onClose);
        session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
        resolve(session);
      });
    });
  }

  async #exchange(pooled: PooledSession, { headers, body, signal }: Http2Request): Promise<Http2Response> {
    const { host } = this.#options.dialer;
    let stream: ClientHttp2Stream;
    try {
      stream = pooled.session.request(headers, { endStream: body === undefined });
    } catch (cause) {
      // The session began to close since it was chosen: nothing was sent.
      pooled.release();
      throw new StreamRefused('session is closing', { cause });
    }
    stream.once('close', () => pooled.release());
    if (body !== undefined) stream.end(body);
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        stream.close(constants.NGHTTP2_CANCEL);
        settle(() => reject(signal.reason as Error));
      };
      const settle = (outcome: () => void) => {
        signal.removeEventListener('abort', onAbort);
        stream.off('close', onClose);
        outcome();
      };
      // Stays for the life of the stream: whoever reads the body listens too, but a late error must never be uncaught.
      stream.on('error', (cause) => settle(() => reject(failure(stream, host, cause))));
      const onClose = () => settle(() => reject(failure(stream, host, undefined)));
      stream.once('close', onClose);
      stream.once('response', (head) => settle(() => resolve({ headers: head, stream })));
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) onAbort();
    });
  }

  #unreachable(code: 'closed' | 'timeout' | 'connection_lost'): UpstreamUnreachable {
    return new UpstreamUnreachable({ code, host: this.#options.dialer.host });
  }
}

/** Upstream did not process the stream at all. */
class StreamRefused extends Error {
  override readonly name = 'StreamRefused';
}

interface PooledSessionOptions {
  readonly session: ClientHttp2Session;
  readonly certificate: ClientCertificate | undefined;
  readonly options: Http2PoolOptions;
  readonly onError: (cause: Error) => void;
}

/** A session, its streams counted, its liveness watched. */
class PooledSession {
  readonly session: ClientHttp2Session;
  readonly #certificate: ClientCertificate | undefined;
  readonly #idleMs: number;
  #streams = 0;
  #idle: NodeJS.Timeout | undefined;
  /** No new streams; it closes with the last one. */
  draining = false;

  constructor({ session, certificate, options, onError }: PooledSessionOptions) {
    this.session = session;
    this.#certificate = certificate;
    this.#idleMs = options.idleMs;
    session.on('goaway', () => (this.draining = true));
    session.on('error', onError);
    const ping = this.#watchLiveness(options);
    session.once('close', () => {
      clearInterval(ping);
      clearTimeout(this.#idle);
    });
    this.#startIdling();
  }

  /** A session that carries an older certificate takes no more streams, as kube-apiserver checks its dates per request. */
  hasPlace(certificate: ClientCertificate | undefined): boolean {
    if (this.draining || this.session.closed || this.session.destroyed) return false;
    if (!sameCertificate(this.#certificate, certificate)) this.draining = true;
    const allowed = Math.min(this.session.remoteSettings.maxConcurrentStreams ?? MAX_STREAMS, MAX_STREAMS);
    return !this.draining && this.#streams < Math.max(1, allowed - STREAM_MARGIN);
  }

  take(): void {
    this.#streams += 1;
    clearTimeout(this.#idle);
  }

  release(): void {
    this.#streams -= 1;
    if (this.#streams > 0) return;
    if (this.draining) this.session.close();
    else this.#startIdling();
  }

  #startIdling(): void {
    this.#idle = setTimeout(() => this.session.close(), this.#idleMs).unref();
  }

  #watchLiveness({ pingMs, dialer }: Http2PoolOptions): NodeJS.Timeout {
    let waiting = false;
    return setInterval(() => {
      // Destroyed, and its 'close' is still to come: a PING would throw.
      if (this.session.destroyed) return;
      if (waiting) {
        this.session.destroy(
          new UpstreamInterrupted(
            `kube-apiserver at ${dialer.host} did not answer a PING within ${pingMs} ms: connection given up`,
          ),
        );
        return;
      }
      waiting = true;
      this.session.ping((error) => {
        if (error === null) waiting = false;
      });
    }, pingMs).unref();
  }
}

function failure(stream: ClientHttp2Stream, host: string, cause: unknown): Error {
  if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM) return new StreamRefused('stream refused', { cause });
  return new UpstreamInterrupted(`the connection to kube-apiserver at ${host} broke before it answered`, { cause });
}

/** The promise's outcome, or the signal's reason if that comes first. */
function abortable(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
