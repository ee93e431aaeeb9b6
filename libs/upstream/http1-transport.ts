import assert from 'node:assert';
import { Agent, type ClientRequest, type ClientRequestArgs, type OutgoingHttpHeaders, request } from 'node:http';
import { type Duplex } from 'node:stream';
import { serverPrefix } from './cluster-access.ts';
import { type Dialer } from './dialer.ts';
import { UpstreamBusy } from './upstream-error.ts';

/** kube-apiserver drops idle connections after 90 s; ours go first, so that a request rarely meets a dying one. */
const IDLE_MS = 60_000;
/** Idle connections kept for the next request; more are closed. */
const MAX_IDLE_SOCKETS = 64;
/** As much head as kube-apiserver itself accepts. */
const MAX_HEADER_BYTES = 1024 * 1024;

export interface Http1TransportOptions {
  readonly server: URL;
  readonly dialer: Dialer;
  /** Requests and tunnels in flight; at the bound new ones are refused, none waits. */
  readonly maxInFlight: number;
}

export interface Http1Request {
  readonly method: string;
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly upgrade: boolean;
}

/** Keep-alive HTTP/1.1 to one server for one identity. */
export class Http1Transport {
  readonly #options: Http1TransportOptions;
  readonly #agent: DialingAgent;
  readonly #prefix: string;
  #inFlight = 0;

  constructor(options: Http1TransportOptions) {
    this.#options = options;
    this.#prefix = serverPrefix(options.server);
    this.#agent = new DialingAgent(options.dialer);
  }

  /** Throws UpstreamBusy at the bound, TypeError for what HTTP/1.1 cannot carry. */
  request({ method, path, headers, upgrade }: Http1Request): ClientRequest {
    const { server, dialer, maxInFlight } = this.#options;
    if (this.#inFlight >= maxInFlight) {
      throw new UpstreamBusy(
        `${maxInFlight} requests to ${dialer.host} are in flight, which is the bound: try again later`,
      );
    }
    const options = {
      method,
      path: `${this.#prefix}${path}`,
      headers: { host: server.host, ...headers },
      maxHeaderSize: MAX_HEADER_BYTES,
      // The dialer knows the way; these only name the pool.
      host: server.hostname,
      port: server.port,
    };
    const outgoing = upgrade
      ? request({ ...options, createConnection: (_options, onSocket) => void dialInto(dialer, onSocket) })
      : request({ ...options, agent: this.#agent });
    this.#count(outgoing, upgrade);
    return outgoing;
  }

  /** Closes idle connections and those in use. */
  close(): void {
    this.#agent.destroy();
  }

  /** A tunnel outlives its request: it is in flight until its socket closes. */
  #count(outgoing: ClientRequest, upgrade: boolean): void {
    this.#inFlight += 1;
    let tunnel = false;
    const done = () => {
      this.#inFlight -= 1;
    };
    outgoing.once('close', () => {
      if (!tunnel) done();
    });
    // On a plain request nobody may listen: node:http then refuses an unasked 101 by closing the connection.
    if (!upgrade) return;
    outgoing.prependListener('upgrade', (_response, socket: Duplex) => {
      tunnel = true;
      socket.once('close', done);
    });
  }
}

class DialingAgent extends Agent {
  readonly #dialer: Dialer;

  constructor(dialer: Dialer) {
    super({ keepAlive: true, maxFreeSockets: MAX_IDLE_SOCKETS, scheduling: 'lifo', timeout: IDLE_MS });
    this.#dialer = dialer;
  }

  override createConnection(_options: ClientRequestArgs, onSocket?: OnSocket): undefined {
    assert(onSocket !== undefined, 'node:http passes a callback');
    void dialInto(this.#dialer, onSocket);
  }
}

type OnSocket = (error: Error | null, socket: Duplex) => void;

async function dialInto(dialer: Dialer, onSocket: OnSocket): Promise<void> {
  let socket: Duplex;
  try {
    ({ socket } = await dialer.dial(['http/1.1']));
  } catch (error) {
    // Without a socket: node:http emits the error on the request.
    (onSocket as (error: unknown) => void)(error);
    return;
  }
  onSocket(null, socket);
}
