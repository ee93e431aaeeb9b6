import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { NatsAppender, logVersion } from './nats-appender.ts';
import { NatsLogReader, type LogReaderOptions } from './nats-log-reader.ts';
import type { NatsPort } from './nats-port.ts';
import { NatsStream, type StreamFacts } from './nats-stream.ts';
import { DEFAULT_SUBJECT_PREFIX, type LogResource, logSubject, logSubjects, streamName } from './nats-subject.ts';

/** Within it a repeated append is recognised by its id; the server keeps about 180 bytes for each. */
const DUPLICATE_WINDOW_MS = 60_000;
const MEBIBYTE = 1024 * 1024;

export interface NatsLogOptions {
  readonly port: NatsPort;
  readonly clock: Clock;
  readonly log: Log;
  readonly resource: LogResource;
  /** Default `dogwatch`. */
  readonly prefix?: string;
  /** Servers that keep a copy: 1, 3 or 5. */
  readonly replicas: number;
  readonly storage: 'file' | 'memory';
  /** Reserved by every server that keeps a copy; the oldest envelopes go first. */
  readonly maxBytes: number;
  /** At least a minute. */
  readonly maxAgeMs: number;
  /** Longest envelope a reader puts together. Default 1 GiB. */
  readonly maxEnvelopeBytes?: number;
}

/** The server keeps no streams. */
export class NoJetStream extends Error {
  readonly code = 'NoJetStream';
  constructor(server: string) {
    super(`NATS server ${server} runs without JetStream: enable it with "jetstream {}" in its configuration`);
  }
}

/** The log of one resource: a JetStream stream that keeps the envelopes of its tracks for those that were away. */
export class NatsLog {
  readonly #options: NatsLogOptions;
  readonly #stream: NatsStream;
  readonly #prefix: string;

  constructor(options: NatsLogOptions) {
    this.#options = options;
    this.#prefix = options.prefix ?? DEFAULT_SUBJECT_PREFIX;
    this.#stream = new NatsStream(options.port, streamName(this.#prefix, options.resource));
  }

  /** Makes the stream, or gives it the settings of this log. Throws NoJetStream, JetStreamError. */
  async open(): Promise<StreamFacts> {
    const { port } = this.#options;
    if (!port.server.jetStream) throw new NoJetStream(port.server.name);
    const { resource, replicas, storage, maxBytes, maxAgeMs } = this.#options;
    return this.#stream.ensure({
      subjects: logSubjects(this.#prefix, resource),
      replicas,
      storage,
      maxBytes,
      maxAgeMs,
      duplicateWindowMs: DUPLICATE_WINDOW_MS,
    });
  }

  /** Where the log of a track ends; undefined if it has none. Throws what a request to JetStream throws. */
  async end(track: string): Promise<{ readonly sequence: number; readonly rv: ResourceVersion } | undefined> {
    const last = await this.#stream.last(logSubject(this.#prefix, this.#options.resource, track));
    return last === undefined ? undefined : { sequence: last.sequence, rv: logVersion(last) };
  }

  /** Takes the leadership over a track; see NatsAppender. */
  campaign(track: string): Promise<NatsAppender> {
    const { port, clock, log, resource } = this.#options;
    return NatsAppender.campaign({
      stream: this.#stream,
      port,
      clock,
      log,
      track,
      duplicateWindowMs: DUPLICATE_WINDOW_MS,
      dataSubject: logSubject(this.#prefix, resource, track),
      fenceSubject: logSubject(this.#prefix, resource, track, true),
    });
  }

  /** Reads a track and follows it until stopped. */
  read(track: string, reading: Pick<LogReaderOptions, 'from' | 'onEnvelope' | 'onLost'>): NatsLogReader {
    const { port, clock, log, resource, maxEnvelopeBytes = 1024 * MEBIBYTE } = this.#options;
    return new NatsLogReader({
      stream: this.#stream,
      port,
      clock,
      log,
      track,
      maxEnvelopeBytes,
      subject: logSubject(this.#prefix, resource, track),
      ...reading,
    });
  }
}
