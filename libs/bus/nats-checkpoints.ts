import { randomBytes } from 'node:crypto';
import { type Clock, NEVER } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { PageAppender, readPages } from './nats-checkpoint-pages.ts';
import { NoJetStream } from './nats-log.ts';
import { patiently } from './nats-patience.ts';
import type { NatsPort } from './nats-port.ts';
import { JetStreamError, NatsStream } from './nats-stream.ts';
import { DEFAULT_SUBJECT_PREFIX, checkpointStreamName, checkpointSubject } from './nats-subject.ts';

/** Nothing goes on from an older one: logs are shorter. */
const MAX_AGE_MS = 24 * 3_600_000;
const DUPLICATE_WINDOW_MS = 1_000;
const WRITE_MAX_MS = 300_000;
/** Pages of a checkpoint that is not whole by then are those of a writer that died. By the wall clocks of two machines. */
const ABANDONED_MS = 2 * WRITE_MAX_MS;
const WHOLE_ATTEMPTS_MAX = 10;
const WRONG_LAST_SEQUENCE = 10_071;
/** Room for the headers of a page, and for those the server adds when it is read. */
const HEADER_BYTES_MAX = 4_096;

export interface NatsCheckpointsOptions {
  readonly port: NatsPort;
  readonly clock: Clock;
  readonly log: Log;
  /** Default `dogwatch`. */
  readonly prefix?: string;
  /** Servers that keep a copy: 1, 3 or 5. */
  readonly replicas: number;
  readonly storage: 'file' | 'memory';
  /**
   * Reserved by every server that keeps a copy. A checkpoint that does not fit is not written: it must hold two of
   * every track for a moment.
   */
  readonly maxBytes: number;
}

export interface CheckpointFacts {
  readonly id: string;
  /** When its writing began: milliseconds since 1970 by the writer's clock. */
  readonly at: number;
  /** Of all its pages. */
  readonly bytes: number;
}

export interface Checkpoint extends CheckpointFacts {
  /** In order, each read when it is asked for; see readPages. Throws CheckpointGone. */
  pages(): AsyncIterable<Buffer>;
}

/** The checkpoint could not be stored. The one before stays; write again later. */
export class CheckpointNotWritten extends Error {
  readonly code = 'CheckpointNotWritten';
  constructor(track: string, cause: unknown) {
    super(`the checkpoint of track ${track} was not written; the one before stays`, { cause });
  }
}

/** The last message of a whole checkpoint. */
interface Whole extends CheckpointFacts {
  readonly pages: number;
  /** Stream sequence of its first page. */
  readonly first: number;
}

/**
 * The newest checkpoint of every track, in one JetStream stream. The pages of each checkpoint have a subject of their
 * own, so that writers never mix; a last message, put over the one before, makes it whole. One that was begun later
 * is newer, whoever is done first.
 */
export class NatsCheckpoints {
  readonly #options: NatsCheckpointsOptions;
  readonly #prefix: string;
  readonly #stream: NatsStream;

  constructor(options: NatsCheckpointsOptions) {
    this.#options = options;
    this.#prefix = options.prefix ?? DEFAULT_SUBJECT_PREFIX;
    this.#stream = new NatsStream(options.port, checkpointStreamName(this.#prefix));
  }

