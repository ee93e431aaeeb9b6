import { crc32 } from 'node:zlib';
import type { Clock } from '@dogwatch/process/clock.ts';
import { patiently } from './nats-patience.ts';
import { JetStreamError, type NatsStream, type StoredMessage } from './nats-stream.ts';

/** Messages not yet stored at any time: what a writer holds in memory. */
const IN_FLIGHT_MAX = 4;
const APPEND_TIMEOUT_MS = 10_000;
/** The stream is full, and refuses what is new. */
const STORE_FAILED = 10_077;
/** Messages in a row that are not the next one: as many as a writer may leave that gave four again four times a second. */
const PASSED_MAX = 256;
const PAGE = 'Dogwatch-Page';
const PART = 'Dogwatch-Part';
const CRC = 'Dogwatch-Crc32';

/** The checkpoint was replaced by a newer one while it was read, or the store lost some of it. Read the newest. */
export class CheckpointGone extends Error {
  readonly code = 'CheckpointGone';
  constructor(track: string, id: string) {
    super(`checkpoint ${id} of track ${track} is not whole any more: read the newest`);
  }
}

export interface PageAppenderOptions {
  readonly stream: Pick<NatsStream, 'name' | 'append'>;
  readonly clock: Clock;
  /** Of one checkpoint alone. */
  readonly subject: string;
  /** Pages longer than this go in parts. */
  readonly maxMessageBytes: number;
  /** Once it aborts nothing is tried again. */
  readonly signal: AbortSignal;
}

type Outcome = { readonly sequence: number } | { readonly error: unknown };

interface Part {
  readonly data: Buffer;
  readonly headers: Readonly<Record<string, string>>;
  outcome: Promise<Outcome>;
}

/**
 * Appends the pages of one checkpoint, a few at a time. One that could not be stored is given again, for 15 s, and with
 * it all behind it, so that all of them stand in the stream in their order; among them there may be some twice, or too
 * early. After an error it is of no use.
 */
export class PageAppender {
  readonly #options: PageAppenderOptions;
  /** In their order. */
  readonly #inFlight: Part[] = [];
  pages = 0;
  bytes = 0;
  /** Stream sequences of the first and the last message stored; 0 if there is none. */
  first = 0;
  last = 0;

  constructor(options: PageAppenderOptions) {
    this.#options = options;
  }

  /** Resolves once there is room for another page. Rejects if this or one before could not be stored. */
  async add(page: Buffer): Promise<void> {
    const { maxMessageBytes } = this.#options;
    const parts = Math.max(1, Math.ceil(page.length / maxMessageBytes));
    for (let part = 0; part < parts; part++) {
      while (this.#inFlight.length >= IN_FLIGHT_MAX) await this.#settleFirst();
      const data = page.subarray(part * maxMessageBytes, (part + 1) * maxMessageBytes);
      const headers = { [PAGE]: String(this.pages), [PART]: `${part + 1}/${parts}`, [CRC]: String(crc32(data)) };
      this.#inFlight.push({ data, headers, outcome: this.#append(data, headers) });
    }
    this.pages++;
    this.bytes += page.length;
  }

  /** Resolves once everything is stored, in the order given. */
  async settle(): Promise<void> {
    while (this.#inFlight.length > 0) await this.#settleFirst();
  }

  /** Throws what the last attempt to store it did. */
  async #settleFirst(): Promise<void> {
    const { stream, clock, signal } = this.#options;
    let failed = false;
    const sequence = await patiently({ clock, signal, again: (error) => !isFull(error) }, async () => {
      if (failed) for (const part of this.#inFlight) part.outcome = this.#append(part.data, part.headers);
      const outcomes = this.#inFlight.map((part) => part.outcome);
      const first = await outcomes[0]!;
      if ('sequence' in first) return first.sequence;
      failed = true;
      // None of these must come between those that are given again.
      await Promise.all(outcomes);
      throw first.error;
    });
    if (sequence <= this.last) throw new Error(`stream ${stream.name} was made anew`);
    if (this.first === 0) this.first = sequence;
    this.last = sequence;
    this.#inFlight.shift();
  }

  async #append(data: Buffer, headers: Readonly<Record<string, string>>): Promise<Outcome> {
    const { stream, subject } = this.#options;
    try {
      return { sequence: await stream.append(subject, data, headers, APPEND_TIMEOUT_MS) };
    } catch (error) {
      return { error };
    }
  }
}

function isFull(error: unknown): boolean {
  return error instanceof JetStreamError && error.errorCode === STORE_FAILED;
}

export interface PagesToRead {
  readonly stream: Pick<NatsStream, 'next' | 'nextOfAnyCopy'>;
  readonly clock: Clock;
  readonly track: string;
  readonly id: string;
  readonly subject: string;
  readonly pages: number;
  /** Stream sequence of the first. */
  readonly first: number;
}

/**
 * The pages of a whole checkpoint in order, each asked for when it is wanted. A page may be a view into the socket's
 * chunk: copy what is kept. Throws CheckpointGone, and what a request throws after 15 s of trying.
 */
export async function* readPages(reading: PagesToRead): AsyncGenerator<Buffer, void, undefined> {
  let sequence = reading.first;
  let passed = 0;
  for (let page = 0; page < reading.pages; page++) {
    const parts: Buffer[] = [];
    let last = false;
    while (!last) {
      const message = await nextMessage(reading, sequence);
      sequence = message.sequence + 1;
      const [part, count] = message.header(PART).split('/');
      if (message.header(PAGE) !== String(page) || part !== String(parts.length + 1)) {
        // Its writer had to give some again, see PageAppender.
        if (++passed > PASSED_MAX) throw goneOf(reading);
        continue;
      }
      if (message.header(CRC) !== String(crc32(message.data))) throw goneOf(reading);
      passed = 0;
      last = part === count;
      parts.push(message.data);
    }
    yield parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }
}

async function nextMessage(reading: PagesToRead, sequence: number): Promise<StoredMessage> {
  const { stream, subject, clock } = reading;
  const message = await patiently(
    { clock },
    async () => (await stream.nextOfAnyCopy(subject, sequence)) ?? (await stream.next(subject, sequence)),
  );
  if (message === undefined) throw goneOf(reading);
  return message;
}

function goneOf({ track, id }: PagesToRead): CheckpointGone {
  return new CheckpointGone(track, id);
}
