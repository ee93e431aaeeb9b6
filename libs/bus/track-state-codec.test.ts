import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import { anyTrackState, codeOf, noise, podFacts, resealed } from './test-envelopes.ts';
import { TrackStateReader, encodeTrackState } from './track-state-codec.ts';
import type { TrackState } from './track-state.ts';

const CORRUPT = expect.objectContaining({ code: 'EnvelopeCorrupt' });

function objectOf(place: number, bytes: Buffer): KubeObject {
  return { key: `a/${place}`, namespace: 'a', name: `${place}`, uid: `u${place}`, rv: place + 1, bytes, indexed: '' };
}

const NOISE = noise(8_000_000);

/** A state of which no object bytes can be compressed, so that pages are as long as they say. */
function stateOf(lengths: readonly number[], changes: readonly number[] = [], from = 0): TrackState {
  let at = from;
  const next = (length: number): Buffer => NOISE.subarray(at, (at += length));
  return {
    kind: 'state',
    epoch: 1,
    facts: podFacts('json'),
    listing: { rv: 1000, objects: lengths.map((length, place) => objectOf(place, next(length))) },
    tombstones: [{ object: objectOf(5, Buffer.from('{}')), born: 3 }],
    horizon: 4,
    changes: changes.map((length, place) => {
      const object = objectOf(place, next(length));
      return { type: 'MODIFIED', object, frame: object.bytes };
    }),
    position: { rv: 1001, index: 2 },
    watermark: 2000,
  };
}

function read(pages: Iterable<Buffer>): TrackState | undefined {
  const reader = new TrackStateReader();
  let state: TrackState | undefined;
  for (const page of pages) state = reader.add(page);
  return state;
}

describe('the state of a track', () => {
  test('is read as it was, whatever it is', () => {
    fc.assert(
      fc.property(anyTrackState, (state) => {
        expect(read(encodeTrackState(state))).toEqual(state);
      }),
    );
  });

  test('travels in pages of at most 512 KiB of objects; a longer object has one of its own', () => {
    const state = stateOf([...Array<number>(30).fill(100_000), 1_500_000, 10, 10], [900_000, 1, 600_000]);
    const pages = [...encodeTrackState(state)];
    expect(pages.map(({ length }) => Math.round(length / 100_000))).toEqual([5, 5, 5, 5, 5, 5, 15, 0, 9, 0, 6]);
    expect(read(pages)).toEqual(state);
  });

  test('is encoded page by page, as they are asked for', () => {
    let looked = 0;
    const objects = Array.from({ length: 100 }, (_, place) => {
      const object = objectOf(place, noise(100_000));
      return Object.defineProperty({ ...object }, 'bytes', { get: () => (looked++, object.bytes), enumerable: true });
    });
    const whole = stateOf([]);
    if (whole.kind !== 'state') throw new Error('no state');
    const pages = encodeTrackState({ ...whole, listing: { rv: 1, objects } });
    expect(looked).toBe(0);
    pages.next();
    expect(looked).toBeLessThan(30);
  });

  test('owns exactly its memory: no object keeps another, or a page, alive', () => {
    const state = stateOf([100, 100], [50, 60]);
    const pages = [...encodeTrackState(state)];
    const copy = read(pages);
    for (const page of pages) page.fill(0);
    expect(copy).toEqual(state);
    if (copy?.kind !== 'state') throw new Error('no state');
    const kept = [...copy.listing.objects, ...copy.tombstones.map(({ object }) => object)].map(({ bytes }) => bytes);
    for (const bytes of [...kept, ...copy.changes.map(({ frame }) => frame)]) {
      expect(bytes.buffer.byteLength).toBe(bytes.length);
    }
    for (const { object, frame } of copy.changes) expect(object.bytes.buffer).toBe(frame.buffer);
  });
});

describe('pages that are not what was encoded', () => {
  const pages = [...encodeTrackState(stateOf(Array<number>(30).fill(100_000)))];

  test('are corrupt in another order, twice, or with one missing', () => {
    expect(pages.length).toBe(6);
    for (const wrong of [
      pages.toReversed(),
      pages.toSpliced(1, 1),
      pages.slice(1),
      pages.toSpliced(3, 0, pages[2]!),
      [...pages, pages[5]!],
    ]) {
      expect(() => read(wrong)).toThrow(CORRUPT);
    }
    expect(read(pages.slice(0, -1))).toBeUndefined();
  });

  test('are corrupt where they are of two states', () => {
    const others = [...encodeTrackState(stateOf(Array<number>(30).fill(100_000), [], 1))];
    expect(others.map(({ length }) => length)).toEqual(pages.map(({ length }) => length));
    expect(() => read([...pages.slice(0, 3), ...others.slice(3)])).toThrow(CORRUPT);
  });

  test('change nothing: the right one may follow', () => {
    const reader = new TrackStateReader();
    const completed: boolean[] = [];
    for (const page of pages) {
      const damaged = Buffer.from(page);
      damaged.writeUInt8(damaged.readUInt8(50) ^ 1, 50);
      expect(() => reader.add(damaged)).toThrow(CORRUPT);
      expect(() => reader.add(pages[3]!.subarray(0, 100))).toThrow(CORRUPT);
      completed.push(reader.add(page) !== undefined);
    }
    expect(completed).toEqual([false, false, false, false, false, true]);
  });

  test('end in an error with a code or in a state, and in nothing else, even where the checksum fits', () => {
    const flips = fc.array(fc.record({ at: fc.nat(), bit: fc.nat(7) }), { minLength: 1, maxLength: 20 });
    const codes = ['', 'EnvelopeCorrupt', 'EnvelopeVersionUnsupported', 'EnvelopeTooLarge'];
    fc.assert(
      fc.property(anyTrackState, flips, (state, changes) => {
        const [page] = encodeTrackState(state) as unknown as [Buffer];
        for (const { at, bit } of changes) {
          const place = 5 + (at % (Math.min(page.length, 5 + (at % 7) * 64) - 5 || 1));
          page.writeUInt8(page.readUInt8(place) ^ (1 << bit), place);
        }
        expect(codes).toContain(codeOf(() => new TrackStateReader().add(resealed(page))));
      }),
      { numRuns: 1000 },
    );
  });
});
