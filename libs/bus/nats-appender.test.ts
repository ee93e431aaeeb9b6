import { describe, expect, onTestFinished, test } from 'vitest';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { pod } from '@dogwatch/watch/test-objects.ts';
import { batchOf, watermark } from './bus-conformance.ts';
import { FakeNats } from './fake-nats.ts';
import { type AppendableStream, AppenderClosed, Deposed, NatsAppender, StreamReplaced } from './nats-appender.ts';
import { NatsTimeout } from './nats-port.ts';
import { JetStreamError, type StoredMessage } from './nats-stream.ts';

const WINDOW_MS = 60_000;
const log = createLogger({ level: 'error', pretty: false, destination: { write: () => {} } });

interface Stored extends StoredMessage {
  readonly subject: string;
  readonly at: number;
}

/** A stream as a server keeps it: fence check, then duplicates by id within the window. */
class FakeStream implements AppendableStream {
  readonly name = 'stream';
  readonly #now: () => number;
  messages: Stored[] = [];
  created = 'first';
  lastSequence = 0;
  /** Appends as they come: what becomes of them. */
  fate: () => 'stored' | 'lost' | 'stored, ack lost' | 'unsettled' = () => 'stored';

  constructor(now: () => number) {
    this.#now = now;
  }

  async facts() {
    const firstSequence = this.messages[0]?.sequence ?? this.lastSequence + 1;
    return { created: this.created, firstSequence, lastSequence: this.lastSequence };
  }

  async last(subject: string) {
    return this.messages.findLast((it) => it.subject === subject);
  }

  async next(subject: string, sequence: number) {
    return this.messages.find((it) => it.subject === subject && it.sequence >= sequence);
  }

