import { describe, expect, onTestFinished, test } from 'vitest';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import type { Bus } from './bus.ts';
import type { Envelope } from './envelope.ts';
import { describeRequests } from './request-conformance.ts';
import { noiseText, podFacts } from './test-envelopes.ts';

/** What etcd takes for one object; its JSON may be longer. */
const LONGEST_OBJECT_BYTES = 1.5 * 1024 * 1024;

/** Two ends of one bus. In memory they are the same. */
export interface TestBus {
  readonly publisher: Bus;
  readonly follower: Bus;
  /** Resolves when everything followed is known to the publisher's side, and all published so far was delivered. */
  readonly settle: () => Promise<void>;
  readonly close: () => Promise<void>;
}

export type Create = () => Promise<TestBus>;

/** What every Bus does, whoever carries its envelopes. */
export function describeBus(name: string, create: Create): void {
  const start = async (): Promise<TestBus> => {
    const started = await create();
    onTestFinished(() => started.close());
    return started;
  };
  describeOrder(name, start);
  describeFollowers(name, start);
  describeContents(name, start);
  describeCeasing(name, start);
  describeRequests(name, start);
}

export function watermark(rv: number): Envelope {
  return { kind: 'watermark', epoch: 1, previous: { rv: 0, index: 0 }, rv };
}

export function watermarks(count: number, from = 0): Envelope[] {
  return Array.from({ length: count }, (_, i) => watermark(from + i));
}

/** What `bus` delivers of `track` from now on. */
export function follow(bus: Bus, track: string): { readonly seen: Envelope[]; readonly stop: () => void } {
  const seen: Envelope[] = [];
  const stop = bus.follow(track, (envelope) => seen.push(envelope));
  return { seen, stop };
}

function describeOrder(name: string, start: Create): void {
  describe(`${name}: envelopes`, () => {
    test('reach every follower of their track in the order published, and no other', async () => {
      const { publisher, follower, settle } = await start();
      const [first, second, other] = [follow(follower, 'a/0'), follow(follower, 'a/0'), follow(follower, 'b/0')];
      const near = follow(publisher, 'a/0');
      await settle();
      const sent = watermarks(100);
      for (const envelope of sent) publisher.publish('a/0', envelope);
      await settle();
      expect(first.seen).toEqual(sent);
      expect(second.seen).toEqual(sent);
      expect(near.seen).toEqual(sent);
      expect(other.seen).toEqual([]);
    });

    test('of many tracks at once keep the order of each', async () => {
      const { publisher, follower, settle } = await start();
      const tracks = Array.from({ length: 64 }, (_, i) => `coordination.k8s.io/v1/leases/protobuf/object/${i}`);
      const followed = tracks.map((track) => follow(follower, track));
      await settle();
      for (const envelope of watermarks(50)) for (const track of tracks) publisher.publish(track, envelope);
      await settle();
      for (const { seen } of followed) expect(seen).toEqual(watermarks(50));
    });

    test('keep to their track, whatever its name', async () => {
      const { publisher, follower, settle } = await start();
      const tracks = ['a/b', 'a.b', 'a', 'a/*', 'a/>', '>', 'a b', 'a_b', 'a/b/c', 'a//b', 'ä/b'];
      const followed = tracks.map((track) => follow(follower, track));
      await settle();
      for (const [i, track] of tracks.entries()) publisher.publish(track, watermark(i));
      await settle();
      expect(followed.map(({ seen }) => seen)).toEqual(tracks.map((_, i) => [watermark(i)]));
    });
  });
}

