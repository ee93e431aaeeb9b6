import type { IncomingMessage } from 'node:http';
import { constants as http2Constants } from 'node:http2';
import { pipeline, type Readable } from 'node:stream';
import { constants, createGunzip } from 'node:zlib';
import { type ClusterAccess, serverPrefix } from '@dogwatch/upstream/cluster-access.ts';
import { Credential } from '@dogwatch/upstream/credential.ts';
import { Dialer } from '@dogwatch/upstream/dialer.ts';
import { Http1Transport } from '@dogwatch/upstream/http1-transport.ts';
import { Http2Pool } from '@dogwatch/upstream/http2-pool.ts';
import type { Headers } from './answer.ts';
import type { Asker, VerifyRequest } from './request.ts';

const CONNECT_TIMEOUT_MS = 15_000;
const IDLE_MS = 60_000;
const MAX_IN_FLIGHT = 4_096;
const MAX_SESSIONS = 64;
/** kube-apiserver knows no such token. */
const UNKNOWN_TOKEN = 'dogwatch-verify-unknown';

/** An answer whose head has come. */
export interface Opened {
  readonly status: number;
  readonly headers: Headers;
  /** What content-encoding said is undone. */
  readonly body: Readable;
  cancel(): void;
}

export interface SideOptions {
  readonly access: ClusterAccess;
  readonly env: NodeJS.ProcessEnv;
  /** By the names of the tokens file. */
  readonly tokens: ReadonlyMap<string, string>;
  readonly onProblem: (problem: Error) => void;
}

interface Transports {
  readonly http1: Http1Transport;
  readonly http2: Http2Pool;
}

/** One of the two servers that are compared, asked byte for byte what the request says. */
export class ServerSide {
  readonly server: URL;
  readonly #options: SideOptions;
  readonly #credential: Credential;
  readonly #own: Transports;
  /** Connections without a client certificate. */
  readonly #nobodys: Transports;
  /** Those whose credential is refused, which ends their connection, and with it the requests of others. */
  readonly #strangers: Transports;

  constructor(options: SideOptions) {
    const { access, env, onProblem } = options;
    this.server = access.server;
    this.#options = options;
    this.#credential = new Credential({ access, env, onProblem });
    this.#own = transports(options, this.#credential);
    this.#nobodys = transports(options, undefined);
    this.#strangers = transports(options, undefined);
  }

  /** Resolves at the head of the answer. Rejects with what dialing gives, the socket's error, or the signal's reason. */
  async open(request: VerifyRequest, signal: AbortSignal): Promise<Opened> {
    const headers = { ...(await this.#identity(request.asker)), ...request.headers };
    const { http1, http2 } = this.#transportsOf(request.asker);
    // Without TLS nobody speaks HTTP/2 here.
    if (request.protocol === 'h1' || this.server.protocol === 'http:')
      return openHttp1(http1, { ...request, headers }, signal);
    const { headers: head, stream } = await http2.request({
      headers: { ':method': request.method, ':path': `${serverPrefix(this.server)}${request.path}`, ...headers },
      body: request.body,
      signal,
    });
    const { ':status': status = 0, ...rest } = head;
    return {
      status,
      headers: rest as Headers,
      body: decoded(stream, rest['content-encoding']),
      cancel: () => stream.close(http2Constants.NGHTTP2_CANCEL),
    };
  }

  close(): void {
    for (const { http1, http2 } of [this.#own, this.#nobodys, this.#strangers]) {
      http1.close();
      http2.close();
    }
  }

  #transportsOf({ kind }: Asker): Transports {
    if (kind === 'self') return this.#own;
    return kind === 'stranger' ? this.#strangers : this.#nobodys;
  }

  async #identity(asker: Asker): Promise<Record<string, string>> {
    switch (asker.kind) {
      case 'self':
        return await this.#credential.headers();
      case 'nobody':
        return {};
      case 'stranger':
        return { authorization: asker.authorization };
      case 'token':
        return { authorization: `Bearer ${this.#options.tokens.get(asker.name) ?? UNKNOWN_TOKEN}` };
    }
  }
}

function transports({ access, onProblem }: SideOptions, credential: Credential | undefined): Transports {
  const { server } = access;
  const dialer = new Dialer({ access, credential, connectTimeoutMs: CONNECT_TIMEOUT_MS, onProblem });
  return {
    http1: new Http1Transport({ server, dialer, maxInFlight: MAX_IN_FLIGHT }),
    http2: new Http2Pool({
      server,
      dialer,
      maxSessions: MAX_SESSIONS,
      idleMs: IDLE_MS,
      pingMs: CONNECT_TIMEOUT_MS,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      onProblem,
    }),
  };
}

function openHttp1(http1: Http1Transport, request: VerifyRequest, signal: AbortSignal): Promise<Opened> {
  const { method, path, headers, body } = request;
  return new Promise((resolve, reject) => {
    const outgoing = http1.request({ method, path, headers: { ...headers }, upgrade: false });
    const onAbort = () => {
      outgoing.destroy();
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    outgoing.on('error', reject);
    outgoing.once('close', () => signal.removeEventListener('abort', onAbort));
    outgoing.once('response', (response: IncomingMessage) => {
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        body: decoded(response, response.headers['content-encoding']),
        cancel: () => outgoing.destroy(),
      });
    });
    outgoing.end(body);
  });
}

/**
 * A gzip body may have several members, as a watch-list of kube-apiserver 1.37 has (row N6), and be cut in the middle of
 * one: what was sent until then is there.
 */
function decoded(source: Readable, encoding: string | undefined): Readable {
  if (encoding !== 'gzip') return source;
  return pipeline(
    source,
    createGunzip({ flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH }),
    () => undefined,
  );
}
