import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { frameBookmark, frameEvent, frameStatusEvent, minimalBookmark } from '@dogwatch/kube/event-framer.ts';
import { frameList } from '@dogwatch/kube/list-framer.ts';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { StatusBody } from '@dogwatch/kube/status.ts';
import type { Upstream, UpstreamRequest, UpstreamResponse } from '@dogwatch/upstream/upstream.ts';
import type { ChangeType } from '@dogwatch/watch/event-window.ts';

export const PODS: Lane = { group: '', version: 'v1', resource: 'pods', encoding: 'json', view: 'object' };
const TEMPLATE = minimalBookmark('json', 'Pod', 'v1');

/** Lets streams deliver and promises settle. */
export async function turns(count = 8): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Waits for something that needs no time but turns of the event loop. */
export async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !holds(); i++) await turns(1);
  assert(holds(), `this never holds: ${holds.toString()}`);
}

/** kube-apiserver written by hand: requests wait until the test answers them. */
export class TestUpstream implements Upstream {
  readonly server = new URL('https://upstream.test');
  /** All requests so far. */
  readonly requests: TestRequest[] = [];
  #taken = 0;
  /** Set to make every request fail before it is answered. */
  unreachable: Error | undefined;

  open(request: UpstreamRequest): Promise<UpstreamResponse> {
    if (request.signal.aborted) return Promise.reject(request.signal.reason as Error);
    if (this.unreachable !== undefined) return Promise.reject(this.unreachable);
    const made = new TestRequest(request);
    this.requests.push(made);
    return made.response;
  }

  /** The next request, waited for. */
  async next(): Promise<TestRequest> {
    await until(() => this.requests.length > this.#taken);
    return this.requests[this.#taken++]!;
  }

  forward(): never {
    throw new Error('nothing is forwarded here');
  }

  ownHeaders(): Promise<Record<string, string>> {
    return Promise.resolve({});
  }

  ownCredentialRefused(): void {}

  close(): void {}
}

/** One request; each way to answer may be used once. */
export class TestRequest {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly accept: string | undefined;
  readonly signal: AbortSignal;
  readonly response: Promise<UpstreamResponse>;
  readonly #resolve: (response: UpstreamResponse) => void;
  readonly #reject: (error: unknown) => void;

  constructor({ path, headers, signal }: UpstreamRequest) {
    const url = new URL(path, 'https://upstream.test');
    this.path = url.pathname;
    this.query = url.searchParams;
    this.accept = headers?.['accept'];
    this.signal = signal;
    const { promise, resolve, reject } = Promise.withResolvers<UpstreamResponse>();
    this.response = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  }

  get isWatch(): boolean {
    return this.query.get('watch') === 'true';
  }

  /** True if it asks for the objects first. */
  get isWatchList(): boolean {
    return this.query.get('sendInitialEvents') === 'true';
  }

  /** Version a watch goes on from. */
  get from(): number {
    return Number(this.query.get('resourceVersion'));
  }

  /** Answers 200 with a stream. */
  stream(headers: Record<string, string> = {}): TestStream {
    const stream = new TestStream(this.signal);
    this.#resolve({ status: 200, headers, body: stream.body });
    return stream;
  }

  /** Answers a watch-list whole; the stream goes on as a watch. */
  listing(rv: number, objects: readonly KubeObject[]): TestStream {
    const stream = this.stream();
    for (const object of objects) stream.send('ADDED', object);
    stream.bookmark(rv, true);
    return stream;
  }

  /** Answers with one page of a LIST. */
  page(rv: number, objects: readonly KubeObject[], next = ''): void {
    const head = { kind: 'PodList', apiVersion: 'v1', layout: 'typed', resourceVersion: rv } as const;
    const parts = frameList(
      'json',
      next === '' ? head : { ...head, continue: next },
      objects.map(({ bytes }) => bytes),
    );
    const stream = this.stream();
    for (const part of parts) stream.raw(part);
    stream.end();
  }

  refuse(code: number, status: Partial<StatusBody> = {}): void {
    const body = Readable.from([Buffer.from(JSON.stringify({ kind: 'Status', status: 'Failure', code, ...status }))]);
    this.#resolve({ status: code, headers: { 'content-type': 'application/json' }, body });
  }

  refuseText(code: number, text: string): void {
    this.#resolve({
      status: code,
      headers: { 'content-type': 'text/plain' },
      body: Readable.from([Buffer.from(text)]),
    });
  }

  /** No answer: the connection is lost. */
  fail(error: Error): void {
    this.#reject(error);
  }
}

/** The body of an answer. */
export class TestStream {
  readonly body: Readable;

  constructor(signal: AbortSignal) {
    this.body = new Readable({ read() {} });
    signal.addEventListener('abort', () => this.body.destroy(signal.reason as Error), { once: true });
  }

  /** True once the reader has let go of it. */
  get cancelled(): boolean {
    return this.body.destroyed;
  }

  send(type: ChangeType, ...objects: readonly KubeObject[]): void {
    this.raw(Buffer.concat(objects.map(({ bytes }) => frameEvent('json', type, bytes))));
  }

  bookmark(rv: number, end = false): void {
    this.raw(frameBookmark(TEMPLATE, rv, end));
  }

  /** The ERROR event. */
  error(code: number, status: Partial<StatusBody> = {}): void {
    this.raw(frameStatusEvent('json', { status: 'Failure', code, ...status }));
  }

  raw(bytes: Buffer | string): void {
    this.body.push(bytes);
  }

  /** Clean end. */
  end(): void {
    this.body.push(null);
  }

  /** The connection is lost. */
  break(error = new Error('connection lost')): void {
    this.body.destroy(error);
  }
}

/** What `promise` rejects with; watched from now on, so that it may reject before it is looked at. */
export function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'it did not reject',
    (error: unknown) => error,
  );
}