function describeFollowers(name: string, start: Create): void {
  describe(`${name}: followers`, () => {
    test('get nothing that was published before, or after they stopped', async () => {
      const { publisher, follower, settle } = await start();
      publisher.publish('a/0', watermark(1));
      await settle();
      const early = follow(follower, 'a/0');
      await settle();
      publisher.publish('a/0', watermark(2));
      await settle();
      const late = follow(follower, 'a/0');
      await settle();
      publisher.publish('a/0', watermark(3));
      await settle();
      early.stop();
      early.stop();
      await settle();
      publisher.publish('a/0', watermark(4));
      await settle();
      expect(early.seen).toEqual([watermark(2), watermark(3)]);
      expect(late.seen).toEqual([watermark(3), watermark(4)]);
    });

    test('may stop themselves or others, and begin anew, while one is delivered', async () => {
      const { publisher, follower, settle } = await start();
      const seen: string[] = [];
      const stopFirst = follower.follow('a/0', () => {
        seen.push('first');
        stopFirst();
        stopSecond();
        follower.follow('a/0', () => seen.push('third'));
      });
      const stopSecond = follower.follow('a/0', () => seen.push('second'));
      await settle();
      publisher.publish('a/0', watermark(1));
      await settle();
      expect(seen).toEqual(['first']);
      // What began to follow while the first was on its way must be known, too.
      await settle();
      publisher.publish('a/0', watermark(2));
      await settle();
      expect(seen).toEqual(['first', 'third']);
    });

    test('that begin while one is delivered to others do not get it', async () => {
      const { publisher, follower, settle } = await start();
      let late: Envelope[] | undefined;
      const old = follow(follower, 'a/0');
      follower.follow('a/0', () => (late ??= follow(follower, 'a/0').seen));
      await settle();
      for (const envelope of watermarks(2)) publisher.publish('a/0', envelope);
      await settle();
      expect(old.seen).toEqual(watermarks(2));
      expect(late).toEqual([watermark(1)]);
    });

    test('may follow twice with one function; each stops by itself', async () => {
      const { publisher, follower, settle } = await start();
      const seen: Envelope[] = [];
      const take = (envelope: Envelope): void => void seen.push(envelope);
      const stops = [follower.follow('a/0', take), follower.follow('a/0', take)];
      await settle();
      publisher.publish('a/0', watermark(1));
      await settle();
      stops[0]!();
      publisher.publish('a/0', watermark(2));
      await settle();
      expect(seen).toEqual([watermark(1), watermark(1), watermark(2)]);
    });
  });
}

function describeContents(name: string, start: Create): void {
  describe(`${name}: contents`, () => {
    test('of every kind arrive as they left', async () => {
      const { publisher, follower, settle } = await start();
      const { seen } = follow(follower, 'a/0');
      await settle();
      const pods = [pod('a', 5, { node: 'n1', labels: { app: 'ä' } }), pod('b', 7)];
      const facts = podFacts('json');
      const previous = { rv: 7, index: 2 ** 52 };
      const changes = [change('MODIFIED', pod('a', 8)), change('DELETED', pod('b', 8)), change('ADDED', pod('c', 9))];
      const sent: Envelope[] = [
        { kind: 'listing', epoch: 3, facts, listing: { rv: 7, objects: pods } },
        { kind: 'listing', epoch: 3, facts: { ...facts, bookmark: undefined }, listing: { rv: 7, objects: [] } },
        { kind: 'listed', epoch: 3, rv: 7 },
        { kind: 'batch', epoch: 3, batch: { previous, changes } },
        { kind: 'watermark', epoch: 3, previous: { rv: 9, index: 0 }, rv: 12 },
        { kind: 'end', epoch: 3, end: 'expired' },
      ];
      for (const envelope of sent) publisher.publish('a/0', envelope);
      await settle();
      expect(seen).toEqual(sent);
    });

    test('may be as long as etcd allows, beside short ones', async () => {
      const { publisher, follower, settle } = await start();
      const { seen } = follow(follower, 'a/0');
      await settle();
      const long = (rv: number) => pod('long', rv, { labels: { noise: noiseText(LONGEST_OBJECT_BYTES, rv) } });
      const sent = Array.from({ length: 4 }, (_, i) => batchOf([long(3 * i + 1), pod('short', 3 * i + 2)]));
      for (const envelope of sent) publisher.publish('a/0', envelope);
      await settle();
      expect(seen.length).toBe(sent.length);
      for (const [i, envelope] of sent.entries()) expect(bytesOf(seen[i]!).equals(bytesOf(envelope))).toBe(true);
    });
  });
}

function describeCeasing(name: string, start: Create): void {
  describe(`${name}: a track`, () => {
    test('that its publisher has ceased may be published again, here or elsewhere', async () => {
      const { publisher, follower, settle } = await start();
      const { seen } = follow(follower, 'a/0');
      await settle();
      publisher.cease('a/0');
      publisher.publish('a/0', watermark(1), 1);
      publisher.publish('a/0', watermark(2), 1);
      publisher.cease('a/0');
      publisher.publish('a/0', watermark(3), 1);
      await settle();
      publisher.cease('a/0');
      follower.publish('a/0', watermark(4), 2);
      await settle();
      publisher.publish('a/0', watermark(5), 3);
      await settle();
      expect(seen).toEqual(watermarks(5, 1));
    });
  });
}

export function batchOf(objects: readonly ReturnType<typeof pod>[]): Envelope {
  const rv = (objects[0]?.rv ?? 1) - 1;
  const changes = objects.map((object) => change('MODIFIED', object));
  return { kind: 'batch', epoch: 1, batch: { previous: { rv, index: 0 }, changes } };
}

function bytesOf(envelope: Envelope): Buffer {
  if (envelope.kind !== 'batch') throw new Error(`a ${envelope.kind} instead of a batch`);
  return Buffer.concat(envelope.batch.changes.flatMap(({ object, frame }) => [object.bytes, frame]));
}
