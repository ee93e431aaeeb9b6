import { untypedStatusJson } from '@dogwatch/kube/status-encoding.ts';
import { timedOut } from '@dogwatch/kube/status.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import { answerHeaders } from './answer.ts';
import type { Exchange } from './exchange.ts';

/**
 * Ends an answer that takes longer than it may, as upstream does (protocol rows L22, G12): with a 504 where nothing was
 * sent yet, and by breaking off where a part was. So a client that reads slowly holds a list for no longer either.
 */
export class RequestDeadline {
  #passed = false;
  readonly #timer: ReturnType<Clock['setTimeout']>;

  constructor(exchange: Exchange, clock: Clock, seconds: number) {
    this.#timer = clock.setTimeout(() => this.#pass(exchange), seconds * 1_000);
    exchange.onClose(() => this.cancel());
  }

  /** True once the request was answered here, so that nobody else may. */
  get passed(): boolean {
    return this.#passed;
  }

  /** There is none any more: whoever answers has one of its own. */
  cancel(): void {
    this.#timer.cancel();
  }

  #pass(exchange: Exchange): void {
    this.#passed = true;
    if (exchange.started) exchange.abort();
    // Upstream says no type, and Go takes it for text.
    else
      exchange.respond(
        504,
        answerHeaders(exchange, { 'content-type': 'text/plain; charset=utf-8' }),
        untypedStatusJson(timedOut()),
      );
  }
}
