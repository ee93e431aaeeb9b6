import { type ClientHttp2Session, connect } from 'node:http2';
import type { Encoding } from '@dogwatch/kube/lane.ts';
import { countError, LoadStream, type LoadTotals } from './load-stream.ts';
import { monotonicMicros } from './written-stamp.ts';

/** Where to connect. PEM texts. */
export interface LoadTarget {
  readonly server: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly insecure?: boolean;
}

/** One HTTP/2 connection and its watches. */
export interface LoadConnectionPlan {
  /** Authorization header; absent: a client certificate, or nobody. */
  readonly authorization?: string;
  /** Paths with their queries; each a watch-list. */
  readonly paths: readonly string[];
  /** Default: json. */
  readonly encoding?: Encoding;
}

/** As client-go asks for objects in watches. */
const ACCEPT: Readonly<Record<Encoding, string>> = {
  json: 'application/json',
  protobuf: 'application/vnd.kubernetes.protobuf;stream=watch',
};
const REOPEN_MS = 1_000;
const SESSION_WINDOW = 16 * 1024 * 1024;
const STREAM_WINDOW = 1024 * 1024;
const WATCH_LIST = 'watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan';
const WATCH_FROM = 'watch=1&allowWatchBookmarks=true&resourceVersion=';

/** The query that makes a collection's path a watch-list, as informers since 1.35 ask for it. */
export function watchListPath(collection: string, fieldSelector?: string): string {
  return `${collection}?${WATCH_LIST}${fieldSelector === undefined ? '' : `&fieldSelector=${encodeURIComponent(fieldSelector)}`}`;
}

/** Holds a connection's watches open: what ends is opened again a second later from its last version, as a reflector does. */
export class LoadConnection {
  readonly streams: readonly LoadStream[];
  readonly #target: LoadTarget;
  readonly #plan: LoadConnectionPlan;
  readonly #totals: LoadTotals;
  readonly #timers = new Set<NodeJS.Timeout>();
  #session: ClientHttp2Session | undefined;
  #closed = false;

  constructor(target: LoadTarget, plan: LoadConnectionPlan, totals: LoadTotals) {
    this.#target = target;
    this.#plan = plan;
    this.#totals = totals;
    this.streams = plan.paths.map(() => new LoadStream(totals, plan.encoding));
  }

  open(): void {
    const { server, ca, cert, key, insecure } = this.#target;
    const session = connect(server, {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      rejectUnauthorized: insecure !== true,
      settings: { initialWindowSize: STREAM_WINDOW, enablePush: false },
    });
    this.#session = session;
    session.on('connect', () => {
      if (!session.destroyed) session.setLocalWindowSize(SESSION_WINDOW);
    });
    session.on('error', (error: NodeJS.ErrnoException) => countError(this.#totals.counts, error.code ?? error.message));
    session.on('close', () => this.#later(() => this.open()));
    for (let index = 0; index < this.streams.length; index += 1) this.#request(session, index);
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#session?.destroy();
  }

  #request(session: ClientHttp2Session, index: number): void {
    const stream = this.streams[index];
    const path = this.#plan.paths[index];
    if (stream === undefined || path === undefined || session.destroyed || session.closed) return;
    const { counts } = this.#totals;
    const resume = stream.resumeVersion;
    stream.reopened(resume > 0);
    const request = session.request({
      ':path': resume > 0 ? path.replace(WATCH_LIST, `${WATCH_FROM}${resume}`) : path,
      accept: ACCEPT[this.#plan.encoding ?? 'json'],
      ...(this.#plan.authorization === undefined ? {} : { authorization: this.#plan.authorization }),
    });
    let open = false;
    request.on('response', ({ ':status': status }) => {
      open = status === 200;
      if (open) counts.open += 1;
      else countError(counts, `HTTP ${status}`);
      // Not before: data of the same read would be emitted ahead of the response.
      request.on('data', (chunk: Buffer) => {
        if (open) stream.read(chunk, monotonicMicros());
      });
    });
    request.on('error', (error: NodeJS.ErrnoException) => {
      if (!this.#closed) countError(counts, error.code ?? error.message);
    });
    request.on('close', () => {
      if (open) counts.open -= 1;
      if (this.#closed) return;
      counts.ended += 1;
      this.#later(() => this.#request(session, index));
    });
  }

  #later(action: () => void): void {
    if (this.#closed) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, REOPEN_MS);
    this.#timers.add(timer);
  }
}
