import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import type { Endpoint } from './kube-client.ts';
import { LineSplitter } from './line-splitter.ts';

/** Streams of one connection; kube-apiserver allows 100. */
const STREAMS = 100;
const STREAM_WINDOW = 16 << 20;
/** Cancelled streams after which a connection is not used any more: Node's server ends one that cancels for long more than 33 a second. */
const CANCELS = 500;

/** An object as far as it is compared. */
export interface ReadObject {
  readonly rv: number;
  readonly data: Readonly<Record<string, string>>;
}

/** What a LIST or a watch-list said there is. */
export interface Read {
  /** Of the list, or of the bookmark that ends the initial events. */
  readonly rv: number;
  readonly objects: ReadonlyMap<string, ReadObject>;
  /** From the request to the end of the answer, or to that bookmark. */
  readonly ms: number;
}

interface Connection {
  readonly session: ClientHttp2Session;
  streams: number;
  cancels: number;
}

interface WireObject {
  readonly metadata: {
    readonly name?: string;
    readonly resourceVersion: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly data?: Readonly<Record<string, string>>;
}

/** Consistent reads and writes, many at a time, each measured; one JSON request is one HTTP/2 stream. */
export class ReadClient {
  readonly #endpoint: Endpoint;
  readonly #token: string;
  readonly #connections: Connection[] = [];

  constructor(endpoint: Endpoint, token: string) {
    this.#endpoint = endpoint;
    this.#token = token;
  }

  /** LIST with resourceVersion "". `timed` only: its objects are not parsed. */
  async list(path: string, timed = false): Promise<Read> {
    const start = performance.now();
    const body = await this.#body(this.#request('GET', path));
    const ms = performance.now() - start;
    if (timed) return { rv: 0, objects: new Map(), ms };
    const { metadata, items } = JSON.parse(body.toString()) as WireObject & { items: readonly WireObject[] };
    return { rv: Number(metadata.resourceVersion), objects: new Map(items.map(readObject)), ms };
  }

  /** A watch that begins with the objects, up to the bookmark that ends them. */
  async watchList(path: string, timed = false): Promise<Read> {
    const query = 'watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan';
    const start = performance.now();
    const stream = this.#request('GET', `${path}${path.includes('?') ? '&' : '?'}${query}&timeoutSeconds=60`);
    const status = statusOf(stream);
    const lines = new LineSplitter();
    const objects = new Map<string, ReadObject>();
    let last = '';
    try {
      for await (const chunk of stream as AsyncIterable<Buffer>) {
        for (const line of lines.push(chunk)) {
          last = line;
          if (status() !== 200) throw new Error(`${status()} ${line.slice(0, 400)}`);
          if (timed && line.startsWith('{"type":"ADDED"')) continue;
          const { type, object } = JSON.parse(line) as { type: string; object: WireObject };
          const { annotations, resourceVersion } = object.metadata;
          if (type === 'BOOKMARK' && annotations?.['k8s.io/initial-events-end'] === 'true') {
            return { rv: Number(resourceVersion), objects, ms: performance.now() - start };
          }
          if (type === 'ADDED') objects.set(...readObject(object));
        }
      }
    } finally {
      stream.close(constants.NGHTTP2_CANCEL);
    }
    throw new Error(`GET ${path} ended before its initial events did: ${last.slice(0, 400)}`);
  }

  /** One write; resolves with what was written, or the Status of a delete. Rejects unless it went through. */
  async write(method: 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<WireObject> {
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    const stream = this.#request(method, path, body === undefined ? {} : { 'content-type': type });
    stream.end(body === undefined ? undefined : JSON.stringify(body));
    return JSON.parse((await this.#body(stream)).toString()) as WireObject;
  }

  close(): void {
    for (const { session } of this.#connections) session.destroy();
  }

  #request(method: string, path: string, headers: Readonly<Record<string, string>> = {}): ClientHttp2Stream {
    const held = this.#connections.find(({ streams, cancels }) => streams < STREAMS && cancels < CANCELS);
    const connection = held ?? this.#connect();
    connection.streams++;
    const stream = connection.session.request(
      {
        [constants.HTTP2_HEADER_METHOD]: method,
        [constants.HTTP2_HEADER_PATH]: path,
        accept: 'application/json',
        authorization: `Bearer ${this.#token}`,
        ...headers,
      },
      { endStream: method === 'GET' },
    );
    stream.once('close', () => {
      connection.streams--;
      if (stream.rstCode === constants.NGHTTP2_CANCEL) connection.cancels++;
    });
    return stream;
  }

  #connect(): Connection {
    const settings = { enablePush: false, initialWindowSize: STREAM_WINDOW };
    const session = connect(this.#endpoint.server, { ca: this.#endpoint.ca, settings });
    session.on('error', () => undefined); // each of its streams gets the error too
    session.once('connect', () => session.setLocalWindowSize(STREAM_WINDOW));
    const connection = { session, streams: 0, cancels: 0 };
    this.#connections.push(connection);
    return connection;
  }

  async #body(stream: ClientHttp2Stream): Promise<Buffer> {
    const status = statusOf(stream);
    const body = Buffer.concat(await (stream.toArray() as Promise<Buffer[]>));
    if (status() < 200 || status() > 299) throw new Error(`${status()} ${body.toString().slice(0, 400)}`);
    return body;
  }
}

/** What the answer's head says once there is one. */
function statusOf(stream: ClientHttp2Stream): () => number {
  let status = 0;
  stream.once('response', (headers) => (status = headers[':status'] ?? 0));
  return () => status;
}

function readObject({ metadata, data = {} }: WireObject): [name: string, object: ReadObject] {
  return [metadata.name ?? '', { rv: Number(metadata.resourceVersion), data }];
}

/** The value below which `share` of `values` lie. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
