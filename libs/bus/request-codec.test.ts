import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { StatusError, tooManyRequests } from '@dogwatch/kube/status.ts';
import type { Change } from '@dogwatch/watch/watch-cache.ts';
import type { LaneRequests } from './bus.ts';
import {
  type Outcome,
  type RepliedKind,
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
} from './request-codec.ts';
import { anyChanges, codeOf, noise, resealed } from './test-envelopes.ts';

const LANE: Lane = { group: 'apps', version: 'v1', resource: 'deployments', encoding: 'protobuf', view: 'metadata' };
const LINK = { follower: 'fanout-0', replace: true, names: ['a/b', 'ü'], indexed: ['node-1'] };
const SCOPE = { namespace: 'ü', labelSelector: 'a in (b,c)', fieldSelector: 'metadata.name=x', limit: 500 };
const LIMIT = { maxPayloadBytes: 2 ** 20 };
const CORRUPT = expect.objectContaining({ code: 'EnvelopeCorrupt' });

function reply<K extends RepliedKind>(kind: K, value: LaneRequests[K]['reply'], limit = LIMIT): unknown {
  return decodeReply(kind, encodeReply(kind, { reply: value } as Outcome<K>, limit))?.reply;
}

describe('a request', () => {
  test('is read as it was sent', () => {
    const sent = [
      { kind: 'open', request: { lane: LANE } },
      { kind: 'close', request: { lane: LANE } },
      { kind: 'repair', request: { lane: { ...LANE, group: '' } } },
      { kind: 'fence', request: { lane: LANE, inventory: true } },
      { kind: 'fence', request: { lane: LANE, inventory: false, epoch: 2 ** 33, moving: true } },
      { kind: 'fence', request: { lane: LANE, inventory: true, epoch: 1, scope: SCOPE } },
      { kind: 'backfill', request: { lane: LANE, from: 2 ** 40, to: 2 ** 41 } },
      { kind: 'sync', request: { lane: LANE, partition: 3, from: undefined } },
      {
        kind: 'sync',
        request: { lane: LANE, partition: 0, from: { epoch: 2 ** 33, position: { rv: 2 ** 40, index: 2 } } },
      },
      { kind: 'sync', request: { lane: LANE, partition: 3, from: undefined, link: LINK } },
      { kind: 'unlink', request: { lane: LANE, partition: 3, follower: 'f', names: ['a/b'], indexed: [] } },
      { kind: 'status', request: {} },
    ] as const;
    for (const { kind, request } of sent) {
      expect(decodeRequest(encodeRequest(kind, request))).toEqual({ kind, request });
    }
  });

  test('may name many objects, and is compressed then', () => {
    const names = Array.from({ length: 20_000 }, (_, i) => `kube-node-lease/node-${i}`);
    const request = { lane: LANE, partition: 3, from: undefined, link: { ...LINK, names } };
    const message = encodeRequest('sync', request);
    expect(message.length).toBeLessThan(100_000);
    expect(decodeRequest(message)).toEqual({ kind: 'sync', request });
  });

  test('is corrupt with any byte changed, and where it is a reply', () => {
    const message = encodeRequest('fence', { lane: LANE, inventory: false });
    for (let at = 0; at < message.length; at++) {
      const damaged = Buffer.from(message);
      damaged.writeUInt8(damaged.readUInt8(at) ^ 0x40, at);
      expect(() => decodeRequest(damaged)).toThrow(CORRUPT);
    }
    const [answer] = encodeReply('close', { reply: undefined }, LIMIT);
    expect(() => decodeRequest(answer as Buffer)).toThrow(CORRUPT);
  });
});

