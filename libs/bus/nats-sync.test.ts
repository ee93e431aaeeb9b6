import { describe, expect, onTestFinished, test } from 'vitest';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { FakeNats } from './fake-nats.ts';
import { FollowerGone, PageReceiver, PageSender, SYNC_CREDIT_BYTES } from './nats-sync.ts';
import { noise, podFacts } from './test-envelopes.ts';
import { failure } from './test-nats-bus.ts';
import { encodeTrackState } from './track-state-codec.ts';
import type { TrackState } from './track-state.ts';

const SILENCE_MS = 5_000;
const NOISE = noise(1_000_000);

/** `count` objects of 500 KB, each of which has a page of its own. */
function stateOf(count: number): TrackState {
  const objects = Array.from({ length: count }, (_, i) => {
    const bytes = NOISE.subarray(i, i + 500_000);
    return { key: `a/${i}`, namespace: 'a', name: `${i}`, uid: 'u', rv: i + 1, bytes, indexed: '' };
  });
  const place = { epoch: 1, changes: [], position: { rv: count, index: 0 }, watermark: count };
  return {
    kind: 'state',
    ...place,
    facts: podFacts('json'),
    listing: { rv: count, objects },
    tombstones: [],
    horizon: 0,
  };
}

/** As `toEqual` does, which takes seconds for as many bytes. */
function expectState(state: TrackState | undefined, count: number): void {
  const expected = stateOf(count);
  if (state?.kind !== 'state' || expected.kind !== 'state') throw new Error('no state');
  const { objects } = state.listing;
  expect(objects.length).toBe(count);
  expect(objects.every(({ bytes }, i) => bytes.equals(expected.listing.objects[i]!.bytes))).toBe(true);
}

function start() {
  const nats = new FakeNats();
  const clock = createFakeClock();
  const [near, far] = [nats.connect(), nats.connect()];
  const sender = new PageSender({ port: near, clock, silenceMs: SILENCE_MS });
  onTestFinished(() => {
    sender.close();
    expect(clock.pending).toBe(0);
  });
  let bytes = 0;
  /** Pages as they leave, and how many of them were asked for. */
  const made = { pages: 0 };
  function* pagesOf(state: TrackState): Generator<Buffer> {
    for (const page of encodeTrackState(state)) {
      made.pages++;
      yield page;
    }
  }
  const receive = () => {
    const received: { state?: TrackState; error?: unknown } = {};
    const receiver = new PageReceiver({
      port: far,
      clock,
      onState: (state) => (received.state = state),
      onError: (error) => (received.error = error),
    });
    const stop = far.subscribe('pages', (message) => {
      bytes += message.data.length;
      receiver.take(message);
    });
    return { received, receiver, stop };
  };
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 100; i++) await nats.settle();
  };
  return { nats, clock, near, sender, made, pagesOf, receive, settle, bytes: () => bytes };
}

describe('a state sent page by page', () => {
  test('arrives, however long it is', async () => {
    const { sender, receive, pagesOf, bytes } = start();
    const { received } = receive();
    await sender.send('pages', pagesOf(stateOf(40)));
    expectState(received.state, 40);
    expect(bytes()).toBeGreaterThan(2 * SYNC_CREDIT_BYTES);
  });

  test('waits where it is not read: no more than its credit is under way', async () => {
    const { nats, clock, sender, receive, pagesOf, made, settle, bytes } = start();
    const { received } = receive();
    const late: Parameters<FakeNats['fate']>[0][] = [];
    nats.fate = (message) => {
      if (message.subject === 'pages') return [message];
      late.push(message);
      return [];
    };
    const sent = sender.send('pages', pagesOf(stateOf(40)));
    await settle();
    expect(bytes()).toBeLessThanOrEqual(SYNC_CREDIT_BYTES);
    expect(made.pages).toBe(17);
    await clock.advanceAsync(SILENCE_MS - 1);
    nats.fate = (message) => [message];
    for (const message of late) nats.send(message);
    await sent;
    expectState(received.state, 40);
  });

  test.each([
    ['acknowledges nothing any more', 'silent'],
    ['is not there any more', 'gone'],
  ])('ends when its follower %s', async (_, how) => {
    const { nats, clock, sender, receive, pagesOf, made, settle } = start();
    const { stop } = receive();
    if (how === 'silent') nats.fate = (message) => (message.subject === 'pages' ? [message] : []);
    else stop();
    const sent = failure(sender.send('pages', pagesOf(stateOf(100))));
    await settle();
    if (how === 'silent') await clock.advanceAsync(SILENCE_MS);
    expect(await sent).toBeInstanceOf(FollowerGone);
    expect(made.pages).toBeLessThan(20);
  });

  test('ends when the connection breaks, and when a page cannot be made', async () => {
    const { nats, near, sender, receive, pagesOf, settle } = start();
    receive();
    nats.fate = (message) => (message.subject === 'pages' ? [message] : []);
    const sent = failure(sender.send('pages', pagesOf(stateOf(40))));
    await settle();
    near.break();
    sender.disconnected();
    expect(await sent).toMatchObject({ code: 'NatsDisconnected' });
    near.mend();
    nats.fate = (message) => [message];
    function* broken(): Generator<Buffer> {
      yield* encodeTrackState(stateOf(1));
      throw new Error('a bug');
    }
    await expect(sender.send('pages', broken())).rejects.toThrow('a bug');
  });

  test('that is damaged, or of which a page is lost, is an error of its reader', async () => {
    for (const harm of ['damage', 'loss'] as const) {
      const { nats, sender, receive, pagesOf, clock } = start();
      const { received } = receive();
      let pages = 0;
      nats.fate = (message) => {
        if (message.subject !== 'pages' || ++pages !== 3) return [message];
        if (harm === 'loss') return [];
        message.data.writeUInt8(message.data.readUInt8(1000) ^ 1, 1000);
        return [message];
      };
      const sent = failure(sender.send('pages', pagesOf(stateOf(10))));
      for (let i = 0; i < 50; i++) await nats.settle();
      await clock.advanceAsync(SILENCE_MS);
      expect(await sent).toBeInstanceOf(FollowerGone);
      expect(received).toEqual({ error: expect.objectContaining({ code: 'EnvelopeCorrupt' }) });
    }
  });

  test('is read a message a turn, so that the event loop goes on', async () => {
    const { nats, sender, receive, pagesOf } = start();
    const { received } = receive();
    let turns = 0;
    const turn = (): void => {
      if (received.state !== undefined) return;
      turns++;
      setImmediate(turn);
    };
    turn();
    await sender.send('pages', pagesOf(stateOf(30)));
    await nats.settle();
    expect(turns).toBeGreaterThanOrEqual(30);
  });

  test('is held to a bound by its reader, whoever sends it', () => {
    const { receive, nats } = start();
    const { received, receiver } = receive();
    const message = { subject: 'pages', data: Buffer.alloc(2 ** 20), reply: '', status: 0, description: '' };
    for (let i = 0; i < 64; i++) receiver.take({ ...message, header: () => '' });
    expect(received.error).toBeUndefined();
    receiver.take({ ...message, header: () => '' });
    expect(received.error).toMatchObject({ code: 'EnvelopeTooLarge' });
    return nats.settle();
  });
});
