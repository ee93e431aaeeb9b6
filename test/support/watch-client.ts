import type { IncomingMessage } from 'node:http';
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { Agent, request as httpsRequest } from 'node:https';
import type { Readable } from 'node:stream';
import { eventually } from './eventually.ts';
import type { Credential, Endpoint } from './kube-client.ts';
import { LineSplitter } from './line-splitter.ts';
import { parseWatchEvent } from './watch-event.ts';
import { RecordedStream, type WatchRequest } from './watch-recorder.ts';

export interface WatchClientOptions {
  readonly endpoint: Endpoint;
  readonly credential: Credential;
  /** Watches per HTTP/2 connection; kube-apiserver allows 100, a kubelet has about 18. */
  readonly perConnection?: number;
  /** Default h2; h1 uses one connection per watch. */
  readonly protocol?: 'h2' | 'h1';
}

interface Head {
  readonly status: number;
  readonly body: Readable;
}

const OPENING_AT_ONCE = 64;
// Large enough that the client's own window never is what holds a burst up.
const STREAM_WINDOW = 1 << 20;
const CONNECTION_WINDOW = 16 << 20;

/** A raw watch client for thousands of streams; it records what it gets and never reconnects. */
export class WatchClient {
  readonly streams: RecordedStream[] = [];
  readonly #options: WatchClientOptions;
  readonly #sessions: { readonly session: ClientHttp2Session; streams: number }[] = [];
  readonly #agent: Agent;
  #closing = false;

  constructor(options: WatchClientOptions) {
    this.#options = options;
    const { ca } = options.endpoint;
    const { cert, key } = options.credential;
    this.#agent = new Agent({ ca, ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) });
  }

  get connections(): number {
    return this.#sessions.length;
  }

  /** Opens one watch; resolves at its response head. Rejects unless that is a 200. */
  async open(request: WatchRequest): Promise<RecordedStream> {
    const stream = new RecordedStream(this.streams.length, request);
    this.streams.push(stream);
    const path = watchPath(request);
    const { status, body } = await (this.#options.protocol === 'h1' ? this.#openHttp1(path) : this.#openHttp2(path));
    if (status !== 200) {
      const chunks = await body.toArray();
      throw new Error(
        `GET ${path}: ${status} ${Buffer.concat(chunks as Buffer[])
          .toString()
          .slice(0, 400)}`,
      );
    }
    this.#read(stream, body);
    return stream;
  }

  /** Opens many watches, 64 at a time. */
  async openAll(requests: readonly WatchRequest[]): Promise<RecordedStream[]> {
    const opened: RecordedStream[] = [];
    for (let i = 0; i < requests.length; i += OPENING_AT_ONCE) {
      opened.push(...(await Promise.all(requests.slice(i, i + OPENING_AT_ONCE).map((request) => this.open(request)))));
    }
    return opened;
  }

  /** Resolves when every stream has got to its target RV; rejects with one that has not in time. */
  async reached(target: number | ((stream: RecordedStream) => number), timeoutMs: number): Promise<void> {
    const targetOf = typeof target === 'number' ? () => target : target;
    const behind = (): RecordedStream | undefined => this.streams.find((stream) => stream.position < targetOf(stream));
    try {
      await eventually({ what: 'all watches are up to date', timeoutMs, everyMs: 50 }, () => behind() === undefined);
    } catch (cause) {
      const stream = behind();
      if (stream === undefined) return;
      const { id, request, position, ended = 'open' } = stream;
      throw new Error(
        `watch ${id} of ${JSON.stringify(request)} is at ${position}, not ${targetOf(stream)}: ${ended}`,
        { cause },
      );
    }
  }

  /** Ends all connections; streams that end by this are not marked as ended. */
  close(): void {
    this.#closing = true;
    for (const { session } of this.#sessions) session.destroy();
    this.#agent.destroy();
  }

  #headers(): Record<string, string> {
    const { token } = this.#options.credential;
    return { accept: 'application/json', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) };
  }

  async #openHttp2(path: string): Promise<Head> {
    const session = await this.#session();
    const stream = session.request({ [constants.HTTP2_HEADER_PATH]: path, ...this.#headers() });
    return new Promise((resolve, reject) => {
      stream.once('error', reject);
      stream.once('response', (headers) => resolve({ status: headers[':status'] ?? 0, body: stream }));
    });
  }

  #session(): Promise<ClientHttp2Session> {
    const free = this.#sessions.at(-1);
    if (free !== undefined && free.streams < (this.#options.perConnection ?? 18)) {
      free.streams += 1;
      return Promise.resolve(free.session);
    }
    const { endpoint, credential } = this.#options;
    const session = connect(endpoint.server, {
      ca: endpoint.ca,
      settings: { enablePush: false, initialWindowSize: STREAM_WINDOW },
      ...(credential.cert === undefined ? {} : { cert: credential.cert }),
      ...(credential.key === undefined ? {} : { key: credential.key }),
    });
    this.#sessions.push({ session, streams: 1 });
    session.on('error', () => undefined); // each stream of the session gets the error too
    session.once('connect', () => session.setLocalWindowSize(CONNECTION_WINDOW));
    return Promise.resolve(session);
  }

  #openHttp1(path: string): Promise<Head> {
    return new Promise((resolve, reject) => {
      const url = new URL(path, this.#options.endpoint.server);
      const request = httpsRequest(
        url,
        { agent: this.#agent, headers: this.#headers() },
        (response: IncomingMessage) => {
          resolve({ status: response.statusCode ?? 0, body: response });
        },
      );
      request.once('error', reject);
      request.end();
    });
  }

  #read(stream: RecordedStream, body: Readable): void {
    const lines = new LineSplitter();
    const end = (how: string): void => {
      if (!this.#closing) stream.ended ??= how;
    };
    body.on('data', (chunk: Buffer) => {
      const now = performance.now();
      for (const line of lines.push(chunk)) stream.record(parseWatchEvent(line), now);
    });
    body.on('error', (error: Error) => end(error.message));
    body.on('end', () => end(lines.whole ? 'clean end' : 'end inside an event'));
    body.on('close', () => end('closed'));
  }
}

/** Path and query of a watch as client-go's reflector asks it. */
export function watchPath({ path, resourceVersion, labels, name, node }: WatchRequest): string {
  const query = new URLSearchParams({ watch: 'true', allowWatchBookmarks: 'true', timeoutSeconds: '3000' });
  if (resourceVersion === undefined) {
    query.set('sendInitialEvents', 'true');
    query.set('resourceVersionMatch', 'NotOlderThan');
    query.set('resourceVersion', '');
  } else {
    query.set('resourceVersion', String(resourceVersion));
  }
  if (name !== undefined) query.set('fieldSelector', `metadata.name=${name}`);
  if (node !== undefined) query.set('fieldSelector', `spec.nodeName=${node}`);
  const selector = Object.entries(labels ?? {}).map(([label, value]) => `${label}=${value}`);
  if (selector.length > 0) query.set('labelSelector', selector.join(','));
  return `${path}?${query.toString()}`;
}
