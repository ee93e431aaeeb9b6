import type { ServerHttp2Stream } from 'node:http2';
import type { ClientStream } from './exchange.ts';
import type { BudgetWaiter, FlushBudget } from './flush-budget.ts';

/**
 * Ends a stream uncleanly: RST_STREAM with INTERNAL_ERROR, as Go's server does. (`stream.close(code)` would first send
 * END_STREAM, and the client would take the answer for whole.)
 */
export function resetStream(stream: ServerHttp2Stream): void {
  stream.destroy(new Error('answer aborted'));
}

interface Handlers {
  onDrain(): void;
  onClose(): void;
}

/**
 * A streamed answer over HTTP/2. Node queues what the client's window does not yet allow; `write` returns false when
 * that is 64 KiB (the stream's high-water mark) or the connection's budget is used up. It then goes on when half of
 * that is flushed and the budget has room, or when all of its own is flushed.
 */
export class Http2ClientStream implements ClientStream, BudgetWaiter {
  readonly #stream: ServerHttp2Stream;
  readonly #budget: FlushBudget;
  #handlers: Handlers | undefined;
  #accounted = 0;
  #blocked = false;
  #open: boolean;

  /** `stream` has sent its headers, or is gone. */
  constructor(stream: ServerHttp2Stream, budget: FlushBudget) {
    this.#stream = stream;
    this.#budget = budget;
    this.#open = !stream.destroyed;
    if (this.#open) stream.once('close', () => this.#closed());
  }

  write(bytes: Buffer): boolean {
    if (!this.#open || this.#stream.writableEnded) return false;
    this.#stream.write(bytes, this.#onFlushed);
    this.#account();
    if (this.#accounted < this.#stream.writableHighWaterMark && !this.#budget.exhausted) return true;
    this.#blocked = true;
    this.#budget.wait(this);
    return false;
  }

  end(): void {
    this.#stream.end();
  }

  abort(): void {
    resetStream(this.#stream);
  }

  listen(handlers: Handlers): void {
    this.#handlers = handlers;
    if (!this.#open) queueMicrotask(() => handlers.onClose());
  }

  onRoom(): void {
    if (this.#accounted < this.#stream.writableHighWaterMark / 2) this.#unblock();
    else this.#budget.wait(this);
  }

  // One function for all writes of a stream: Node then gathers the callbacks of one flush.
  readonly #onFlushed = (): void => {
    if (!this.#open) return;
    this.#account();
    const lowWater = this.#stream.writableHighWaterMark / 2;
    if (this.#accounted === 0 || (this.#accounted < lowWater && !this.#budget.exhausted)) this.#unblock();
  };

  #account(): void {
    const delta = this.#stream.writableLength - this.#accounted;
    this.#accounted += delta;
    this.#budget.account(delta);
  }

  #unblock(): void {
    if (!this.#blocked) return;
    this.#blocked = false;
    this.#budget.forget(this);
    this.#handlers?.onDrain();
  }

  #closed(): void {
    this.#open = false;
    this.#blocked = false;
    this.#budget.forget(this);
    this.#budget.account(-this.#accounted);
    this.#accounted = 0;
    this.#handlers?.onClose();
  }
}
