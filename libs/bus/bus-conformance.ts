import { describe, expect, onTestFinished, test } from 'vitest';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { StatusError, tooManyRequests } from '@dogwatch/kube/status.ts';
import { change, pod, podSchema } from '@dogwatch/watch/test-objects.ts';
import { type Bus, type LaneInventory, NoResponder } from './bus.ts';
import type { Envelope } from './envelope.ts';

const LANE: Lane = { group: '', version: 'v1', resource: 'pods', encoding: 'json', view: 'object' };
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

type Create = () => Promise<TestBus>;

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
  describeRequests(name, start);
  describeAnswers(name, start);
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
      const facts = {
        schema: podSchema,
        kind: 'Pod',
        apiVersion: 'v1',
        listKind: 'PodList',
        layout: 'typed',
        bookmark: Buffer.from('{"kind":"Pod"}'),
        warnings: ['old'],
      } as const;
      const previous = { rv: 7, index: 2 ** 52 };
      const changes = [change('MODIFIED', pod('a', 8)), change('DELETED', pod('b', 8)), change('ADDED', pod('c', 9))];
      const sent: Envelope[] = [
        { kind: 'listing', epoch: 3, facts, listing: { rv: 7, objects: pods } },
        { kind: 'listing', epoch: 3, facts: { ...facts, bookmark: undefined }, listing: { rv: 7, objects: [] } },
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
      const long = (rv: number) => pod('long', rv, { labels: { noise: noise(LONGEST_OBJECT_BYTES, rv) } });
      const sent = Array.from({ length: 4 }, (_, i) => batchOf([long(3 * i + 1), pod('short', 3 * i + 2)]));
      for (const envelope of sent) publisher.publish('a/0', envelope);
      await settle();
      expect(seen.length).toBe(sent.length);
      for (const [i, envelope] of sent.entries()) expect(bytesOf(seen[i]!).equals(bytesOf(envelope))).toBe(true);
    });
  });
}

function describeRequests(name: string, start: Create): void {
  describe(`${name}: requests`, () => {
    test('are answered with what the server gives', async () => {
      const { publisher, follower, settle } = await start();
      publisher.serve('fence', async ({ lane }) => {
        expect(lane).toEqual(LANE);
        return { rv: 7, inventory: undefined };
      });
      await settle();
      expect(await follower.request('fence', { lane: LANE, inventory: false })).toEqual({
        rv: 7,
        inventory: undefined,
      });
    });

    test('are rejected where nobody serves, before and after', async () => {
      const { publisher, follower, settle } = await start();
      await expect(follower.request('close', { lane: LANE })).rejects.toThrow(NoResponder);
      const stop = publisher.serve('close', () => Promise.resolve());
      await settle();
      await follower.request('close', { lane: LANE });
      stop();
      await settle();
      await expect(follower.request('close', { lane: LANE })).rejects.toThrow(NoResponder);
    });

    test('have one server a kind; one that has stopped cannot stop its successor', async () => {
      const { publisher, follower, settle } = await start();
      const stop = publisher.serve('open', () => Promise.resolve());
      expect(() => publisher.serve('open', () => Promise.resolve())).toThrow('answered already');
      stop();
      publisher.serve('open', () => Promise.resolve());
      stop();
      await settle();
      await expect(follower.request('open', { lane: LANE })).resolves.toBeUndefined();
    });

    test('under way at once are each answered, in any order', async () => {
      const { publisher, follower, settle } = await start();
      const answers = new Map<string, () => void>();
      publisher.serve('fence', ({ lane }) => {
        const { promise, resolve } = Promise.withResolvers<{ rv: number; inventory: undefined }>();
        answers.set(lane.resource, () => resolve({ rv: Number(lane.resource.slice(1)), inventory: undefined }));
        if (answers.size === 50) for (const answer of [...answers.values()].toReversed()) answer();
        return promise;
      });
      await settle();
      const lanes = Array.from({ length: 50 }, (_, i) => ({ ...LANE, resource: `r${i}` }));
      const replies = await Promise.all(lanes.map((lane) => follower.request('fence', { lane, inventory: false })));
      expect(replies.map(({ rv }) => rv)).toEqual(lanes.map((_, i) => i));
    });
  });
}

function describeAnswers(name: string, start: Create): void {
  describe(`${name}: answers`, () => {
    test('carry rejections: a StatusError as it is', async () => {
      const { publisher, follower, settle } = await start();
      const status = tooManyRequests('too many lanes', 7);
      publisher.serve('open', () => Promise.reject(new StatusError(status)));
      publisher.serve('close', () => Promise.reject(new Error('not today')));
      await settle();
      const open = follower.request('open', { lane: LANE });
      await expect(open).rejects.toThrow(StatusError);
      await expect(open).rejects.toMatchObject({ status, headers: { 'retry-after': '7' } });
      await expect(follower.request('close', { lane: LANE })).rejects.toThrow('not today');
    });

    test('may be long: the names of 20,000 objects, or changes of long objects', async () => {
      const { publisher, follower, settle } = await start();
      const names = Array.from({ length: 20_000 }, (_, i) => [`kube-node-lease/node-${i}`, { uid: `${i}-uid`, rv: i }]);
      const inventory: LaneInventory = { rv: 20_000, objects: new Map(names as never) };
      const changes = Array.from({ length: 3 }, (_, i) => {
        return change('MODIFIED', pod('long', i + 1, { labels: { noise: noise(LONGEST_OBJECT_BYTES, i) } }));
      });
      publisher.serve('fence', () => Promise.resolve({ rv: 20_000, inventory }));
      publisher.serve('backfill', ({ from }) => Promise.resolve(from === 1 ? changes : undefined));
      await settle();
      const fence = await follower.request('fence', { lane: LANE, inventory: true });
      expect(fence.inventory?.objects.size).toBe(20_000);
      expect(fence.inventory?.objects.get('kube-node-lease/node-19999')).toEqual({ uid: '19999-uid', rv: 19_999 });
      const reply = await follower.request('backfill', { lane: LANE, from: 1, to: 9 });
      expect(reply?.map(({ object }) => object.bytes.equals(changes[object.rv - 1]!.object.bytes))).toEqual([
        true,
        true,
        true,
      ]);
      expect(await follower.request('backfill', { lane: LANE, from: 2, to: 9 })).toBeUndefined();
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

/** Text that does not compress, the same for the same seed. */
function noise(length: number, seed: number): string {
  const bytes = Buffer.alloc(Math.ceil((length * 3) / 4));
  let state = seed + 1;
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes.toString('base64').slice(0, length);
}
