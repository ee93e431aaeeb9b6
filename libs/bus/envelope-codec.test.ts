import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { kubeObject } from '@dogwatch/kube/kube-object.ts';
import { type Change, WHOLE_VERSION } from '@dogwatch/watch/watch-cache.ts';
import { EnvelopeReader, decodeEnvelope, encodeEnvelope } from './envelope-codec.ts';
import type { Envelope } from './envelope.ts';
import { anyEnvelope, codeOf, noise, podFacts, podSchema, recordedChanges, resealed } from './test-envelopes.ts';

const OPTIONS = { track: 'pods/3', term: 7, sequence: 0, maxPayloadBytes: 2 ** 20 };
const CODES = ['', 'EnvelopeCorrupt', 'EnvelopeVersionUnsupported', 'EnvelopeTooLarge'];

function reader(): EnvelopeReader {
  return new EnvelopeReader({ clock: { now: () => 0 }, maxPendingBytes: 2 ** 20 });
}

function batch(changes = recordedChanges('pods', 'json')): Extract<Envelope, { kind: 'batch' }> {
  return { kind: 'batch', epoch: 1, batch: { previous: { rv: 1, index: 0 }, changes } };
}

function changeWith(bytes: Buffer): Change {
  const object = { key: 'a/b', namespace: 'a', name: 'b', uid: 'u', rv: 2, bytes, indexed: '' };
  return { type: 'ADDED', object, frame: bytes };
}

function listingOf(count: number): Envelope {
  const objects = Array.from({ length: count }, (_, i) => {
    const metadata = { name: `pod-${i}`, namespace: `team-${i % 10}`, uid: `uid-${i}`, resourceVersion: `${i + 1}` };
    const pod = { kind: 'Pod', apiVersion: 'v1', metadata, spec: { nodeName: `node-${i % 100}` } };
    return kubeObject(podSchema('json'), Buffer.from(JSON.stringify(pod)));
  });
  return { kind: 'listing', epoch: 1, facts: podFacts('json'), listing: { rv: count, objects } };
}

