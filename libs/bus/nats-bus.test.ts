import { describe, expect, onTestFinished, test } from 'vitest';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { type FakeClock, createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { pod } from '@dogwatch/watch/test-objects.ts';
import { batchOf, describeBus, follow, watermark, watermarks } from './bus-conformance.ts';
import type { NatsBus, NatsBusOptions } from './nats-bus.ts';
import { createNatsBus } from './nats-bus.ts';
import { FakeNats, type FakePort } from './fake-nats.ts';

const LANE: Lane = { group: '', version: 'v1', resource: 'pods', encoding: 'json', view: 'object' };

describeBus('NatsBus over a NATS in memory', async () => {
  const nats = new FakeNats();
  const clock = createFakeClock();
  const [publisher, follower] = [busOn(nats.connect(), clock), busOn(nats.connect(), clock)];
  return {
    publisher,
    follower,
    settle: () => nats.settle(),
    close: async () => {
      await publisher.close();
      await follower.close();
    },
  };
});

function busOn(port: FakePort, clock: FakeClock, options: Partial<NatsBusOptions> = {}, lines: string[] = []): NatsBus {
  const log = createLogger({
    level: 'debug',
    pretty: false,
    destination: { write: (line) => void lines.push(line) },
  });
  return createNatsBus({ port, clock, log, term: 1, ...options });
}

/** Two buses over one NATS, on a clock that stands still. */
function start(options: Partial<NatsBusOptions> = {}) {
  const nats = new FakeNats();
  const clock = createFakeClock();
  const lines: string[] = [];
  const ports = { publisher: nats.connect(), follower: nats.connect() };
  const publisher = busOn(ports.publisher, clock, options, lines);
  const follower = busOn(ports.follower, clock, options, lines);
  onTestFinished(async () => {
    await publisher.close();
    await follower.close();
    expect(clock.pending).toBe(0);
  });
  const publish = async (...rvs: number[]): Promise<void> => {
    for (const rv of rvs) publisher.publish('a/0', watermark(rv));
    await nats.settle();
  };
  const beat = async (): Promise<void> => {
    await clock.advanceAsync(1_000);
    await nats.settle();
  };
  return { nats, clock, lines, ports, publisher, follower, publish, beat };
}

describe('what a follower of NATS counts', () => {
  test('a gap: the envelope behind it is handed on', async () => {
    const { nats, follower, publish } = start();
    const { seen } = follow(follower, 'a/0');
    await publish(0);
    nats.fate = () => [];
    await publish(1, 2);
    nats.fate = (message) => [message];
    await publish(3);
    expect(seen).toEqual([watermark(0), watermark(3)]);
    expect(follower.counters).toMatchObject({ gaps: 2, reordered: 0, repeated: 0, received: 2 });
  });

  test('a repetition: the last envelope again is nothing new; an older one is handed on', async () => {
    const { nats, follower, publish } = start();
    const { seen } = follow(follower, 'a/0');
    nats.fate = (message) => [message, message];
    await publish(0);
    const late: Parameters<FakeNats['fate']>[0][] = [];
    nats.fate = (message) => {
      late.push(message);
      return [message];
    };
    await publish(1, 2);
    nats.fate = (message) => [late[0]!, message];
    await publish(3);
    expect(seen).toEqual([0, 1, 2, 1, 3].map(watermark));
    expect(follower.counters).toMatchObject({ gaps: 0, reordered: 1, repeated: 1, received: 5 });
  });

  test('a publisher that was replaced: its envelopes are not handed on', async () => {
    const { nats, clock, follower, publish } = start();
    const successor = busOn(nats.connect(), clock, { term: 2 });
    onTestFinished(() => successor.close());
    const { seen } = follow(follower, 'a/0');
    await publish(0, 1);
    successor.publish('a/0', watermark(2));
    await nats.settle();
    await publish(9);
    successor.publish('a/0', watermark(3));
    await nats.settle();
    expect(seen).toEqual(watermarks(4));
    expect(follower.counters).toMatchObject({ deposed: 1, gaps: 0 });
  });

  test('messages that are no envelope of the track: they are skipped, and logged now and then', async () => {
    const { nats, clock, lines, ports, follower, publish } = start();
    const { seen } = follow(follower, 'a/0');
    await publish(0);
    for (const text of ['', 'x', 'hello, is this the bus?', '\0'.repeat(200)]) {
      ports.publisher.publish('dogwatch.live.a.0', Buffer.from(text));
    }
    nats.fate = (message) => [{ ...message, data: flipBit(message.data) }];
    await publish(1);
    nats.fate = (message) => [{ ...message, subject: 'dogwatch.live.a.0' }];
    const other = busOn(nats.connect(), clock);
    onTestFinished(() => other.close());
    other.publish('b/0', watermark(7));
    await nats.settle();
    nats.fate = (message) => [message];
    await publish(2);
    expect(seen).toEqual([watermark(0), watermark(2)]);
    expect(follower.counters).toMatchObject({ unreadable: 6, gaps: 1 });
    expect(lines.filter((line) => line.includes('is no envelope'))).toHaveLength(1);
  });

  test('a chunk that is lost: the envelope it belonged to is missing, the next is whole', async () => {
    const nats = new FakeNats({ maxPayloadBytes: 8_192 });
    const clock = createFakeClock();
    const bus = busOn(nats.connect(), clock);
    onTestFinished(() => bus.close());
    const { seen } = follow(bus, 'a/0');
    const noise = (rv: number) =>
      pod('p', rv, {
        labels: { noise: Array.from({ length: 9_000 }, (_, i) => Math.imul(i + rv, 2_654_435_761) >>> 0).join() },
      });
    bus.publish('a/0', batchOf([noise(1)]));
    await nats.settle();
    let messages = 0;
    nats.fate = (message) => (messages++ === 1 ? [] : [message]);
    bus.publish('a/0', batchOf([noise(2)]));
    bus.publish('a/0', batchOf([noise(3)]));
    await nats.settle();
    expect(messages).toBeGreaterThan(4);
    expect(seen).toEqual([batchOf([noise(1)]), batchOf([noise(3)])]);
    expect(bus.counters.gaps).toBe(1);
  });
});

describe('a heartbeat', () => {
  test('shows a lost tail: a batch that never came', async () => {
    const { nats, publisher, follower, publish, beat } = start();
    const { seen } = follow(follower, 'a/0');
    await publish(4);
    nats.fate = () => [];
    publisher.publish('a/0', batchOf([pod('a', 5), pod('b', 6), pod('c', 6)]));
    await nats.settle();
    nats.fate = (message) => [message];
    await beat();
    expect(seen).toEqual([watermark(4)]);
    await beat();
    await beat();
    expect(seen).toEqual([watermark(4), { kind: 'watermark', epoch: 1, previous: { rv: 6, index: 1 }, rv: 5 }]);
    expect(follower.counters).toMatchObject({ gaps: 0, repeated: 1 });
  });

  test('says nothing to followers that missed nothing', async () => {
    const { nats, publisher, follower, publish, beat } = start();
    const { seen } = follow(follower, 'a/0');
    await publish(1);
    publisher.publish('a/0', batchOf([pod('a', 5)]));
    await nats.settle();
    for (let i = 0; i < 5; i++) await beat();
    expect(seen).toHaveLength(2);
    expect(follower.counters).toMatchObject({ repeated: 4, received: 2 });
  });

  test('is not sent for a track that is not quiet', async () => {
    const { follower, publish, beat } = start();
    follow(follower, 'a/0');
    for (let rv = 0; rv < 5; rv++) {
      await publish(rv);
      await beat();
    }
    expect(follower.counters).toMatchObject({ repeated: 0, received: 5 });
  });

  test('repeats the end of a track ten times, for whom it did not reach', async () => {
    const { nats, publisher, follower, publish, beat } = start();
    const { seen } = follow(follower, 'a/0');
    await publish(1);
    nats.fate = () => [];
    publisher.publish('a/0', { kind: 'end', epoch: 1, end: 'ended' });
    await nats.settle();
    nats.fate = (message) => [message];
    for (let i = 0; i < 15; i++) await beat();
    expect(seen).toEqual([watermark(1), { kind: 'end', epoch: 1, end: 'ended' }]);
    expect(follower.counters.repeated).toBe(9);
  });
});

describe('a publisher without NATS', () => {
  test('drops while it is disconnected, and shows at once when it is back', async () => {
    const { nats, lines, ports, publisher, follower, publish } = start();
    const { seen } = follow(follower, 'a/0');
    await publish(0);
    ports.publisher.break();
    await publish(1, 2);
    expect(publisher.counters).toMatchObject({ published: 1, dropped: 2, disconnects: 1 });
    ports.publisher.mend();
    await nats.settle();
    expect(seen).toEqual([watermark(0), watermark(2)]);
    await publish(3);
    expect(seen).toEqual([watermark(0), watermark(2), watermark(3)]);
    expect(follower.counters.gaps).toBe(1);
    expect(lines.filter((line) => line.includes('are dropped'))).toHaveLength(1);
  });

  test('drops what NATS does not take in time, and goes on when it takes again', async () => {
    const { nats, ports, publisher, follower } = start({ maxPendingBytes: 16_000 });
    const { seen } = follow(follower, 'a/0');
    ports.publisher.taking = false;
    const long = (rv: number) => batchOf([pod('p', rv, { labels: { noise: String(rv).repeat(100) } })]);
    let given = 0;
    while (publisher.counters.dropped < 3) publisher.publish('a/0', long(++given));
    const { published, publishedBytes } = publisher.counters;
    expect(published).toBe(given - 3);
    expect(publishedBytes).toBeGreaterThan(16_000);
    expect(publishedBytes).toBeLessThan(18_000);
    ports.publisher.take();
    for (let confirmations = 0; confirmations < 5; confirmations++) await nats.settle();
    for (let i = 0; i < 3; i++) publisher.publish('a/0', long(++given));
    await nats.settle();
    expect(publisher.counters.dropped).toBe(3);
    expect(seen).toHaveLength(given - 3);
    expect(follower.counters.gaps).toBe(3);
  });

  test('takes one envelope beyond the bound, for a listing may be longer', async () => {
    const { nats, publisher, follower } = start({ maxPendingBytes: 1_000 });
    const { seen } = follow(follower, 'a/0');
    const pods = Array.from({ length: 500 }, (_, i) => pod(`p${i}`, i + 1));
    publisher.publish('a/0', batchOf(pods));
    await nats.settle();
    expect(seen).toHaveLength(1);
  });
});

describe('a follower without NATS', () => {
  test('goes on when it is back, and finds out what it missed', async () => {
    const { ports, follower, publish, beat } = start();
    const { seen } = follow(follower, 'a/0');
    await publish(0);
    ports.follower.break();
    await publish(1, 2);
    ports.follower.mend();
    await beat();
    await beat();
    expect(seen).toEqual([watermark(0), watermark(2)]);
    expect(follower.counters).toMatchObject({ gaps: 1, disconnects: 1 });
  });

  test('that throws does not stop the others: its error ends the process', async () => {
    const { clock, follower, publish } = start();
    follower.follow('a/0', () => {
      throw new Error('a bug');
    });
    const { seen } = follow(follower, 'a/0');
    await publish(0, 1);
    expect(seen).toEqual(watermarks(2));
    expect(() => clock.advance(0)).toThrow('a bug');
    expect(() => clock.advance(0)).toThrow('a bug');
  });
});

describe('requests over NATS', () => {
  test('may take long, as long as the server shows that it lives', async () => {
    const { nats, clock, publisher, follower } = start({ silenceMs: 5_000 });
    const { promise, resolve } = Promise.withResolvers<void>();
    publisher.serve('open', () => promise);
    const open = follower.request('open', { lane: LANE });
    await nats.settle();
    for (let i = 0; i < 60; i++) {
      await clock.advanceAsync(1_000);
      await nats.settle();
    }
    resolve();
    await nats.settle();
    await expect(open).resolves.toBeUndefined();
  });

  test('fail when nothing comes from the server any more', async () => {
    const { nats, clock, ports, publisher, follower } = start({ silenceMs: 5_000 });
    publisher.serve('open', () => new Promise(() => {}));
    const open = failure(follower.request('open', { lane: LANE }));
    await nats.settle();
    await clock.advanceAsync(1_000);
    await nats.settle();
    ports.publisher.break();
    await clock.advanceAsync(5_000);
    expect(await open).toMatchObject({ code: 'StatusError', status: { code: 503 } });
  });

  test('fail at the latest after answerMs', async () => {
    const { nats, clock, publisher, follower } = start({ silenceMs: 5_000, answerMs: 20_000 });
    publisher.serve('open', () => new Promise(() => {}));
    const open = failure(follower.request('open', { lane: LANE }));
    await nats.settle();
    for (let i = 0; i < 22; i++) {
      await clock.advanceAsync(1_000);
      await nats.settle();
    }
    expect(await open).toMatchObject({ code: 'StatusError', status: { code: 503 } });
  });

  test('fail at once when the connection breaks, is broken, or the bus is closed', async () => {
    const { nats, ports, publisher, follower } = start();
    publisher.serve('open', () => new Promise(() => {}));
    const open = failure(follower.request('open', { lane: LANE }));
    await nats.settle();
    ports.follower.break();
    expect(await open).toMatchObject({ status: { code: 503 } });
    expect(await failure(follower.request('open', { lane: LANE }))).toMatchObject({ status: { code: 503 } });
    ports.follower.mend();
    const last = failure(follower.request('open', { lane: LANE }));
    await follower.close();
    expect(await last).toMatchObject({ status: { code: 503 } });
  });

  test('are bounded in number', async () => {
    const { nats, publisher, follower } = start({ maxRequests: 2 });
    publisher.serve('open', () => Promise.resolve());
    const opens = [1, 2, 3].map(() => follower.request('open', { lane: LANE }));
    await expect(opens[2]).rejects.toMatchObject({ status: { code: 503 } });
    await nats.settle();
    await Promise.all(opens.slice(0, 2));
  });

  test('that cannot be read are answered with an error', async () => {
    const { nats, ports, publisher } = start();
    publisher.serve('open', () => Promise.resolve());
    let answers = 0;
    ports.follower.subscribe('answers', () => answers++);
    ports.follower.publish('dogwatch.request.open.x', Buffer.from('nonsense'), { reply: 'answers' });
    await nats.settle();
    expect(answers).toBe(1);
  });
});

function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect.unreachable('it succeeded'),
    (error: unknown) => error,
  );
}

function flipBit(data: Buffer): Buffer {
  const copy = Buffer.from(data);
  copy[copy.length - 3]! ^= 4;
  return copy;
}
