import { describe, expect, onTestFinished, test } from 'vitest';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { NatsBus } from './nats-bus.ts';
import { busOn, failure, flipBit, start } from './test-nats-bus.ts';
import type { TrackState } from './track-state.ts';

const LANE: Lane = { group: '', version: 'v1', resource: 'pods', encoding: 'json', view: 'object' };

describe('requests over NATS', () => {
  test('may take long, as long as the server shows that it lives', async () => {
    const { nats, clock, publisher, follower } = start({ silenceMs: 5_000 });
    const { promise, resolve } = Promise.withResolvers<void>();
    publisher.serve('close', () => promise);
    const close = follower.request('close', { lane: LANE });
    await nats.settle();
    for (let i = 0; i < 60; i++) {
      await clock.advanceAsync(1_000);
      await nats.settle();
    }
    resolve();
    await nats.settle();
    await expect(close).resolves.toBeUndefined();
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
    publisher.serve('open', () => Promise.resolve({ partitions: 4 }));
    const opens = [1, 2, 3].map(() => follower.request('open', { lane: LANE }));
    await expect(opens[2]).rejects.toMatchObject({ status: { code: 503 } });
    await nats.settle();
    await Promise.all(opens.slice(0, 2));
  });

  test('for states are bounded in number: 4 asked, 8 served at a time', async () => {
    const { nats, clock, publisher } = start();
    const followers = Array.from({ length: 3 }, () => busOn(nats.connect(), clock));
    for (const bus of followers) onTestFinished(() => bus.close());
    const answers: (() => void)[] = [];
    const state: TrackState = { kind: 'changes', epoch: 1, changes: [], position: { rv: 1, index: 0 }, watermark: 1 };
    publisher.serve('sync', () => new Promise((resolve) => answers.push(() => resolve(state))));
    const ask = (bus: NatsBus) => bus.request('sync', { lane: LANE, partition: 0, from: undefined });
    const syncs = followers.flatMap((bus) => Array.from({ length: 6 }, () => ask(bus)));
    await nats.settle();
    expect(answers).toHaveLength(8);
    for (let i = 0; i < 18; i++) {
      await nats.settle();
      expect(answers.length - i).toBeLessThanOrEqual(8);
      answers[i]!();
      for (let turn = 0; turn < 5; turn++) await nats.settle();
    }
    expect(await Promise.all(syncs)).toEqual(Array(18).fill(state));
  });

  test('for a state that comes damaged are refused, as if it could not be had', async () => {
    const { nats, publisher, follower, clock } = start();
    const state: TrackState = { kind: 'changes', epoch: 1, changes: [], position: { rv: 1, index: 0 }, watermark: 1 };
    publisher.serve('sync', () => Promise.resolve(state));
    nats.fate = (message) => {
      const page = message.subject.startsWith('_INBOX') && message.reply !== '';
      return [page ? { ...message, data: flipBit(message.data) } : message];
    };
    const request = failure(follower.request('sync', { lane: LANE, partition: 0, from: undefined }));
    for (let turn = 0; turn < 5; turn++) await nats.settle();
    expect(await request).toMatchObject({ status: { code: 503, message: expect.stringContaining('corrupt') } });
    await clock.advanceAsync(5_000);
  });

  test('that cannot be read are answered with an error', async () => {
    const { nats, ports, publisher } = start();
    publisher.serve('open', () => Promise.resolve({ partitions: 4 }));
    let answers = 0;
    ports.follower.subscribe('answers', () => answers++);
    ports.follower.publish('dogwatch.request.open.any', Buffer.from('nonsense'), { reply: 'answers' });
    await nats.settle();
    expect(answers).toBe(1);
  });
});
