import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type FakeClock, createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { CheckpointGone, PageAppender, readPages } from './nats-checkpoint-pages.ts';
import { NatsDisconnected, NatsNoResponders, NatsTimeout } from './nats-port.ts';
import { JetStreamError, type StoredMessage } from './nats-stream.ts';

const SUBJECT = 'checkpoint.a.1';
type Fate = 'stored' | 'nobody' | 'lost' | 'stored, ack lost' | 'no leader';

/** A stream of one subject: what becomes of its appends is given, in turn, then all are stored. */
class FakeStream {
  readonly name = 'stream';
  readonly messages: StoredMessage[] = [];
  appends = 0;
  readonly #fate: (append: number) => Fate | Error;

  constructor(fate: (append: number) => Fate | Error) {
    this.#fate = fate;
  }

  async append(subject: string, data: Uint8Array, headers: Readonly<Record<string, string>>): Promise<number> {
    const fate = this.#fate(this.appends++);
    if (fate instanceof Error) throw fate;
    if (fate === 'nobody') throw new NatsNoResponders(subject);
    if (fate === 'no leader') throw new JetStreamError({ code: 503, err_code: 10_008 });
    if (fate === 'lost') throw new NatsTimeout(subject, 1);
    const sequence = this.messages.length + 1;
    this.messages.push({ sequence, data: Buffer.from(data), header: (name) => headers[name] ?? '' });
    if (fate === 'stored, ack lost') throw new NatsTimeout(subject, 1);
    return sequence;
  }

  async next(_subject: string, sequence: number): Promise<StoredMessage | undefined> {
    return this.messages[Math.max(1, sequence) - 1];
  }

  nextOfAnyCopy(subject: string, sequence: number): Promise<StoredMessage | undefined> {
    return this.next(subject, sequence);
  }
}

const PAGES = Array.from({ length: 12 }, (_, i) => Buffer.from(`page ${i}`.repeat((i % 3) + 1)));

interface Writing {
  readonly stream: FakeStream;
  readonly clock: FakeClock;
  readonly signal?: AbortSignal;
}

/** Writes all pages as fast as they are taken, and lets time pass until that has an end. */
async function write({ stream, clock, signal = new AbortController().signal }: Writing): Promise<PageAppender> {
  const appender = new PageAppender({ stream, clock, subject: SUBJECT, maxMessageBytes: 10, signal });
  let ended = false;
  const writing = (async () => {
    for (const page of PAGES) await appender.add(page);
    await appender.settle();
  })().finally(() => (ended = true));
  writing.catch(() => {});
  while (!ended) await clock.advanceAsync(250);
  await writing;
  return appender;
}

async function read(stream: FakeStream, clock: FakeClock, { pages, first }: PageAppender): Promise<string[]> {
  const reading = readPages({ stream, clock, track: 'a', id: '1', subject: SUBJECT, pages, first });
  const texts: string[] = [];
  for await (const page of reading) texts.push(page.toString());
  return texts;
}

const TEXTS = PAGES.map(String);

describe('pages of a checkpoint that a stream does not take at once', () => {
  test('are given again: nobody answers at a stream that was just made', async () => {
    const clock = createFakeClock();
    const stream = new FakeStream((append) => (append < 4 ? 'nobody' : 'stored'));
    const appender = await write({ stream, clock });
    expect(stream.appends).toBe(4 + stream.messages.length);
    expect(await read(stream, clock, appender)).toEqual(TEXTS);
  });

  test('are read once and in order, though those behind them were stored before them', async () => {
    const clock = createFakeClock();
    const stream = new FakeStream((append) => (append === 1 ? 'nobody' : 'stored'));
    const appender = await write({ stream, clock });
    const places = stream.messages.slice(0, 6).map(({ data }) => data.toString());
    expect(places.filter((text) => text === places[1])).toHaveLength(2);
    expect(await read(stream, clock, appender)).toEqual(TEXTS);
  });

  test('are read as they were written, whatever becomes of each attempt', async () => {
    const fates = fc.array(
      fc.constantFrom<Fate>('stored', 'stored', 'nobody', 'lost', 'stored, ack lost', 'no leader'),
      { maxLength: 60 },
    );
    await fc.assert(
      fc.asyncProperty(fates, async (turns) => {
        const clock = createFakeClock();
        const stream = new FakeStream((append) => turns[append] ?? 'stored');
        const appender = await write({ stream, clock });
        expect(await read(stream, clock, appender)).toEqual(TEXTS);
      }),
      { numRuns: 60 },
    );
  });

  test('are given up after 15 s, with the error that is in the way', async () => {
    const clock = createFakeClock();
    const began = clock.now();
    const stream = new FakeStream(() => 'nobody');
    await expect(write({ stream, clock })).rejects.toThrow(NatsNoResponders);
    expect(clock.now() - began).toBeGreaterThanOrEqual(15_000);
    expect(clock.now() - began).toBeLessThanOrEqual(16_000);
  });

  test.each([
    ['the stream is full', new JetStreamError({ code: 503, err_code: 10_077 })],
    ['the request is wrong', new JetStreamError({ code: 400, err_code: 10_003 })],
    ['the connection was closed', new NatsDisconnected(undefined, true)],
  ])('are given up at once where waiting does not help: %s', async (_, error) => {
    const clock = createFakeClock();
    const stream = new FakeStream(() => error);
    await expect(write({ stream, clock })).rejects.toBe(error);
    expect(stream.appends).toBe(4);
  });

  test('are given up when the writer is told to stop', async () => {
    const clock = createFakeClock();
    const stopping = new AbortController();
    const stream = new FakeStream((append) => {
      if (append === 20) stopping.abort();
      return 'nobody';
    });
    await expect(write({ stream, clock, signal: stopping.signal })).rejects.toThrow(NatsNoResponders);
    expect(clock.now()).toBeLessThan(5_000);
  });
});

describe('pages of a checkpoint that the store lost some of', () => {
  test.each([0, 5, 11])('are not read past the hole: message %d', async (lost) => {
    const clock = createFakeClock();
    const stream = new FakeStream(() => 'stored');
    const appender = await write({ stream, clock });
    stream.messages.splice(lost, 1);
    await expect(read(stream, clock, appender)).rejects.toThrow(CheckpointGone);
  });
});
