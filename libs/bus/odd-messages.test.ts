import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { frameEvent } from '@dogwatch/kube/event-framer.ts';
import type { Encoding, Lane } from '@dogwatch/kube/lane.ts';
import { MalformedFrame } from '@dogwatch/kube/malformed-frame.ts';
import { Random, oddIdentity, oddJson, oddProtobuf } from '@dogwatch/kube/test-odd-objects.ts';
import type { Change } from '@dogwatch/watch/watch-cache.ts';
import { EnvelopeReader, decodeEnvelope, encodeEnvelope } from './envelope-codec.ts';
import type { Envelope } from './envelope.ts';
import { Reassembler, splitMessage } from './message-chunks.ts';
import { pack, unpack } from './packing.ts';
import { decodeReply, decodeRequest, encodeReply, encodeRequest } from './request-codec.ts';
import { MESSAGE_KINDS, seal, unseal } from './sealed-message.ts';
import { changeOf, codeOf, noise, podFacts, podSchema, resealed } from './test-envelopes.ts';
import { TrackStateReader, encodeTrackState } from './track-state-codec.ts';
import type { TrackState } from './track-state.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 20);
const OPTIONS = { track: 'pods/3', term: 7, sequence: 0, maxPayloadBytes: 2 ** 20, compressFromBytes: 2 ** 30 };
const CODES = ['', 'EnvelopeCorrupt', 'EnvelopeVersionUnsupported', 'EnvelopeTooLarge'];

/** The change of an odd object, as it is read off a watch; none where its field of a node is no field. */
function oddChange(seed: number): Change {
  const random = new Random(seed);
  const encoding = random.pick<Encoding>(['json', 'protobuf']);
  const identity = oddIdentity(random);
  const object = encoding === 'json' ? oddJson(random, identity) : oddProtobuf(random, identity);
  const change = changeOf(podSchema(encoding), frameEvent(encoding, random.pick(['ADDED', 'DELETED']), object));
  if (change === undefined) throw new MalformedFrame('a change', 0);
  return change;
}

const changes = fc.array(fc.integer().map(oddChange), { maxLength: 5 });

function batchOf(all: readonly Change[]): Envelope {
  return { kind: 'batch', epoch: 1, batch: { previous: { rv: 0, index: 0 }, changes: [...all] } };
}

function listingOf(all: readonly Change[]): Envelope {
  const objects = all.map(({ object }) => object);
  return { kind: 'listing', epoch: 1, facts: podFacts('json'), listing: { rv: 9, objects } };
}

function stateOf(all: readonly Change[]): TrackState {
  const objects = all.map(({ object }) => object);
  const tombstones = objects.map((object) => ({ object, born: 3 }));
  const place = { epoch: 1, position: { rv: 9, index: 0 }, watermark: 9, horizon: 2 };
  return {
    kind: 'state',
    ...place,
    changes: [...all],
    facts: podFacts('json'),
    listing: { rv: 9, objects },
    tombstones,
  };
}

describe('odd objects', () => {
  test('I1: come out of an envelope, a state and a reply as they went in, byte for byte', () => {
    fc.assert(
      fc.property(
        changes,
        fc.constantFrom(0, 2 ** 30),
        fc.constantFrom(1024, 2 ** 20),
        (all, from, maxPayloadBytes) => {
          const options = { ...OPTIONS, compressFromBytes: from, maxPayloadBytes };
          for (const envelope of [batchOf(all), listingOf(all)])
            expect(decodeEnvelope(encodeEnvelope(envelope, options)).envelope).toEqual(envelope);
          const reader = new TrackStateReader();
          const states = [...encodeTrackState(stateOf(all))].map((page) => reader.add(page));
          expect(states.at(-1)).toEqual(stateOf(all));
          const reply = decodeReply('backfill', encodeReply('backfill', { reply: all }, { maxPayloadBytes }));
          expect(reply).toEqual({ reply: all });
        },
      ),
      { numRuns },
    );
  });
});