describe('an envelope', () => {
  const options = fc.record({
    term: fc.maxSafeNat(),
    sequence: fc.maxSafeNat(),
    track: fc.string({ unit: 'grapheme', maxLength: 300 }),
    maxPayloadBytes: fc.constantFrom(1024, 5000, 2 ** 20),
    compressFromBytes: fc.nat(10_000),
  });

  test('is read as it was published: any kind, compressed or not, in one message or many, in any order', () => {
    const order = fc.array(fc.maxSafeNat(), { minLength: 1, maxLength: 100 });
    fc.assert(
      fc.property(anyEnvelope, options, order, (envelope, chosen, keys) => {
        const { track, term, sequence, maxPayloadBytes } = chosen;
        const parts = encodeEnvelope(envelope, chosen);
        expect(Math.max(...parts.map((part) => part.length))).toBeLessThanOrEqual(maxPayloadBytes);
        const expected = { envelope, track, term, sequence };
        expect(decodeEnvelope(parts)).toEqual(expected);
        const keyed = parts.map((part, i) => ({ part, key: keys[i % keys.length] ?? 0 }));
        const one = reader();
        const read = keyed.toSorted((a, b) => a.key - b.key).map(({ part }) => one.read(part));
        expect(read.filter((decoded) => decoded !== undefined)).toEqual([expected]);
        expect(one.dropped).toBe(0);
      }),
    );
  });

  test.each(['pods', 'leases'] as const)('of recorded %s has the attributes a scan would give', (resource) => {
    for (const encoding of ['json', 'protobuf'] as const) {
      const changes = recordedChanges(resource, encoding);
      expect(changes.length).toBeGreaterThan(2);
      expect(decodeEnvelope(encodeEnvelope(batch(changes), OPTIONS)).envelope).toEqual(batch(changes));
    }
  });

  test('may be a listing of thousands of objects', () => {
    const listing = listingOf(5000);
    const parts = encodeEnvelope(listing, { ...OPTIONS, maxPayloadBytes: 4096 });
    expect(parts.length).toBeGreaterThan(1);
    expect(decodeEnvelope(parts).envelope).toEqual(listing);
  });

  test.each([0, 2 ** 30])('may have an object of 1.5 MB, compressed from %i bytes on', (compressFromBytes) => {
    const big = noise(1_500_000);
    const parts = encodeEnvelope(batch([changeWith(big), changeWith(Buffer.from('{}'))]), {
      ...OPTIONS,
      compressFromBytes,
    });
    const { envelope } = decodeEnvelope(parts);
    if (envelope.kind !== 'batch') throw new Error('no batch');
    const [first, second] = envelope.batch.changes;
    expect(first?.object.bytes.equals(big)).toBe(true);
    expect(second?.object.bytes.toString()).toBe('{}');
  });

  test.each<Envelope>([
    batch([]),
    { kind: 'batch', epoch: 0, batch: { previous: { rv: 2 ** 40, index: WHOLE_VERSION }, changes: [] } },
    { kind: 'listing', epoch: 1, facts: podFacts('protobuf'), listing: { rv: 2 ** 52 + 1, objects: [] } },
    { kind: 'watermark', epoch: 2 ** 33, previous: { rv: 2 ** 33, index: WHOLE_VERSION }, rv: 2 ** 34 },
  ])('may be empty, or stand anywhere: %o', (envelope) => {
    expect(decodeEnvelope(encodeEnvelope(envelope, OPTIONS)).envelope).toEqual(envelope);
  });

  test('is compressed where that makes it shorter', () => {
    const repeated = batch(Array.from({ length: 16 }, () => recordedChanges('leases', 'json')).flat());
    const [plain] = encodeEnvelope(repeated, { ...OPTIONS, compressFromBytes: 2 ** 30 });
    const [packed] = encodeEnvelope(repeated, OPTIONS);
    expect(packed?.length).toBeLessThan((plain?.length ?? 0) / 4);
    const [incompressible] = encodeEnvelope(batch([changeWith(noise(16_000))]), OPTIONS);
    expect(incompressible?.length).toBeLessThan(16_400);
  });

  test('carries the bytes of an object once, be they a view of its frame or a copy', () => {
    for (const encoding of ['json', 'protobuf'] as const) {
      const views = recordedChanges('pods', encoding);
      const copies = views.map(({ object, ...rest }) => ({
        ...rest,
        object: { ...object, bytes: Buffer.from(object.bytes) },
      }));
      const plain = { ...OPTIONS, compressFromBytes: 2 ** 30 };
      const message = encodeEnvelope(batch(copies), plain);
      expect(message).toEqual(encodeEnvelope(batch(views), plain));
      const { envelope } = decodeEnvelope(message);
      if (envelope.kind !== 'batch') throw new Error('no batch');
      for (const { object, frame } of envelope.batch.changes) expect(object.bytes.buffer).toBe(frame.buffer);
    }
  });

  test('is refused where its numbers are none, its track is too long or its parts would be too short', () => {
    const end: Envelope = { kind: 'end', epoch: 1, end: 'ended' };
    expect(() => encodeEnvelope(end, { ...OPTIONS, term: -1 })).toThrow(RangeError);
    expect(() => encodeEnvelope(end, { ...OPTIONS, sequence: 2 ** 53 })).toThrow(RangeError);
    expect(() => encodeEnvelope(end, { ...OPTIONS, track: 'x'.repeat(2 ** 16) })).toThrow(RangeError);
    expect(() => encodeEnvelope(end, { ...OPTIONS, maxPayloadBytes: 100 })).toThrow(RangeError);
  });
});

describe('what was read', () => {
  test('owns exactly its memory: no object keeps another, or the message, alive', () => {
    for (const maxPayloadBytes of [1024, 2 ** 20]) {
      const parts = encodeEnvelope(batch(), { ...OPTIONS, maxPayloadBytes });
      const { envelope } = decodeEnvelope(parts);
      for (const part of parts) part.fill(0);
      expect(envelope).toEqual(batch());
      if (envelope.kind !== 'batch') throw new Error('no batch');
      for (const { object, frame } of envelope.batch.changes) {
        expect(frame.buffer.byteLength).toBe(frame.length);
        expect(object.bytes.buffer).toBe(frame.buffer);
      }
    }
    const { envelope } = decodeEnvelope(encodeEnvelope(listingOf(100), OPTIONS));
    if (envelope.kind !== 'listing') throw new Error('no listing');
    for (const { bytes } of envelope.listing.objects) expect(bytes.buffer.byteLength).toBe(bytes.length);
    expect(envelope.facts.bookmark?.buffer.byteLength).toBe(envelope.facts.bookmark?.length);
  });
});