describe('a reply', () => {
  test('may say nothing', () => {
    expect(decodeReply('close', encodeReply('close', { reply: undefined }, LIMIT))).toEqual({ reply: undefined });
    expect(decodeReply('backfill', encodeReply('backfill', { reply: undefined }, LIMIT))).toEqual({ reply: undefined });
  });

  test('may be a number of partitions, or what a process says of itself', () => {
    expect(reply('open', { partitions: 16 })).toEqual({ partitions: 16 });
    const status = { name: 'shard-0', share: 0.5, lanes: [{ epoch: 2 ** 40, up: true, since: null, text: 'ü' }] };
    expect(reply('status', status)).toEqual(status);
  });

  test('may be a version, with an inventory or without', () => {
    expect(reply('fence', { rv: 2 ** 40, inventory: undefined })).toEqual({ rv: 2 ** 40, inventory: undefined });
    const objects = new Map([
      ['default/a', { uid: 'u1', rv: 2 ** 33 }],
      ['ü/€😀', { uid: '', rv: 1 }],
    ]);
    expect(reply('fence', { rv: 9, inventory: { rv: 8, objects } })).toEqual({ rv: 9, inventory: { rv: 8, objects } });
    const page = { rv: 9, inventory: { rv: 8, objects, more: true } } as const;
    expect(reply('fence', page)).toEqual(page);
    expect(reply('fence', { rv: 9, inventory: { rv: 8, objects: new Map() } })).toEqual({
      rv: 9,
      inventory: { rv: 8, objects: new Map() },
    });
  });

  test('may be any changes, in one message or many', () => {
    fc.assert(
      fc.property(anyChanges, fc.constantFrom(1024, 2 ** 20), (changes, maxPayloadBytes) => {
        expect(reply('backfill', changes, { maxPayloadBytes })).toEqual(changes);
      }),
    );
  });

  test('is not there until all its parts are', () => {
    const object = { key: 'a/b', namespace: 'a', name: 'b', uid: 'u', rv: 2, bytes: noise(5000), indexed: '' };
    const changes: Change[] = [{ type: 'ADDED', object, frame: object.bytes }];
    const parts = encodeReply('backfill', { reply: changes }, { maxPayloadBytes: 1024 });
    expect(parts.length).toBeGreaterThan(2);
    for (let count = 0; count < parts.length; count++) {
      expect(decodeReply('backfill', parts.slice(0, count))).toBeUndefined();
    }
    expect(decodeReply('backfill', parts)?.reply).toEqual(changes);
  });

  test('that is a rejection keeps its status and its headers', () => {
    const status = tooManyRequests('not now', 3);
    const parts = encodeReply('open', { error: new StatusError(status) }, LIMIT);
    const rejected = expect.objectContaining({ code: 'StatusError', status, headers: { 'retry-after': '3' } });
    expect(() => decodeReply('open', parts)).toThrow(rejected);
  });

  test('that is an error of the server is an internal error with its message', () => {
    const parts = encodeReply('open', { error: new Error('not today') }, LIMIT);
    expect(() => decodeReply('open', parts)).toThrow('Internal error occurred: not today');
  });

  test('to another request is corrupt', () => {
    const parts = encodeReply('close', { reply: undefined }, LIMIT);
    expect(() => decodeReply('repair', parts)).toThrow(CORRUPT);
    expect(() => decodeReply('open', [encodeRequest('open', { lane: LANE })])).toThrow(CORRUPT);
  });
});

describe('a message whose checksum fits', () => {
  test('ends in an error with a code or in a value, and in nothing else', () => {
    const flips = fc.array(fc.record({ at: fc.nat(), bit: fc.nat(7) }), { minLength: 1, maxLength: 20 });
    const inventory = { rv: 8, objects: new Map([['default/a', { uid: 'u1', rv: 2 ** 33 }]]) };
    const codes = ['', 'EnvelopeCorrupt', 'EnvelopeVersionUnsupported', 'EnvelopeTooLarge', 'StatusError'];
    const damage = (message: Buffer, changes: { at: number; bit: number }[]): Buffer => {
      for (const { at, bit } of changes) {
        const place = 6 + (at % (message.length - 6));
        message.writeUInt8(message.readUInt8(place) ^ (1 << bit), place);
      }
      return resealed(message);
    };
    fc.assert(
      fc.property(flips, anyChanges, (changes, reply) => {
        const request = damage(encodeRequest('backfill', { lane: LANE, from: 1, to: 2 }), changes);
        const [fence] = encodeReply('fence', { reply: { rv: 9, inventory } }, LIMIT) as [Buffer];
        const [backfill] = encodeReply('backfill', { reply }, LIMIT) as [Buffer];
        expect(codes).toContain(codeOf(() => decodeRequest(request)));
        expect(codes).toContain(codeOf(() => decodeReply('fence', [damage(fence, changes)])));
        expect(codes).toContain(codeOf(() => decodeReply('backfill', [damage(backfill, changes)])));
      }),
      { numRuns: 1000 },
    );
  });
});