describe('chunks of many messages', () => {
  const LARGEST = 4_000;
  const MAX_PENDING = 10_000;

  /** A message that no other seed makes. */
  function messageOf(seed: number): Buffer {
    const bytes = noise(1_100 + ((seed >>> 3) % (LARGEST - 1_100)));
    bytes.writeInt32BE(seed, 12);
    return seal(bytes, MESSAGE_KINDS.end, 0);
  }

  /** What happens to a chunk on its way. */
  function arrives(part: Buffer, random: Random): Buffer[] {
    const other = Buffer.from(part);
    switch (random.below(8)) {
      case 0:
        return [];
      case 1:
        return [part, part];
      case 2:
        other[random.below(other.length)]! ^= 1 << random.below(8);
        return [other];
      case 3:
        // As a program of another make would send it: whole, but not what it says it is.
        other[12 + random.below(40)]! ^= 1 << random.below(8);
        return [resealed(other)];
      case 4:
        return [part.subarray(0, random.below(part.length))];
      default:
        return [part];
    }
  }

  test('lost, doubled, mixed and damaged are a message that was sent or none, and never more than may be held', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1, maxLength: 6 }), fc.integer(), (seeds, fate) => {
        const random = new Random(fate);
        const sent = seeds.map(messageOf);
        const known = new Set(sent.map((message) => message.toString('latin1')));
        const reassembler = new Reassembler({ clock: { now: () => 0 }, maxPendingBytes: MAX_PENDING });
        const came: string[] = [];
        const take = (part: Buffer): void => {
          const code = codeOf(() => {
            const whole = reassembler.add(unseal(part));
            if (whole !== undefined) came.push(whole.bytes.toString('latin1'));
          });
          expect(CODES).toContain(code);
          expect(reassembler.pendingBytes).toBeLessThanOrEqual(MAX_PENDING);
        };
        const parts = sent.flatMap((message) => splitMessage(message, 1024));
        for (const part of random.shuffled(parts)) for (const one of arrives(part, random)) take(one);
        expect(came.filter((message) => !known.has(message))).toEqual([]);
        // Sent again whole it comes whole; twice, for what is left of a damaged one may be in the way of the first.
        const last = sent.at(-1)!;
        came.length = 0;
        for (const part of [...splitMessage(last, 1024), ...splitMessage(last, 1024)]) take(part);
        expect(came).toContain(last.toString('latin1'));
      }),
      { numRuns: numRuns * 4 },
    );
  });

  test('make an envelope however they are mixed with those of others', () => {
    fc.assert(
      fc.property(fc.array(changes, { minLength: 1, maxLength: 4 }), fc.integer(), (batches, fate) => {
        const random = new Random(fate);
        const sent = batches.map((all, sequence) => ({ envelope: batchOf(all), sequence }));
        const parts = sent.flatMap(({ envelope, sequence }) =>
          encodeEnvelope(envelope, { ...OPTIONS, sequence, maxPayloadBytes: 1024 }),
        );
        const reader = new EnvelopeReader({ clock: { now: () => 0 }, maxPendingBytes: 2 ** 24 });
        const came = random.shuffled([...parts, ...parts.slice(1)]).flatMap((part) => {
          const decoded = reader.read(Buffer.from(part));
          return decoded === undefined ? [] : [decoded];
        });
        for (const { envelope, sequence } of sent)
          expect(came.find((decoded) => decoded.sequence === sequence)?.envelope).toEqual(envelope);
      }),
      { numRuns },
    );
  });
});

/** Values that stand where others should. */
const foreign = fc.oneof(
  fc.constantFrom<unknown>(null, undefined, true, -1, 1.5, 2 ** 60, '', 'end', [], {}, Buffer.alloc(3), [null], NaN),
  fc.jsonValue({ maxDepth: 1 }),
);

/** `value` with what stands at one place of it replaced. */
function replaced(value: unknown, random: Random, by: unknown): unknown {
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value) || random.once(4)) return by;
  const keys = Object.keys(value);
  if (keys.length === 0) return by;
  const at = keys[random.below(keys.length)]!;
  const inner = replaced((value as Record<string, unknown>)[at], random, by);
  return Array.isArray(value) ? value.with(Number(at), inner) : { ...value, [at]: inner };
}

/**
 * `message`, which is not compressed, with its index replaced in one place by `by`, and its checksum made to fit:
 * the length of the index stands at `lengthAt`, the index itself at `start`.
 */
function remade(
  message: Buffer,
  { lengthAt, start }: { lengthAt: number; start: number },
  random: Random,
  by: unknown,
): Buffer {
  const end = start + message.readUInt32BE(lengthAt);
  const index = pack(replaced(unpack(message.subarray(start, end)), random, by));
  const other = Buffer.concat([message.subarray(0, start), index, message.subarray(end)]);
  other.writeUInt32BE(index.length, lengthAt);
  return resealed(other);
}

describe('a message whose checksum fits but whose index is somebody else’s', () => {
  const LANE: Lane = { group: '', version: 'v1', resource: 'pods', encoding: 'json', view: 'object' };
  const few = fc.array(fc.integer({ min: 0, max: 99 }).map(oddChange), { maxLength: 2 });

  test('ends in an error with a code or in a value, and in nothing else', () => {
    const inEnvelope = { lengthAt: 80, start: 90 + OPTIONS.track.length };
    fc.assert(
      fc.property(few, fc.integer(), foreign, (all, seed, by) => {
        const random = new Random(seed);
        const limit = { maxPayloadBytes: 2 ** 20 };
        for (const envelope of [batchOf(all), listingOf(all), { kind: 'end', epoch: 1, end: 'ended' } as const]) {
          const [message] = encodeEnvelope(envelope, OPTIONS) as [Buffer];
          expect(CODES).toContain(codeOf(() => decodeEnvelope([remade(message, inEnvelope, random, by)])));
        }
        const asked = encodeRequest('backfill', { lane: LANE, from: 1, to: 2 });
        expect(CODES).toContain(codeOf(() => decodeRequest(remade(asked, { lengthAt: 12, start: 16 }, random, by))));
        const inventory = { rv: 8, objects: new Map([['default/a', { uid: 'u1', rv: 2 ** 33 }]]) };
        const replies = [
          ['open', encodeReply('open', { reply: { partitions: 3 } }, limit)],
          ['fence', encodeReply('fence', { reply: { rv: 9, inventory } }, limit)],
          ['repair', encodeReply('repair', { error: new Error('no') }, limit)],
        ] as const;
        for (const [kind, [message]] of replies) {
          const other = remade(message!, { lengthAt: 12, start: 20 }, random, by);
          expect([...CODES, 'StatusError']).toContain(codeOf(() => decodeReply(kind, [other])));
        }
        const [page] = encodeTrackState(stateOf(all)) as unknown as [Buffer];
        if (page.readUInt16BE(6) !== 0) return;
        const other = remade(page, { lengthAt: 12, start: 20 }, random, by);
        expect(CODES).toContain(codeOf(() => new TrackStateReader().add(other)));
      }),
      { numRuns: numRuns * 6 },
    );
  });
});
