import { describe, expect, onTestFinished, test } from 'vitest';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { type Bus, NoResponder } from './bus.ts';
import type { Envelope } from './envelope.ts';

const LANE: Lane = { group: '', version: 'v1', resource: 'pods', encoding: 'json', view: 'object' };

export interface TestBus {
  readonly bus: Bus;
  /** Resolves when everything published so far was delivered. */
  readonly settle: () => Promise<void>;
  readonly close: () => Promise<void>;
}

function watermark(rv: number): Envelope {
  return { kind: 'watermark', epoch: 1, previous: { rv: 0, index: 0 }, rv };
}

type Create = () => Promise<TestBus>;

/** What every Bus does, whoever carries its envelopes. */
export function describeBus(name: string, create: Create): void {
  const start = async (): Promise<TestBus> => {
    const started = await create();
    onTestFinished(() => started.close());
    return started;
  };
  describeEnvelopes(name, start);
  describeRequests(name, start);
}

function follow(bus: Bus, track: string): { seen: Envelope[]; stop: () => void } {
  const seen: Envelope[] = [];
  const stop = bus.follow(track, (envelope) => seen.push(envelope));
  return { seen, stop };
}

function describeEnvelopes(name: string, start: Create): void {
  describe(`${name}: envelopes`, () => {
    test('reach every follower of their track in the order published, and no other', async () => {
      const { bus, settle } = await start();
      const [first, second, other] = [follow(bus, 'a/0'), follow(bus, 'a/0'), follow(bus, 'b/0')];
      const sent = Array.from({ length: 100 }, (_, i) => watermark(i));
      for (const envelope of sent) bus.publish('a/0', envelope);
      await settle();
      expect(first.seen).toEqual(sent);
      expect(second.seen).toEqual(sent);
      expect(other.seen).toEqual([]);
    });

    test('published before somebody follows, or after they stopped, are not theirs', async () => {
      const { bus, settle } = await start();
      bus.publish('a/0', watermark(1));
      await settle();
      const { seen, stop } = follow(bus, 'a/0');
      bus.publish('a/0', watermark(2));
      await settle();
      stop();
      stop();
      bus.publish('a/0', watermark(3));
      await settle();
      expect(seen).toEqual([watermark(2)]);
    });

    test('a follower may stop itself or others, and begin anew, while one is delivered', async () => {
      const { bus, settle } = await start();
      const seen: string[] = [];
      const stopFirst = bus.follow('a/0', () => {
        seen.push('first');
        stopFirst();
        stopSecond();
        bus.follow('a/0', () => seen.push('third'));
      });
      const stopSecond = bus.follow('a/0', () => seen.push('second'));
      bus.publish('a/0', watermark(1));
      await settle();
      expect(seen).toEqual(['first']);
      bus.publish('a/0', watermark(2));
      await settle();
      expect(seen).toEqual(['first', 'third']);
    });
  });
}

function describeRequests(name: string, start: Create): void {
  describe(`${name}: requests`, () => {
    test('are answered with what the server gives', async () => {
      const { bus } = await start();
      bus.serve('fence', async ({ lane }) => {
        expect(lane).toEqual(LANE);
        return { rv: 7, inventory: undefined };
      });
      expect(await bus.request('fence', { lane: LANE, inventory: false })).toEqual({ rv: 7, inventory: undefined });
    });

    test('are rejected as the server rejects', async () => {
      const { bus } = await start();
      bus.serve('open', () => Promise.reject(new Error('not today')));
      await expect(bus.request('open', { lane: LANE })).rejects.toThrow('not today');
    });

    test('are rejected where nobody serves, before and after', async () => {
      const { bus } = await start();
      await expect(bus.request('close', { lane: LANE })).rejects.toThrow(NoResponder);
      const stop = bus.serve('close', () => Promise.resolve());
      await bus.request('close', { lane: LANE });
      stop();
      await expect(bus.request('close', { lane: LANE })).rejects.toThrow(NoResponder);
    });

    test('have one server a kind; one that has stopped cannot stop its successor', async () => {
      const { bus } = await start();
      const stop = bus.serve('open', () => Promise.resolve());
      expect(() => bus.serve('open', () => Promise.resolve())).toThrow('answered already');
      stop();
      bus.serve('open', () => Promise.resolve());
      stop();
      await expect(bus.request('open', { lane: LANE })).resolves.toBeUndefined();
    });
  });
}
