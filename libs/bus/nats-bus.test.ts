import { describe, expect, onTestFinished, test } from 'vitest';
import { pod } from '@dogwatch/watch/test-objects.ts';
import { WHOLE_VERSION } from '@dogwatch/watch/watch-cache.ts';
import { batchOf, describeBus, follow, watermark, watermarks } from './bus-conformance.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import type { Envelope } from './envelope.ts';
import { FakeNats } from './fake-nats.ts';
import { podFacts } from './test-envelopes.ts';
import { busOn, flipBit, start } from './test-nats-bus.ts';

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
    const successor = busOn(nats.connect(), clock);
    onTestFinished(() => successor.close());
    const { seen } = follow(follower, 'a/0');
    await publish(0, 1);
    successor.publish('a/0', watermark(2), 2);
    await nats.settle();
    await publish(9);
    successor.publish('a/0', watermark(3), 2);
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

describe('a listing', () => {
  const facts = podFacts('json');
  const listingOf = (bytes: number): Envelope => {
    const objects = Array.from({ length: 16 }, (_, i) =>
      pod(`p${i}`, i + 1, { labels: { text: 'x'.repeat(bytes / 16) } }),
    );
    return { kind: 'listing', epoch: 3, facts, listing: { rv: 20, objects } };
  };

  test('of more than 1 MiB is not published: followers are told that there is one, and sync', async () => {
    const { nats, publisher, follower, beat } = start();
    const { seen } = follow(follower, 'a/0');
    const short = listingOf(900_000);
    publisher.publish('a/0', short);
    publisher.publish('a/0', listingOf(1_100_000));
    await nats.settle();
    expect(seen).toEqual([short, { kind: 'listed', epoch: 3, rv: 20 }]);
    await beat();
    await beat();
    expect(seen).toHaveLength(2);
    expect(follower.counters).toMatchObject({ gaps: 0, repeated: 1 });
  });

  test('of which word was lost shows by the heartbeat behind it', async () => {
    const { nats, publisher, follower, publish, beat } = start();
    const { seen } = follow(follower, 'a/0');
    await publish(1);
    nats.fate = () => [];
    publisher.publish('a/0', listingOf(1_100_000));
    await nats.settle();
    nats.fate = (message) => [message];
    await beat();
    await beat();
    const head = { kind: 'watermark', epoch: 3, previous: { rv: 20, index: WHOLE_VERSION }, rv: 20 };
    expect(seen).toEqual([watermark(1), head]);
  });
});

describe('a track that its publisher has ceased', () => {
  test('has no heartbeats, and goes on where its numbers were', async () => {
    const { nats, ports, publisher, follower, publish, beat } = start();
    const { seen } = follow(follower, 'a/0');
    await publish(1, 2);
    publisher.cease('a/0');
    for (let i = 0; i < 3; i++) await beat();
    ports.publisher.break();
    ports.publisher.mend();
    await nats.settle();
    expect(follower.counters).toMatchObject({ received: 2, repeated: 0 });
    await publish(3);
    await beat();
    await beat();
    expect(seen).toEqual([1, 2, 3].map(watermark));
    expect(follower.counters).toMatchObject({ gaps: 0, reordered: 0, repeated: 1 });
  });
});

describe('who listens for reconnects', () => {
  test('is called when the bus is back, until it stops', async () => {
    const { ports, follower } = start();
    let calls = 0;
    const count = (): void => void calls++;
    const stops = [follower.onReconnected(count), follower.onReconnected(count)];
    ports.follower.break();
    expect(calls).toBe(0);
    ports.follower.mend();
    expect(calls).toBe(2);
    stops[0]!();
    ports.follower.break();
    ports.follower.mend();
    expect(calls).toBe(3);
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

  test('shows what was lost at once, though what the broken connection had taken comes behind it', async () => {
    const { nats, ports, follower, publish } = start();
    const { seen } = follow(follower, 'a/0');
    await publish(0);
    const taken: Parameters<FakeNats['send']>[0][] = [];
    nats.fate = (message) => {
      taken.push(message);
      return [];
    };
    await publish(1, 2);
    ports.publisher.break();
    await publish(3);
    nats.fate = (message) => [message];
    ports.publisher.mend();
    await nats.settle();
    for (const message of taken) nats.send(message);
    await nats.settle();
    expect(seen).toEqual([0, 3, 1, 2].map(watermark));
    expect(follower.counters).toMatchObject({ gaps: 2, reordered: 2 });
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
