import type { IncomingHttpHeaders } from 'node:http';
import type { ClientStream, ResponseHeaders } from './exchange.ts';
import { TestExchange } from './test-exchange.ts';

/** A client that keeps what it is sent, and takes `capacity` writes at a time. */
export class BytesClient implements ClientStream {
  readonly writes: Buffer[] = [];
  readonly capacity: number;
  readonly ended: Promise<void>;
  aborted = false;
  #end: () => void = () => {};
  #left: number;
  #handlers: { onDrain(): void; onClose(): void } = { onDrain: () => {}, onClose: () => {} };
  onBlocked: () => void = () => {};

  constructor(capacity = Number.POSITIVE_INFINITY) {
    this.capacity = this.#left = capacity;
    this.ended = new Promise((resolve) => (this.#end = resolve));
  }

  write(bytes: Buffer): boolean {
    if (this.#left <= 0) throw new Error('written to while it takes nothing');
    this.writes.push(bytes);
    if (--this.#left > 0) return true;
    this.onBlocked();
    return false;
  }

  end(): void {
    this.#end();
  }

  abort(): void {
    this.aborted = true;
  }

  listen(handlers: { onDrain(): void; onClose(): void }): void {
    this.#handlers = handlers;
  }

  drain(): void {
    this.#left = this.capacity;
    this.#handlers.onDrain();
  }

  leave(): void {
    this.#handlers.onClose();
  }
}

/** A request whose answer is looked at byte by byte. */
export class BytesExchange extends TestExchange {
  readonly bytes: BytesClient;

  constructor(url: string, headers: IncomingHttpHeaders, bytes = new BytesClient()) {
    super(url, headers);
    this.bytes = bytes;
  }

  override stream(status: number, headers: ResponseHeaders): ClientStream {
    super.stream(status, headers);
    return this.bytes;
  }
}
