import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { LagHistogram } from '@dogwatch/bench/lag-histogram.ts';
import { createFrameScanner } from '@dogwatch/kube/frame-scanner.ts';
import type { Encoding } from '@dogwatch/kube/lane.ts';
import { scanObject } from '@dogwatch/kube/object-scanner.ts';
import { parseWatchFrame } from '@dogwatch/kube/watch-event.ts';
import { eventually } from './eventually.ts';
import type { Credential, Endpoint } from './kube-client.ts';
import { watchPath } from './watch-client.ts';
import type { WatchRequest } from './watch-recorder.ts';

export interface RateWatchOptions {
  /** It begins at the first, and after each end goes on at the next. */
  readonly endpoints: readonly Endpoint[];
  readonly credential: Credential;
  readonly request: WatchRequest;
  readonly encoding: Encoding;
  /** Also keep the key and type of each event; default false. */
  readonly keepKeys?: boolean;
  /** Keep the version of each event; default true. Millions of them cost the reader pauses of its own. */
  readonly keepVersions?: boolean;
  /** How much may be on its way before it is read; default 16 MiB, so that a busy moment of this process holds nothing up. */
  readonly windowBytes?: number;
  /** When a version was written, `performance.now()`; without it nothing is known of lags. */
  readonly writtenAt?: (version: number) => number | undefined;
}

const WINDOW_BYTES = 16 * 1024 * 1024;
const OPEN_TIMEOUT_MS = 5_000;
const RETRY_MS = 100;

/** A watch for tens of thousands of events a second: of each it keeps the version, and counts what is out of order. */
export class RateWatch {
  /** Of every live event, in the order of arrival, if they are kept. */
  readonly versions: number[] = [];
  /** Aligned with `versions` if keys are kept. */
  readonly keys: string[] = [];
  readonly types: string[] = [];
  /** From each write to its arrival, since it was last cleared. */
  readonly lags = new LagHistogram();
  /** Objects it began with. */
  initial = 0;
  /** Events at or below the version held when they came. */
  disordered = 0;
  /** How each stream ended, and answers other than 200. */
  readonly setbacks: string[] = [];
  /** True after a 410; it then stays where it is. */
  expired = false;
  readonly #options: RateWatchOptions;
  #position: number;
  #live: boolean;
  #closed = false;
  #paused = false;
  #session: ClientHttp2Session | undefined;
  #leaving = false;
  #stream: ClientHttp2Stream | undefined;
  #running: Promise<void> | undefined;

  private constructor(options: RateWatchOptions) {
    this.#options = options;
    this.#position = options.request.resourceVersion ?? 0;
    this.#live = this.#position > 0;
  }

