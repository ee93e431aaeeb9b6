import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import type { ClientStream, Exchange, ResponseHeaders } from './exchange.ts';

/** A client's stream: takes `capacity` writes, and then no more until it is drained. */
export class TestClient implements ClientStream {
  capacity = Number.POSITIVE_INFINITY;
  /** `TYPE name@version` of each event; ERROR with its code. */
  readonly events: string[] = [];
  ended = false;
  aborted = false;
  #bytes = '';
  #handlers: { onDrain(): void; onClose(): void } | undefined;

  get text(): string {
    return this.#bytes;
  }

  write(bytes: Buffer): boolean {
    if (this.ended) throw new Error('written to after its end');
    this.#bytes += bytes.toString();
    for (const line of bytes.toString().split('\n')) if (line.startsWith('{"type"')) this.events.push(eventIn(line));
    return --this.capacity > 0;
  }

  end(): void {
    this.ended = true;
  }

  abort(): void {
    this.aborted = true;
  }

  listen(handlers: { onDrain(): void; onClose(): void }): void {
    this.#handlers = handlers;
  }

  drain(capacity = Number.POSITIVE_INFINITY): void {
    this.capacity = capacity;
    this.#handlers?.onDrain();
  }

  /** The client goes. */
  leave(): void {
    this.#handlers?.onClose();
  }
}

function eventIn(line: string): string {
  const { type, object } = JSON.parse(line) as {
    type: string;
    object: { code?: number; metadata: { name?: string; resourceVersion?: string; annotations?: object } };
  };
  if (type === 'ERROR') return `ERROR ${object.code}`;
  const end = type === 'BOOKMARK' && object.metadata.annotations !== undefined ? ' end' : '';
  return `${type} ${object.metadata.name ?? ''}@${object.metadata.resourceVersion}${end}`;
}

/** A request and what becomes of it. */
export class TestExchange implements Exchange {
  readonly method = 'GET';
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly httpVersion = '2.0';
  readonly connection = { remoteAddress: '127.0.0.1', peerCertificates: () => [] };
  readonly client = new TestClient();
  started = false;
  status = 0;
  answer: ResponseHeaders = {};
  sent = '';
  readonly #closed: (() => void)[] = [];

  constructor(url: string, headers: IncomingHttpHeaders = {}) {
    this.url = url;
    this.headers = headers;
  }

  body(): Readable {
    return Readable.from([]);
  }

  respond(status: number, headers: ResponseHeaders, body: Buffer | string): void {
    this.#begin(status, headers);
    this.sent = body.toString();
  }

  stream(status: number, headers: ResponseHeaders): ClientStream {
    this.#begin(status, headers);
    return this.client;
  }

  pipe(status: number, headers: ResponseHeaders): void {
    this.#begin(status, headers);
  }

  abort(): void {
    this.client.aborted = true;
  }

  onClose(callback: () => void): void {
    this.#closed.push(callback);
  }

  /** The client goes. */
  leave(): void {
    for (const callback of this.#closed) callback();
    this.client.leave();
  }

  #begin(status: number, headers: ResponseHeaders): void {
    if (this.started) throw new Error('answered twice');
    this.started = true;
    this.status = status;
    this.answer = headers;
  }
}

/** What `promise` rejects with; watched from now on, so that it may reject before it is looked at. */
export function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'it did not reject',
    (error: unknown) => error,
  );
}
