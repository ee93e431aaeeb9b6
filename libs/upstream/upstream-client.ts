import { type ClientRequest, type IncomingMessage } from 'node:http';
import { constants } from 'node:http2';
import { type ClusterAccess, serverPrefix } from './cluster-access.ts';
import { Credential } from './credential.ts';
import { Dialer } from './dialer.ts';
import { Http1Transport } from './http1-transport.ts';
import { Http2NotOffered, Http2Pool } from './http2-pool.ts';
import { responseBody } from './response-body.ts';
import {
  type ForwardRequest,
  type TransportIdentity,
  type Upstream,
  type UpstreamRequest,
  type UpstreamResponse,
} from './upstream.ts';
import { UpstreamInterrupted, UpstreamUnreachable } from './upstream-error.ts';

export interface UpstreamOptions {
  /** Environment of credential plugins. */
  readonly env: NodeJS.ProcessEnv;
  /** Told what went wrong where dogwatch goes on: a lost session, a credential file that cannot be re-read. */
  readonly onProblem: (problem: Error) => void;
  /** HTTP/2 sessions per identity. Default 64, that is about 6,000 streams. */
  readonly maxSessions?: number;
  /** HTTP/1.1 requests and tunnels in flight per identity; none waits for a place. Default 1024. */
  readonly maxForwards?: number;
  /** Default 15 s, TLS and HTTP/2 handshakes included. */
  readonly connectTimeoutMs?: number;
  /** A PING each, unanswered at the next one: session lost. Default 15 s. */
  readonly pingMs?: number;
  /** A session without streams closes after it. Default 60 s. */
  readonly idleMs?: number;
}

/** A client of the cluster of `access`; no connection is made before the first request. */
export function createUpstream(access: ClusterAccess, options: UpstreamOptions): Upstream {
  return new UpstreamClient(access, options);
}

interface Transports {
  readonly dialer: Dialer;
  readonly http1: Http1Transport;
  readonly http2: Http2Pool;
}

class UpstreamClient implements Upstream {
  readonly server: URL;
  readonly #credential: Credential;
  readonly #transports: Readonly<Record<TransportIdentity, Transports>>;
  readonly #prefix: string;
  /** False for http://, and from the moment the server did not choose h2; then everything is HTTP/1.1. */
  #http2: boolean;
  #closed = false;

  constructor(access: ClusterAccess, options: UpstreamOptions) {
    const { env, onProblem } = options;
    this.server = access.server;
    this.#prefix = serverPrefix(access.server);
    this.#http2 = access.server.protocol === 'https:';
    this.#credential = new Credential({ access, env, onProblem });
    this.#transports = {
      own: createTransports(access, options, this.#credential),
      none: createTransports(access, options, undefined),
    };
  }

  async open(request: UpstreamRequest): Promise<UpstreamResponse> {
    request.signal.throwIfAborted();
    const response = await this.#send(request);
    const own = request.ownCredential ?? true;
    if (response.status !== 401 || !own || !this.#credential.refused()) return response;
    // A 401 means that nothing was done: asking again with a fresh credential is safe for every method.
    response.body.destroy();
    return this.#send(request);
  }

  forward({ method, path, headers, identity, upgrade = false }: ForwardRequest): ClientRequest {
    const { http1, dialer } = this.#transports[identity];
    if (this.#closed) throw new UpstreamUnreachable({ code: 'closed', host: dialer.host });
    return http1.request({ method, path, headers, upgrade });
  }

  ownHeaders(): Promise<Record<string, string>> {
    return this.#credential.headers();
  }

  ownCredentialRefused(): void {
    this.#credential.refused();
  }

  close(): void {
    this.#closed = true;
    for (const { http1, http2 } of Object.values(this.#transports)) {
      http1.close();
      http2.close();
    }
  }

  async #send(request: UpstreamRequest): Promise<UpstreamResponse> {
    const own = request.ownCredential ?? true;
    const headers = own ? { ...(await this.#credential.headers()), ...request.headers } : { ...request.headers };
    const transports = this.#transports[own ? 'own' : 'none'];
    if (this.#closed) throw new UpstreamUnreachable({ code: 'closed', host: transports.dialer.host });
    if (!this.#http2) return openHttp1(transports, request, headers);
    try {
      return await this.#openHttp2(transports, request, headers);
    } catch (error) {
      if (!(error instanceof Http2NotOffered)) throw error;
      this.#http2 = false;
      return openHttp1(transports, request, headers);
    }
  }

  async #openHttp2(
    { http2, dialer }: Transports,
    { method = 'GET', path, body, signal }: UpstreamRequest,
    headers: Record<string, string>,
  ): Promise<UpstreamResponse> {
    const { headers: head, stream } = await http2.request({
      headers: { ':method': method, ':path': `${this.#prefix}${path}`, ...headers },
      body,
      signal,
    });
    const { ':status': status = 0, ...rest } = head;
    return {
      status,
      headers: rest,
      body: responseBody({
        source: stream,
        encoding: rest['content-encoding'],
        complete: () => stream.rstCode === constants.NGHTTP2_NO_ERROR,
        cancel: () => stream.close(constants.NGHTTP2_CANCEL),
        signal,
        host: dialer.host,
      }),
    };
  }
}

function createTransports(
  access: ClusterAccess,
  options: UpstreamOptions,
  credential: Credential | undefined,
): Transports {
  const { server } = access;
  const {
    onProblem,
    maxSessions = 64,
    maxForwards = 1024,
    connectTimeoutMs = 15_000,
    pingMs = 15_000,
    idleMs = 60_000,
  } = options;
  const dialer = new Dialer({ access, credential, connectTimeoutMs, onProblem });
  return {
    dialer,
    http1: new Http1Transport({ server, dialer, maxInFlight: maxForwards }),
    http2: new Http2Pool({ server, dialer, maxSessions, connectTimeoutMs, pingMs, idleMs, onProblem }),
  };
}

async function openHttp1(
  { http1, dialer }: Transports,
  { method = 'GET', path, body, signal }: UpstreamRequest,
  headers: Record<string, string>,
): Promise<UpstreamResponse> {
  const outgoing = http1.request({ method, path, headers, upgrade: false });
  outgoing.end(body);
  const response = await responseHead(outgoing, signal, dialer.host);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: responseBody({
      source: response,
      encoding: response.headers['content-encoding'],
      complete: () => response.complete,
      cancel: () => outgoing.destroy(),
      signal,
      host: dialer.host,
    }),
  };
}

function responseHead(outgoing: ClientRequest, signal: AbortSignal, host: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      reject(signal.reason as Error);
      outgoing.destroy();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    outgoing.once('response', resolve);
    // Stays for the life of the request; after the head it only keeps a late error from being uncaught.
    outgoing.on('error', (cause) => reject(isBeforeSending(cause) ? cause : interrupted(cause, host)));
    // node:http closes a request without an error if the answer is an unasked 101.
    outgoing.once('close', () => {
      signal.removeEventListener('abort', onAbort);
      reject(interrupted(undefined, host));
    });
  });
}

/** The dialer's own errors say already that nothing was sent. */
function isBeforeSending(cause: Error): boolean {
  return cause.name === 'UpstreamUnreachable' || cause.name === 'KubeconfigError';
}

function interrupted(cause: unknown, host: string): UpstreamInterrupted {
  return new UpstreamInterrupted(`the connection to kube-apiserver at ${host} broke before it answered`, { cause });
}