  /** Resolves once its initial events, if it asked for some, are there. */
  static async open(options: RateWatchOptions): Promise<RateWatch> {
    const watch = new RateWatch(options);
    watch.#running = watch.#run();
    try {
      await eventually({ what: 'a watch has begun', timeoutMs: 60_000, everyMs: 20 }, () => watch.#live);
    } catch (cause) {
      watch.close();
      throw new Error(`the watch met ${watch.setbacks.join(', ')}`, { cause });
    }
    return watch;
  }

  /** The highest version it holds, bookmarks included; 0 before its initial events have ended. */
  get position(): number {
    return this.#live ? this.#position : 0;
  }

  /** Reads nothing from now on, so that its connection fills up. */
  pause(): void {
    this.#paused = true;
    this.#stream?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#stream?.resume();
  }

  /** Leaves where it is for the next endpoint. */
  hop(): void {
    this.#leaving = true;
    this.#session?.destroy();
  }

  /** How many of (after, upTo] were not delivered; to be asked of a lane to which every version belongs. */
  missing(after: number, upTo: number): number {
    return upTo - after - new Set(this.versions.filter((version) => version > after && version <= upTo)).size;
  }

  async reached(version: number, timeoutMs: number): Promise<void> {
    try {
      const wait = { what: `a watch is at ${version}`, timeoutMs, everyMs: 50 };
      await eventually(wait, () => this.position >= version || this.expired);
    } catch (cause) {
      throw new Error(`it is at ${this.position} and met ${this.setbacks.join(', ')}`, { cause });
    }
  }

  close(): void {
    this.#closed = true;
    this.#session?.destroy();
  }

  async closed(): Promise<void> {
    this.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { endpoints } = this.#options;
    for (let turn = 0; !this.#closed && !this.expired; turn += 1) {
      const endpoint = endpoints[turn % endpoints.length];
      if (endpoint === undefined) throw new Error('a watch needs an endpoint');
      const how = await this.#follow(endpoint);
      if (this.#closed) return;
      this.setbacks.push(how);
      if (!this.expired) await sleep(RETRY_MS);
    }
  }

  async #follow(endpoint: Endpoint): Promise<string> {
    const { credential, request, encoding, windowBytes = WINDOW_BYTES } = this.#options;
    const settings = { enablePush: false, initialWindowSize: windowBytes };
    const session = connect(endpoint.server, { ca: endpoint.ca, settings });
    session.once('connect', () => session.setLocalWindowSize(windowBytes));
    this.#session = session;
    this.#leaving = false;
    session.on('error', () => undefined); // its stream gets the error too
    const { resourceVersion: _, ...fresh } = request;
    const stream = session.request({
      [constants.HTTP2_HEADER_PATH]: watchPath(this.#live ? { ...request, resourceVersion: this.#position } : fresh),
      accept: encoding === 'json' ? 'application/json' : 'application/vnd.kubernetes.protobuf',
      authorization: `Bearer ${credential.token}`,
    });
    this.#stream = stream;
    const timer = setTimeout(() => session.destroy(), OPEN_TIMEOUT_MS);
    try {
      return await this.#read(stream, timer);
    } finally {
      clearTimeout(timer);
      session.destroy();
    }
  }

  #read(stream: ClientHttp2Stream, timer: NodeJS.Timeout): Promise<string> {
    const { encoding } = this.#options;
    const scanner = createFrameScanner(encoding);
    return new Promise((resolve) => {
      let status = 0;
      let ended = 'cut';
      stream.on('response', (headers) => {
        clearTimeout(timer);
        status = headers[':status'] ?? 0;
        if (status !== 200) ended = `answer ${status}`;
        if (status === 410) this.expired = true;
      });
      stream.on('data', (chunk: Buffer) => {
        if (status !== 200) return;
        const now = performance.now();
        scanner.push(chunk, (frame) => this.#frame(frame, now));
      });
      stream.on('error', () => undefined); // `close` follows
      stream.on('end', () => {
        if (ended === 'cut' && scanner.pendingBytes === 0 && stream.rstCode === 0) ended = 'clean end';
      });
      stream.on('close', () => resolve(this.#leaving ? 'hop' : ended));
      if (this.#paused) stream.pause();
    });
  }

  #frame(frame: Buffer, now: number): void {
    const { encoding, keepKeys = false, keepVersions = true } = this.#options;
    const { type, object } = parseWatchFrame(encoding, frame);
    if (type === 'ERROR') {
      this.setbacks.push(`ERROR ${object.toString('latin1').slice(0, 200)}`);
      this.expired ||= object.includes('Expired') || object.includes('"code":410');
      return;
    }
    const { namespace, name, resourceVersion, initialEventsEnd } = scanObject(encoding, object);
    if (!this.#live) {
      if (!initialEventsEnd) this.initial += 1;
      if (!initialEventsEnd) return;
      this.#live = true;
      this.#position = resourceVersion;
      return;
    }
    if (type === 'BOOKMARK') {
      if (resourceVersion < this.#position) this.disordered += 1;
      this.#position = Math.max(this.#position, resourceVersion);
      return;
    }
    if (resourceVersion <= this.#position) this.disordered += 1;
    this.#position = Math.max(this.#position, resourceVersion);
    if (keepVersions) this.versions.push(resourceVersion);
    if (keepKeys) {
      this.keys.push(namespace === '' ? name : `${namespace}/${name}`);
      this.types.push(type);
    }
    const written = this.#options.writtenAt?.(resourceVersion);
    if (written !== undefined) this.lags.record((now - written) * 1_000);
  }
}
