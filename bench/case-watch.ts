import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import type { Endpoint } from '@dogwatch/test/support/kube-client.ts';

/** A watch event as the cases look at it. */
export interface CaseEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: {
    readonly kind: string;
    readonly apiVersion: string;
    readonly metadata: {
      readonly name?: string;
      readonly namespace?: string;
      readonly resourceVersion: string;
      readonly annotations?: Readonly<Record<string, string>>;
      readonly labels?: Readonly<Record<string, string>>;
    };
    readonly message?: string;
    readonly reason?: string;
    readonly code?: number;
    readonly data?: Readonly<Record<string, string>>;
  };
}

const PATIENCE_MS = 10_000;

/** One watch over HTTP/1.1, read line by line. */
export class CaseWatch {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly #response: IncomingMessage;
  readonly #events: CaseEvent[] = [];
  #text = '';
  /** Chunks of bytes that came. */
  pieces = 0;
  #ended = false;
  #broken: Error | undefined;
  #wake: (() => void) | undefined;

  private constructor(response: IncomingMessage) {
    this.#response = response;
    this.status = response.statusCode ?? 0;
    this.headers = response.headers;
    response.setEncoding('utf8');
    if (response.headers['content-type'] === 'application/json') {
      response.on('data', (text: string) => this.#read(text));
    } else {
      response.resume();
    }
    response.on('end', () => this.#settle(true));
    response.on('error', (error) => {
      this.#broken = error;
      this.#settle(true);
    });
  }

  /** What another `accept` brings may not be read as events. */
  static open(endpoint: Endpoint, token: string, path: string, accept = 'application/json'): Promise<CaseWatch> {
    return new Promise((resolve, reject) => {
      const headers = { accept, authorization: `Bearer ${token}` };
      const outgoing = request(new URL(path, endpoint.server), { ca: endpoint.ca, headers, agent: false }, (response) =>
        resolve(new CaseWatch(response)),
      );
      outgoing.on('error', reject);
      outgoing.end();
    });
  }

  /** The next event, or undefined at the clean end of the stream. Rejects after ten seconds of silence, and if it breaks. */
  async next(): Promise<CaseEvent | undefined> {
    while (this.#events.length === 0 && !this.#ended) await this.#change();
    if (this.#events.length === 0 && this.#broken !== undefined) throw this.#broken;
    return this.#events.shift();
  }

  /** True once the stream has ended, or broken. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The next `count` events, none of them a bookmark. */
  async take(count: number): Promise<CaseEvent[]> {
    const taken: CaseEvent[] = [];
    while (taken.length < count) {
      const event = await this.next();
      assert(event !== undefined, `the watch ended after ${taken.length} of ${count} events`);
      if (event.type !== 'BOOKMARK') taken.push(event);
    }
    return taken;
  }

  /** Everything until the clean end. */
  async rest(): Promise<CaseEvent[]> {
    const events: CaseEvent[] = [];
    for (let event = await this.next(); event !== undefined; event = await this.next()) events.push(event);
    return events;
  }

  close(): void {
    this.#response.destroy();
  }

  #change(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no event within ${PATIENCE_MS / 1000} s`)), PATIENCE_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #read(text: string): void {
    this.pieces += 1;
    const lines = (this.#text + text).split('\n');
    this.#text = lines.pop() ?? '';
    for (const line of lines) this.#events.push(JSON.parse(line) as CaseEvent);
    this.#settle(false);
  }

  #settle(ended: boolean): void {
    this.#ended ||= ended;
    this.#wake?.();
    this.#wake = undefined;
  }
}

/** `TYPE name` of each event. */
export function summary(events: readonly CaseEvent[]): string[] {
  return events.map(({ type, object }) => `${type} ${object.metadata.name ?? ''}`.trim());
}
