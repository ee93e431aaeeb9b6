import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from './eventually.ts';
import type { Credential, Endpoint } from './kube-client.ts';
import { LineSplitter } from './line-splitter.ts';
import { watchPath } from './watch-client.ts';
import { parseWatchEvent } from './watch-event.ts';
import { RecordedStream, type WatchRequest } from './watch-recorder.ts';

export interface HoppingWatchOptions {
  /** It begins at the first, and after each end goes on at the next, round and round. */
  readonly endpoints: readonly Endpoint[];
  readonly credential: Credential;
  readonly request: WatchRequest;
  /** Of its record. */
  readonly id: number;
}

const OPEN_TIMEOUT_MS = 5_000;
const RETRY_MS = 100;
const GONE = 410;

/**
 * A watch as an informer keeps it: when its stream ends, however, it goes on elsewhere from the version it holds. All
 * that it was sent is one record, as if it had been one stream. A 410 ends it, as the `ended` of the record.
 */
export class HoppingWatch {
  readonly record: RecordedStream;
  /** How often each end and each answer other than 200 was met, and in-stream errors other than 410. */
  readonly setbacks = new Map<string, number>();
  /** Where each stream began: `SERVER from VERSION, after N events`. */
  readonly trail: string[] = [];
  readonly #options: HoppingWatchOptions;
  readonly #closed = new AbortController();
  #at = 0;
  #hops = 0;
  #session: ClientHttp2Session | undefined;
  #leaving = false;
  #running: Promise<void> | undefined;

  private constructor(options: HoppingWatchOptions) {
    this.#options = options;
    this.record = new RecordedStream(options.id, options.request);
  }

  /** Resolves once its initial events, if it asked for some, are there. */
  static async open(options: HoppingWatchOptions): Promise<HoppingWatch> {
    const watch = new HoppingWatch(options);
    watch.#running = watch.#run();
    try {
      await eventually({ what: `watch ${options.id} has begun`, timeoutMs: 30_000, everyMs: 20 }, () => {
        return watch.record.position > 0 || watch.record.ended !== undefined;
      });
    } catch (cause) {
      watch.close();
      throw new Error(`watch ${options.id} met ${JSON.stringify([...watch.setbacks])}`, { cause });
    }
    return watch;
  }

  /** Streams it has had after its first. */
  get hops(): number {
    return this.#hops;
  }

  /** Leaves where it is for the next endpoint. */
  hop(): void {
    this.#leaving = true;
    this.#session?.destroy();
  }

  close(): void {
    this.#closed.abort();
    this.#session?.destroy();
  }

