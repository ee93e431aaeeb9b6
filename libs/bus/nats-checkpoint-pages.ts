import { crc32 } from 'node:zlib';
import { type Clock, NEVER, sleep } from '@dogwatch/process/clock.ts';
import { type NatsStream, type StoredMessage, isTransient } from './nats-stream.ts';

/** Pages not yet stored at any time: what a writer holds in memory. */
const IN_FLIGHT_MAX = 4;
const APPEND_TIMEOUT_MS = 10_000;
const READ_PATIENCE_MS = 15_000;
const RETRY_MS = 250;
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
  readonly stream: NatsStream;
  /** Of one checkpoint alone. */
  readonly subject: string;
  /** Pages longer than this go in parts. */
  readonly maxMessageBytes: number;
}

/** Appends the pages of one checkpoint, a few at a time. Nothing is tried again: after an error it is of no use. */
export class PageAppender {
  readonly #options: PageAppenderOptions;
  readonly #inFlight: Promise<void>[] = [];
  #failure: { readonly error: unknown } | undefined;
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
      while (this.#inFlight.length >= IN_FLIGHT_MAX) await this.#inFlight.shift();
      if (this.#failure !== undefined) throw this.#failure.error;
      const data = page.subarray(part * maxMessageBytes, (part + 1) * maxMessageBytes);
      const headers = { [PAGE]: String(this.pages), [PART]: `${part + 1}/${parts}`, [CRC]: String(crc32(data)) };
      this.#inFlight.push(this.#append(data, headers));
    }
    this.pages++;
    this.bytes += page.length;
  }

  /** Resolves once everything is stored, in the order given. */
  async settle(): Promise<void> {
    await Promise.all(this.#inFlight.splice(0));
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #append(data: Buffer, headers: Readonly<Record<string, string>>): Promise<void> {
    const { stream, subject } = this.#options;
    try {
      const sequence = await stream.append(subject, data, headers, APPEND_TIMEOUT_MS);
      if (sequence <= this.last) throw new Error(`stream ${stream.name} was made anew`);
      if (this.first === 0) this.first = sequence;
      this.last = sequence;
    } catch (error) {
      this.#failure ??= { error };
    }
  }
}

export interface PagesToRead {
  readonly stream: NatsStream;
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
  for (let page = 0; page < reading.pages; page++) {
    const parts: Buffer[] = [];
    let last = false;
    while (!last) {
      const message = await nextMessage(reading, sequence);
      last = isLastPart(reading, { message, page, part: parts.length + 1 });
      parts.push(message.data);
      sequence = message.sequence + 1;
    }
    yield parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }
}

async function nextMessage(reading: PagesToRead, sequence: number): Promise<StoredMessage> {
  const { stream, subject, clock, track, id } = reading;
  const message = await patiently(
    clock,
    async () => (await stream.nextOfAnyCopy(subject, sequence)) ?? (await stream.next(subject, sequence)),
  );
  if (message === undefined) throw new CheckpointGone(track, id);
  return message;
}

/** Throws CheckpointGone if the message is another or damaged. */
function isLastPart(
  { track, id }: PagesToRead,
  { message, page, part }: { readonly message: StoredMessage; readonly page: number; readonly part: number },
): boolean {
  const [at, parts] = message.header(PART).split('/');
  const isNext = message.header(PAGE) === String(page) && at === String(part);
  if (!isNext || message.header(CRC) !== String(crc32(message.data))) throw new CheckpointGone(track, id);
  return at === parts;
}

/** Asks until there is an answer, for as long as electing a leader may take. */
export async function patiently<T>(clock: Clock, ask: () => Promise<T>): Promise<T> {
  const deadline = clock.now() + READ_PATIENCE_MS;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isTransient(error) || clock.now() >= deadline) throw error;
    }
    await sleep(clock, RETRY_MS, NEVER);
  }
}
