import { createFrameScanner } from '@dogwatch/kube/frame-scanner.ts';
import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import { type Answer, encodingOf, type End, header } from './answer.ts';
import type { VerifyRequest } from './request.ts';
import type { Opened, ServerSide } from './sides.ts';

/** For an answer that is no watch; longer than upstream's own deadline. */
const ANSWER_TIMEOUT_MS = 75_000;
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;
/** How long a watch is read that has no timeout of its own, and how much longer while the two differ. */
const WATCH_MS = 1_500;
const GRACE_MS = 4_000;
const POLL_MS = 100;

/** What both sides answered to one request. */
export interface Exchange {
  readonly request: VerifyRequest;
  readonly upstream: Answer;
  readonly dogwatch: Answer;
}

/** An answer while it comes. */
class Reading {
  status = 0;
  headers: Answer['headers'] = {};
  end: End | undefined;
  problem: string | undefined;
  readonly chunks: Buffer[] = [];
  frames: Buffer[] | undefined;
  cancel: () => void = () => undefined;
  readonly opened: Promise<void>;
  readonly done: Promise<void>;

  constructor(side: ServerSide, request: VerifyRequest, signal: AbortSignal) {
    const opening = side.open(request, signal);
    const reading = opening.then(
      (opened) => {
        this.#onHead(opened, request);
        return { done: this.#read(opened.body) };
      },
      (error: unknown) => this.#broken(error),
    );
    this.opened = reading.then(() => undefined);
    this.done = reading.then((begun) => begun?.done);
  }

  /** Ends it here. */
  cut(): void {
    if (this.end !== undefined) return;
    this.end = 'cut';
    this.cancel();
  }

  answer(): Answer {
    const { status, headers, frames, end = 'cut', problem } = this;
    const body = frames === undefined ? Buffer.concat(this.chunks) : Buffer.alloc(0);
    return { status, headers, body, frames: frames?.slice(), end, problem };
  }

  #onHead(opened: Opened, request: VerifyRequest): void {
    this.status = opened.status;
    this.headers = opened.headers;
    this.cancel = () => opened.cancel();
    if (request.stream && opened.status === 200 && isStream(this)) this.frames = [];
  }

  /** With listeners of its own: Node's iterator takes an HTTP/2 stream that has just ended for one that broke. */
  #read(body: Opened['body']): Promise<void> {
    const scanner = createFrameScanner(encodingOf(this));
    let size = 0;
    const take = (chunk: Buffer): void => {
      size += chunk.length;
      if (size > MAX_ANSWER_BYTES) throw new Error(`an answer of more than ${MAX_ANSWER_BYTES} bytes`);
      if (this.frames === undefined) this.chunks.push(chunk);
      else scanner.push(chunk, (frame) => this.frames?.push(Buffer.from(frame)));
    };
    return new Promise((resolve) => {
      body.on('data', (chunk: Buffer) => {
        try {
          take(chunk);
        } catch (error) {
          this.#broken(error);
          this.cancel();
        }
      });
      body.once('end', () => {
        if (scanner.pendingBytes > 0) this.#broken(new Error('a watch ended in the middle of a frame'));
        this.end ??= 'ended';
        resolve();
      });
      body.on('error', (error) => this.#broken(error));
      body.once('close', () => {
        this.#broken(new Error('closed before its end'));
        resolve();
      });
    });
  }

  #broken(error: unknown): void {
    if (this.end !== undefined) return;
    this.end = 'broken';
    const { code, message } = error as NodeJS.ErrnoException;
    this.problem = code ?? message;
  }
}

/** Whatever else has a length, or one document; a watch in YAML there is none. */
function isStream(answer: Pick<Answer, 'headers'>): boolean {
  const type = header(answer, 'content-type');
  return answer.headers['content-length'] === undefined && /^application\/(json|vnd\.kubernetes\.protobuf)/.test(type);
}

export interface ExchangeOptions {
  readonly upstream: ServerSide;
  readonly dogwatch: ServerSide;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Runs when both have answered with a head; the answers are read until it resolves, and on. */
  readonly meanwhile?: () => Promise<void>;
}

/** Sends the request to both at once and reads what they answer. What went wrong is in the answers: it rejects only as `meanwhile` does. */
export async function exchange(request: VerifyRequest, options: ExchangeOptions): Promise<Exchange> {
  const { upstream, dogwatch, clock } = options;
  const end = new AbortController();
  const timer = clock.setTimeout(() => end.abort(new Error('no answer in time')), ANSWER_TIMEOUT_MS);
  const signal = AbortSignal.any([end.signal, options.signal]);
  try {
    const pair = [new Reading(upstream, request, signal), new Reading(dogwatch, request, signal)] as const;
    await Promise.all(pair.map(({ opened }) => opened));
    await options.meanwhile?.();
    const done = Promise.all(pair.map((reading) => reading.done));
    if (pair.some(({ frames }) => frames !== undefined)) await seenEnough(request, pair, options);
    else await Promise.race([done, aborted(signal)]);
    for (const reading of pair) reading.cut();
    return { request, upstream: pair[0].answer(), dogwatch: pair[1].answer() };
  } finally {
    timer.cancel();
    end.abort(new Error('over'));
  }
}

/** Until both have ended, or their time is over and they have said as much as each other. */
async function seenEnough(
  request: VerifyRequest,
  pair: readonly Reading[],
  { clock, signal }: ExchangeOptions,
): Promise<void> {
  const start = clock.now();
  const asked = /[?&]timeoutSeconds=(\d{1,3})(&|$)/.exec(request.path)?.[1];
  const own = asked === undefined || asked === '0' ? WATCH_MS : Number(asked) * 1_000 + GRACE_MS;
  while (!signal.aborted && pair.some(({ end }) => end === undefined)) {
    const elapsed = clock.now() - start;
    const counts = pair.map(({ frames }) => frames?.length ?? 0);
    const even = counts[0] === counts[1] && pair.every(({ end }) => end === pair[0]?.end);
    if (elapsed > own + GRACE_MS || (elapsed > own && even)) break;
    await sleep(clock, POLL_MS, signal);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