  async closed(): Promise<void> {
    this.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { endpoints } = this.#options;
    const { signal } = this.#closed;
    while (!signal.aborted && this.record.ended === undefined) {
      const endpoint = endpoints[this.#at % endpoints.length];
      if (endpoint === undefined) throw new Error('a watch needs an endpoint');
      this.#at += 1;
      const how = await this.#follow(endpoint);
      if (signal.aborted) return;
      this.setbacks.set(how, (this.setbacks.get(how) ?? 0) + 1);
      this.#hops += 1;
      // A retry at once is what a balancer's next backend costs; refused ones are not hammered.
      if (how !== 'clean end') await sleep(RETRY_MS);
    }
  }

  /** One stream; resolves with how it ended. */
  async #follow(endpoint: Endpoint): Promise<string> {
    const { credential } = this.#options;
    const session = connect(endpoint.server, {
      ca: endpoint.ca,
      settings: { enablePush: false, initialWindowSize: 1 << 20 },
      ...(credential.cert === undefined ? {} : { cert: credential.cert }),
      ...(credential.key === undefined ? {} : { key: credential.key }),
    });
    this.#session = session;
    this.#leaving = false;
    const { position, events } = this.record;
    this.trail.push(`${endpoint.server} from ${position}, after ${events.length} events`);
    session.on('error', () => undefined); // its stream gets the error too
    if (this.#closed.signal.aborted) session.destroy();
    const stream = session.request({
      [constants.HTTP2_HEADER_PATH]: watchPath(this.#resumed()),
      accept: 'application/json',
      ...(credential.token === undefined ? {} : { authorization: `Bearer ${credential.token}` }),
    });
    const timer = setTimeout(() => session.destroy(), OPEN_TIMEOUT_MS);
    try {
      return await this.#read(stream, timer);
    } finally {
      clearTimeout(timer);
      session.destroy();
    }
  }

  /** What to ask for now. Initial events that did not come to their end are asked for anew. */
  #resumed(): WatchRequest {
    const { position, request } = this.record;
    if (position > 0) return { ...request, resourceVersion: position };
    this.record.events.length = 0;
    this.record.times.length = 0;
    return request;
  }

  #read(stream: ClientHttp2Stream, timer: NodeJS.Timeout): Promise<string> {
    return new Promise((resolve) => {
      const lines = new LineSplitter();
      let status = 0;
      let ended = 'cut';
      stream.on('response', (headers) => {
        clearTimeout(timer);
        status = headers[':status'] ?? 0;
        if (status === 200) return;
        ended = `answer ${status}`;
        if (status === GONE) this.record.ended = ended;
      });
      stream.on('data', (chunk: Buffer) => {
        if (status !== 200) ended = `${ended}${chunk.toString()}`.slice(0, 200);
        if (status !== 200) return;
        const now = performance.now();
        for (const line of lines.push(chunk)) ended = this.#event(line, now) ?? ended;
      });
      stream.on('error', () => undefined); // `close` follows
      stream.on('end', () => {
        if (ended === 'cut' && status === 200 && lines.whole && !stream.destroyed && stream.rstCode === 0)
          ended = 'clean end';
      });
      stream.on('close', () => resolve(this.#leaving ? 'hop' : ended));
    });
  }

  /** Returns how the stream ends, if this event says so. */
  #event(line: string, now: number): string | undefined {
    const event = parseWatchEvent(line);
    if (event.type !== 'ERROR') {
      this.record.record(event, now);
      return undefined;
    }
    const how = `ERROR ${event.code}`;
    if (event.code !== GONE) return how;
    this.record.record(event, now);
    this.record.ended = how;
    return how;
  }
}

/** Hopping watches of one client, each beginning at another of the endpoints. */
export class HoppingWatches {
  readonly watches: readonly HoppingWatch[];

  private constructor(watches: readonly HoppingWatch[]) {
    this.watches = watches;
  }

  static async open(
    endpoints: readonly Endpoint[],
    credential: Credential,
    requests: readonly WatchRequest[],
  ): Promise<HoppingWatches> {
    const opening = requests.map((request, id) => {
      const turned = endpoints.map((_, index) => endpoints[(id + index) % endpoints.length]!);
      return HoppingWatch.open({ endpoints: turned, credential, request, id });
    });
    return new HoppingWatches(await Promise.all(opening));
  }

  get records(): RecordedStream[] {
    return this.watches.map(({ record }) => record);
  }

  /** All setbacks of all, for a claim or a failing test. */
  get setbacks(): string[] {
    const sums = new Map<string, number>();
    for (const { setbacks } of this.watches) {
      for (const [how, count] of setbacks) sums.set(how, (sums.get(how) ?? 0) + count);
    }
    return [...sums].map(([how, count]) => `${how}: ${count}`);
  }

  /** Resolves when each has got to its target; rejects with one that has not in time, or has ended. */
  async reached(targetOf: (record: RecordedStream) => number, timeoutMs: number): Promise<void> {
    const behind = (): RecordedStream | undefined =>
      this.records.find((record) => record.position < targetOf(record) && record.ended === undefined);
    try {
      await eventually({ what: 'all watches are up to date', timeoutMs, everyMs: 50 }, () => behind() === undefined);
    } catch (cause) {
      const record = behind();
      if (record === undefined) return;
      const { id, request, position } = record;
      throw new Error(
        `watch ${id} of ${JSON.stringify(request)} is at ${position}, not ${targetOf(record)}; all met ${this.setbacks.join(', ')}`,
        { cause },
      );
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.watches.map((watch) => watch.closed()));
  }
}