  /** Makes the stream, or gives it these settings. Throws NoJetStream, and what a request throws after 15 s of trying. */
  async open(): Promise<void> {
    const { port, clock, replicas, storage, maxBytes } = this.#options;
    if (!port.server.jetStream) throw new NoJetStream(port.server.name);
    const settings = {
      subjects: `${this.#prefix}.checkpoint.>`,
      replicas,
      storage,
      maxBytes,
      discard: 'new',
      maxAgeMs: MAX_AGE_MS,
      duplicateWindowMs: DUPLICATE_WINDOW_MS,
    } as const;
    await patiently({ clock }, () => this.#stream.ensure(settings));
  }

  /** The newest whole checkpoint, if there is one. Throws what a request throws, after 15 s of trying. */
  async latest(track: string): Promise<CheckpointFacts | undefined> {
    const whole = await patiently({ clock: this.#options.clock }, () => this.#whole(track));
    return whole === undefined ? undefined : factsOf(whole);
  }

  /** As `latest`, with its pages. */
  async read(track: string): Promise<Checkpoint | undefined> {
    const { clock } = this.#options;
    const whole = await patiently({ clock }, () => this.#whole(track));
    if (whole === undefined) return undefined;
    const { id, pages, first } = whole;
    const subject = checkpointSubject(this.#prefix, track, id);
    return {
      ...factsOf(whole),
      pages: () => readPages({ stream: this.#stream, clock, track, id, subject, pages, first }),
    };
  }

  /**
   * Appends the pages, each taken when there is room for it, and makes them the newest checkpoint, unless one that was
   * begun later is there already. Resolves with the newest. Throws CheckpointNotWritten, within 5 min, and what `pages`
   * throws. What JetStream cannot take for now is tried again, until `signal` aborts.
   */
  async write(
    track: string,
    pages: Iterable<Buffer> | AsyncIterable<Buffer>,
    signal = NEVER,
  ): Promise<CheckpointFacts> {
    const { clock } = this.#options;
    const at = Math.floor(clock.wall());
    const id = `${at}-${randomBytes(6).toString('hex')}`;
    const subject = checkpointSubject(this.#prefix, track, id);
    try {
      const appended = await this.#append(track, pages, { subject, signal });
      const own = { id, at, bytes: appended.bytes, pages: appended.pages, first: appended.first };
      const { newest, replaced } = await this.#makeWhole(track, own, signal);
      await this.#sweep(track, newest, replaced);
      return factsOf(newest);
    } catch (error) {
      await this.#drop(subject);
      throw error;
    }
  }

  async #append(
    track: string,
    pages: Iterable<Buffer> | AsyncIterable<Buffer>,
    to: { readonly subject: string; readonly signal: AbortSignal },
  ): Promise<PageAppender> {
    const { port, clock } = this.#options;
    const maxMessageBytes = port.server.maxPayloadBytes - HEADER_BYTES_MAX;
    const appender = new PageAppender({ stream: this.#stream, clock, maxMessageBytes, ...to });
    const deadline = clock.now() + WRITE_MAX_MS;
    const store = async (stored: Promise<void>): Promise<void> => {
      try {
        await stored;
        if (clock.now() > deadline) throw new Error(`not written within ${WRITE_MAX_MS / 1_000} s`);
      } catch (error) {
        throw new CheckpointNotWritten(track, error);
      }
    };
    for await (const page of pages) {
      await store(appender.add(page));
      // Making a page takes its time: others have their turn before the next.
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
    await store(appender.settle());
    return appender;
  }

  /** Resolves with the newest checkpoint, this one or one that was begun later, and the id of the other. */
  async #makeWhole(
    track: string,
    own: Whole,
    signal: AbortSignal,
  ): Promise<{ newest: Whole; replaced: string | undefined }> {
    const { clock } = this.#options;
    const subject = checkpointSubject(this.#prefix, track);
    for (let attempt = 0; attempt < WHOLE_ATTEMPTS_MAX; attempt++) {
      try {
        return await patiently({ clock, signal }, async () => {
          const last = await this.#stream.last(subject);
          const before = last === undefined ? undefined : wholeOf(last.data);
          // It may be ours, stored without our being told.
          if (before?.id === own.id) return { newest: own, replaced: undefined };
          if (before !== undefined && before.at > own.at) return { newest: before, replaced: own.id };
          await this.#stream.append(subject, Buffer.from(JSON.stringify(own)), {
            'Nats-Expected-Last-Subject-Sequence': String(last?.sequence ?? 0),
          });
          return { newest: own, replaced: before?.id };
        });
      } catch (error) {
        const overtaken = error instanceof JetStreamError && error.errorCode === WRONG_LAST_SEQUENCE;
        if (!overtaken) throw new CheckpointNotWritten(track, error);
      }
    }
    throw new CheckpointNotWritten(track, new Error(`${WHOLE_ATTEMPTS_MAX} other checkpoints were quicker`));
  }

  /** Removes the pages of the checkpoint that was replaced, and what writers that died have left. */
  async #sweep(track: string, newest: Whole, replaced: string | undefined): Promise<void> {
    const { clock, log } = this.#options;
    const abandonedBefore = clock.wall() - ABANDONED_MS;
    try {
      await this.#stream.purge(checkpointSubject(this.#prefix, track), 1);
      for (const subject of await this.#stream.subjects(checkpointSubject(this.#prefix, track, '*'))) {
        const id = subject.slice(subject.lastIndexOf('.') + 1);
        const abandoned = id !== newest.id && Number.parseInt(id, 10) < abandonedBefore;
        if (abandoned || id === replaced) await this.#stream.purge(subject);
      }
    } catch (error) {
      log.warn({ track, err: error }, 'older checkpoints could not be removed: the next one tries again');
    }
  }

  async #drop(subject: string): Promise<void> {
    try {
      await this.#stream.purge(subject);
    } catch (error) {
      this.#options.log.debug({ err: error }, 'pages of a checkpoint could not be removed: the next one tries again');
    }
  }

  async #whole(track: string): Promise<Whole | undefined> {
    const last = await this.#stream.last(checkpointSubject(this.#prefix, track));
    return last === undefined ? undefined : wholeOf(last.data);
  }
}

function wholeOf(data: Buffer): Whole {
  return JSON.parse(data.toString()) as Whole;
}

function factsOf({ id, at, bytes }: Whole): CheckpointFacts {
  return { id, at, bytes };
}
