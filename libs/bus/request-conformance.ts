import { describe, expect, test } from 'vitest';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { StatusError, tooManyRequests } from '@dogwatch/kube/status.ts';
import { change, pod } from '@dogwatch/watch/test-objects.ts';
import type { Create } from './bus-conformance.ts';
import { type LaneInventory, NoResponder } from './bus.ts';
import { noiseText, podFacts } from './test-envelopes.ts';
import type { TrackState } from './track-state.ts';

const LANE: Lane = { group: '', version: 'v1', resource: 'pods', encoding: 'json', view: 'object' };
/** What etcd takes for one object; its JSON may be longer. */
const LONGEST_OBJECT_BYTES = 1.5 * 1024 * 1024;

/** What every Bus does with requests. */
export function describeRequests(name: string, start: Create): void {
  describeAnswers(name, start);
  describeAddresses(name, start);
  describeStates(name, start);

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
      const stop = publisher.serve('close', () => Promise.resolve());
      expect(() => publisher.serve('close', () => Promise.resolve())).toThrow('answered already');
      stop();
      publisher.serve('close', () => Promise.resolve());
      stop();
      await settle();
      await expect(follower.request('close', { lane: LANE })).resolves.toBeUndefined();
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
        return change('MODIFIED', pod('long', i + 1, { labels: { noise: noiseText(LONGEST_OBJECT_BYTES, i) } }));
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

function describeAddresses(name: string, start: Create): void {
  describe(`${name}: requests to a process`, () => {
    test('are answered by it; those to nobody by any', async () => {
      const { publisher, follower, settle } = await start();
      publisher.serve('status', () => Promise.resolve({ name: 'shard-0' }), 'shard-0');
      follower.serve('status', () => Promise.resolve({ name: 'shard.1' }), 'shard.1');
      await settle();
      for (const bus of [publisher, follower]) {
        expect(await bus.request('status', {}, 'shard-0')).toEqual({ name: 'shard-0' });
        expect(await bus.request('status', {}, 'shard.1')).toEqual({ name: 'shard.1' });
        expect(['shard-0', 'shard.1']).toContain((await bus.request('status', {}))['name']);
      }
    });

    test('are rejected where it does not answer, whoever else does', async () => {
      const { publisher, follower, settle } = await start();
      const stop = publisher.serve('status', () => Promise.resolve({}), 'shard-0');
      await settle();
      const rejected = follower.request('status', {}, 'shard-1');
      await expect(rejected).rejects.toThrow(NoResponder);
      await expect(rejected).rejects.toThrow('shard-1 does not answer "status" requests');
      stop();
      await settle();
      await expect(follower.request('status', {}, 'shard-0')).rejects.toThrow(NoResponder);
    });

    test('have one server a kind and name', async () => {
      const { publisher, follower, settle } = await start();
      const stop = publisher.serve('open', () => Promise.resolve({ partitions: 1 }), 'a');
      expect(() => publisher.serve('open', () => Promise.resolve({ partitions: 2 }), 'a')).toThrow('answered already');
      publisher.serve('open', () => Promise.resolve({ partitions: 3 }), 'b');
      stop();
      publisher.serve('open', () => Promise.resolve({ partitions: 4 }), 'a');
      await settle();
      expect(await follower.request('open', { lane: LANE }, 'a')).toEqual({ partitions: 4 });
      expect(await follower.request('open', { lane: LANE }, 'b')).toEqual({ partitions: 3 });
    });
  });
}

function describeStates(name: string, start: Create): void {
  const changes = [change('MODIFIED', pod('a', 8)), change('DELETED', pod('b', 8))];
  const place = { epoch: 3, changes, position: { rv: 8, index: 1 }, watermark: 9 };

  describe(`${name}: the state of a track`, () => {
    test('arrives as it is: what continues a place, or all there is', async () => {
      const { publisher, follower, settle } = await start();
      const objects = [pod('a', 5, { node: 'n1' }), pod('b', 7)];
      const tombstones = [{ object: pod('c', 6), born: 2 }];
      const state: TrackState = {
        kind: 'state',
        ...place,
        facts: podFacts('json'),
        listing: { rv: 7, objects },
        tombstones,
        horizon: 4,
      };
      publisher.serve('sync', async ({ lane, partition, from }) => {
        expect([lane, partition]).toEqual([LANE, 3]);
        return from === undefined ? state : { kind: 'changes', ...place, epoch: from.epoch };
      });
      await settle();
      expect(await follower.request('sync', { lane: LANE, partition: 3, from: undefined })).toEqual(state);
      const from = { epoch: 2, position: { rv: 7, index: 2 ** 52 } };
      const changed = await follower.request('sync', { lane: LANE, partition: 3, from });
      expect(changed).toEqual({ kind: 'changes', ...place, epoch: 2 });
    });

    test('may be long: 20 MB, for several at once', async () => {
      const { publisher, follower, settle } = await start();
      const objects = Array.from({ length: 200 }, (_, i) =>
        pod(`p${i}`, i + 1, { labels: { noise: noiseText(100_000, i) } }),
      );
      const whole = { facts: podFacts('json'), listing: { rv: 200, objects }, tombstones: [], horizon: 0 };
      publisher.serve('sync', () => Promise.resolve({ kind: 'state', ...place, ...whole }));
      await settle();
      const ask = () => follower.request('sync', { lane: LANE, partition: 0, from: undefined });
      for (const state of await Promise.all(Array.from({ length: 6 }, ask))) {
        if (state.kind !== 'state') throw new Error('no state');
        expect(state.listing.objects.length).toBe(200);
        expect(state.listing.objects.every(({ bytes }, i) => bytes.equals(objects[i]!.bytes))).toBe(true);
      }
    });

    test('may be refused', async () => {
      const { publisher, follower, settle } = await start();
      const status = tooManyRequests('not mine', 1);
      publisher.serve('sync', () => Promise.reject(new StatusError(status)), 'shard-0');
      await settle();
      const sync = follower.request('sync', { lane: LANE, partition: 0, from: undefined }, 'shard-0');
      await expect(sync).rejects.toMatchObject({ code: 'StatusError', status });
    });
  });
}