describe('bytes that are not what was published', () => {
  const flips = fc.array(fc.record({ at: fc.nat(), bit: fc.nat(7) }), { minLength: 1, maxLength: 20 });
  const envelopes = fc.record({ envelope: anyEnvelope, compressFromBytes: fc.constantFrom(0, 2 ** 30) });

  function firstPart(envelope: Envelope, compressFromBytes: number, maxPayloadBytes = 2 ** 20): Buffer {
    const [part] = encodeEnvelope(envelope, { ...OPTIONS, compressFromBytes, maxPayloadBytes });
    if (part === undefined) throw new Error('no part');
    return part;
  }

  test('are corrupt, whichever bits were flipped', () => {
    const size = fc.constantFrom(1024, 2 ** 20);
    fc.assert(
      fc.property(envelopes, size, flips, ({ envelope, compressFromBytes }, maxPayloadBytes, changes) => {
        const part = firstPart(envelope, compressFromBytes, maxPayloadBytes);
        const before = Buffer.from(part);
        for (const { at, bit } of changes)
          part.writeUInt8(part.readUInt8(at % part.length) ^ (1 << bit), at % part.length);
        fc.pre(!part.equals(before));
        expect(codeOf(() => reader().read(part))).toBe('EnvelopeCorrupt');
      }),
      { numRuns: 300 },
    );
  });

  test('are corrupt where they were cut short or go on', () => {
    fc.assert(
      fc.property(envelopes, fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 50 }), (it, at, tail) => {
        const part = firstPart(it.envelope, it.compressFromBytes);
        expect(codeOf(() => reader().read(part.subarray(0, at % part.length)))).toBe('EnvelopeCorrupt');
        expect(codeOf(() => reader().read(Buffer.concat([part, tail])))).toBe('EnvelopeCorrupt');
      }),
    );
  });

  test('are corrupt where they are somebody else’s', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), (bytes) => {
        expect(codeOf(() => reader().read(Buffer.from(bytes)))).toBe('EnvelopeCorrupt');
      }),
    );
  });

  test('end in an error with a code or in an envelope, and in nothing else, even where the checksum fits', () => {
    fc.assert(
      fc.property(envelopes, flips, fc.boolean(), ({ envelope, compressFromBytes }, changes, cut) => {
        let part = firstPart(envelope, compressFromBytes);
        for (const { at, bit } of changes) {
          // Many where the lengths and the index are, fewer in the objects.
          const place = 5 + (at % (Math.min(part.length, 5 + (at % 7) * 64) - 5 || 1));
          part.writeUInt8(part.readUInt8(place) ^ (1 << bit), place);
        }
        if (cut) part = part.subarray(0, 12 + ((changes[0]?.at ?? 0) % (part.length - 12)));
        const damaged = resealed(part);
        expect(CODES).toContain(codeOf(() => reader().read(damaged)));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('the format version', () => {
  test('of an envelope from a newer program is named, with what to do', () => {
    const [part] = encodeEnvelope(batch(), OPTIONS);
    part?.writeUInt8(2, 4);
    const read = (): unknown => reader().read(resealed(part ?? Buffer.alloc(0)));
    expect(codeOf(read)).toBe('EnvelopeVersionUnsupported');
    expect(read).toThrow(/format version 2, but this program reads 1; update this program/);
  });

  test('of an envelope from a program too old is named, with what to do', () => {
    const [part] = encodeEnvelope(batch(), OPTIONS);
    part?.writeUInt8(0, 4);
    expect(() => reader().read(resealed(part ?? Buffer.alloc(0)))).toThrow(
      /version 0.*update the program that published/,
    );
  });
});