  async append(subject: string, data: Uint8Array, headers: Readonly<Record<string, string>>): Promise<number> {
    const fate = this.fate();
    if (fate === 'lost') throw new NatsTimeout(subject, 1);
    if (fate === 'unsettled') throw new JetStreamError({ code: 400, err_code: 10_164 });
    const checked = headers['Nats-Expected-Last-Subject-Sequence-Subject'] ?? subject;
    const expected = Number(headers['Nats-Expected-Last-Subject-Sequence']);
    if (((await this.last(checked))?.sequence ?? 0) !== expected)
      throw new JetStreamError({ code: 400, err_code: 10_071 });
    const id = headers['Nats-Msg-Id'];
    const same = this.messages.find((it) => id !== undefined && it.header('Nats-Msg-Id') === id);
    if (same !== undefined && this.#now() - same.at < WINDOW_MS) return same.sequence;
    const sequence = ++this.lastSequence;
    const header = (name: string): string => headers[name] ?? '';
    this.messages.push({ subject, sequence, data: Buffer.from(data), header, at: this.#now() });
    if (fate === 'stored, ack lost') throw new NatsTimeout(subject, 1);
    return sequence;
  }
}

function start(maxPayloadBytes = 1024 * 1024) {
  const clock = createFakeClock();
  const stream = new FakeStream(() => clock.now());
  const port = new FakeNats({ maxPayloadBytes }).connect();
  const campaign = async (): Promise<NatsAppender> => {
    const appender = await NatsAppender.campaign({
      stream,
      port,
      clock,
      log,
      track: 'a/0',
      dataSubject: 'data',
      fenceSubject: 'fence',
      duplicateWindowMs: WINDOW_MS,
    });
    onTestFinished(() => appender.close());
    return appender;
  };
  const data = (): string[] =>
    stream.messages.filter(({ subject }) => subject === 'data').map((it) => it.header('Dogwatch-Rv'));
  return { clock, stream, campaign, data };
}

function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect.unreachable('it succeeded'),
    (error: unknown) => error,
  );
}

/** Fates in turn, then `stored`. */
function fates(...turns: ReturnType<FakeStream['fate']>[]): FakeStream['fate'] {
  return () => turns.shift() ?? 'stored';
}

describe('an append', () => {
  test('is repeated until it is stored, and stored once', async () => {
    const { clock, stream, campaign, data } = start();
    const appender = await campaign();
    stream.fate = fates('lost', 'unsettled', 'stored, ack lost', 'lost');
    const appending = appender.append(watermark(1));
    await clock.advanceAsync(5_000);
    expect(await appending).toBe(2);
    expect(data()).toEqual(['1']);
  });

  test('is not doubled when its acknowledgement is lost for longer than the server remembers ids', async () => {
    const { clock, stream, campaign, data } = start();
    const appender = await campaign();
    let began = 0;
    stream.fate = () => (began++ === 0 ? 'stored, ack lost' : clock.now() < 2 * WINDOW_MS ? 'lost' : 'stored');
    const appending = appender.append(watermark(1));
    await clock.advanceAsync(3 * WINDOW_MS);
    expect(await appending).toBe(2);
    expect(data()).toEqual(['1']);
  });

  test('ends with its leadership', async () => {
    const { clock, stream, campaign, data } = start();
    const [first, second] = [await campaign(), await campaign()];
    expect(second.term).toBeGreaterThan(first.term);
    const failing = rejection(first.append(watermark(1)));
    await clock.advanceAsync(1_000);
    expect(await failing).toBeInstanceOf(Deposed);
    expect(await second.append(watermark(2))).toBe(3);
    expect(data()).toEqual(['2']);
    expect(stream.messages).toHaveLength(3);
  });

  test('ends with its appender', async () => {
    const { clock, stream, campaign } = start();
    const appender = await campaign();
    stream.fate = () => 'lost';
    const failing = rejection(appender.append(watermark(1)));
    await clock.advanceAsync(10_000);
    appender.close();
    expect(await failing).toBeInstanceOf(AppenderClosed);
  });

  test('that JetStream refuses does not lend its number to the next', async () => {
    const { stream, campaign, data } = start();
    const appender = await campaign();
    stream.fate = () => {
      throw new JetStreamError({ code: 400, err_code: 10_054, description: 'message size exceeds maximum allowed' });
    };
    expect(await rejection(appender.append(watermark(1)))).toBeInstanceOf(JetStreamError);
    stream.fate = fates();
    await appender.append(watermark(2));
    expect(data()).toEqual(['2']);
    expect((await stream.last('data'))?.header('Nats-Msg-Id')).toBe(`${appender.term}.a/0.1.0`);
  });

  test('waits for the one before', async () => {
    const { campaign } = start();
    const appender = await campaign();
    const first = appender.append(watermark(1));
    await expect(appender.append(watermark(2))).rejects.toThrow('one append at a time');
    await first;
  });
});

describe('the fence', () => {
  test('that retention took is put up again', async () => {
    const { clock, stream, campaign, data } = start();
    const appender = await campaign();
    await appender.append(watermark(1));
    stream.messages = stream.messages.slice(1);
    const appending = appender.append(watermark(2));
    await clock.advanceAsync(1_000);
    await appending;
    expect(data()).toEqual(['1', '2']);
  });

  test('is renewed before retention takes it', async () => {
    const { clock, stream, campaign } = start();
    const appender = await campaign();
    const old = (await stream.last('fence'))!.sequence;
    for (let rv = 1; rv < 100; rv++) {
      await appender.append(watermark(rv));
      if (stream.messages.length > 20) stream.messages.shift();
      await clock.advanceAsync(1_000);
      expect(await stream.last('fence')).toBeDefined();
    }
    expect((await stream.last('fence'))!.sequence).toBeGreaterThan(old);
  });

  test('whose renewal was stored unseen is found again', async () => {
    const { clock, stream, campaign, data } = start();
    const appender = await campaign();
    await appender.append(watermark(1));
    await clock.advanceAsync(6_000);
    stream.fate = fates('stored, ack lost');
    const appending = appender.append(watermark(2));
    await clock.advanceAsync(1_000);
    await appending;
    expect(stream.messages.map(({ subject }) => subject)).toEqual(['fence', 'data', 'fence', 'data']);
    expect(data()).toEqual(['1', '2']);
  });

  test('of a stream made anew is nobody’s, even under the same number', async () => {
    const { clock, stream, campaign } = start();
    const appender = await campaign();
    for (let rv = 1; rv < 5; rv++) await appender.append(watermark(rv));
    stream.messages = [];
    stream.lastSequence = 0;
    await clock.advanceAsync(1);
    const successor = await campaign();
    expect(successor.term).toBeGreaterThan(appender.term);
    await expect(appender.append(watermark(5))).rejects.toThrow(StreamReplaced);
    stream.created = 'second';
    await clock.advanceAsync(6_000);
    await expect(successor.append(watermark(6))).rejects.toThrow(StreamReplaced);
  });
});

describe('the head of a log', () => {
  test('is its last whole envelope: the next leader goes on from there', async () => {
    const { clock, stream, campaign } = start(8_192);
    const first = await campaign();
    await first.append(watermark(5));
    await first.append({ kind: 'end', epoch: 1, end: 'expired' });
    expect((await campaign()).head).toEqual({ epoch: 1, rv: 5, sequence: 3 });
    const second = await campaign();
    const noise = Array.from({ length: 9_000 }, (_, i) => Math.imul(i, 2_654_435_761) >>> 0).join();
    stream.fate = fates('stored', 'stored', ...Array.from({ length: 1_000 }, () => 'lost' as const));
    const failing = rejection(second.append(batchOf([pod('p', 9, { labels: { noise } })])));
    await clock.advanceAsync(1_000);
    second.close();
    expect(await failing).toBeInstanceOf(AppenderClosed);
    stream.fate = fates();
    expect((await stream.last('data'))?.header('Dogwatch-Part')).toMatch(/^2\/\d+$/);
    expect((await campaign()).head).toEqual({ epoch: 1, rv: 5, sequence: 3 });
  });
});
