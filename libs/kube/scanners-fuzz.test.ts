import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { frameEvent } from './event-framer.ts';
import { FrameTooLarge, createFrameScanner } from './frame-scanner.ts';
import type { Encoding } from './lane.ts';
import { createListScanner } from './list-scanner.ts';
import { MalformedFrame } from './malformed-frame.ts';
import { ownCopy } from './own-copy.ts';
import {
  Random,
  oddIdentity,
  oddJson,
  oddJsonValue,
  oddProtobuf,
  oddText,
  protobufField,
  spellJson,
} from './test-odd-objects.ts';
import { EVENT_TYPES, parseWatchFrame } from './watch-event.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 40);
const ENCODINGS = ['json', 'protobuf'] as const;
/** Below some of the items and frames, so that the bound is met too. */
const SMALL = 700;

/** Everything a scanner gave, as text, and what it failed with or ended in. */
interface Outcome {
  readonly parts: readonly string[];
  readonly end: unknown;
}

function outcomeOf(read: (onPart: (part: Buffer) => void) => unknown): Outcome {
  const parts: Buffer[] = [];
  // Read at the end only: what was given must not change with what comes after it.
  const texts = (): string[] => parts.map((part) => part.toString('latin1'));
  try {
    return { end: read((part) => parts.push(part)), parts: texts() };
  } catch (error) {
    if (error instanceof MalformedFrame || error instanceof FrameTooLarge) return { end: error.code, parts: texts() };
    throw error;
  }
}

/** What becomes of `body` in chunks of `stride` bytes, each overwritten once it was pushed and nothing given was a view of it. */
function scanned(what: 'list' | 'frames', encoding: Encoding, body: Buffer, stride = body.length): Outcome {
  return outcomeOf((onPart) => {
    const list = what === 'list' ? createListScanner(encoding, SMALL) : undefined;
    const frames = createFrameScanner(encoding, SMALL);
    for (let at = 0; at < body.length; at += stride) {
      const chunk = ownCopy(body.subarray(at, at + stride));
      let viewed = false;
      (list ?? frames).push(chunk, (part) => {
        viewed ||= part.buffer === chunk.buffer;
        onPart(part);
      });
      if (!viewed) chunk.fill(0x7d);
    }
    return list === undefined ? frames.pendingBytes : list.end();
  });
}

/** A list as kube-apiserver might write it, and its items, any of which may be long, empty or odd. */
function oddList(encoding: Encoding, random: Random): { body: Buffer; items: Buffer[] } {
  const seeds = Array.from({ length: random.below(4) }, () => random.below(2 ** 31));
  if (encoding === 'json') {
    const items = seeds.map((seed) => oddJson(new Random(seed), oddIdentity(new Random(seed), 1)));
    const list = items.length === 0 ? random.pick(['null', '[]', '[ ]']) : `[${items.map(String).join(' , ')}]`;
    const members: [string, string][] = [
      ['kind', '"FooList"'],
      ['metadata', `{"x":${oddJsonValue(random)},"resourceVersion":"7","continue":""}`],
      ['odd', oddJsonValue(random)],
      ['items', list],
    ];
    const parts = random.shuffled(members).map(([key, value]) => `${spellJson(random, key)} : ${value}`);
    return { body: Buffer.from(` {${parts.join('\t, ')}}\n`), items };
  }
  const items = seeds.map((seed) => Buffer.alloc(new Random(seed).below(2 * SMALL), seed));
  const raws = items.map((item) => protobufField(random, 2, item));
  const meta = protobufField(random, 1, protobufField(random, 2, Buffer.from('7')));
  const number = Buffer.from([0x48, 0xff, 0x01]);
  const list = protobufField(random, 2, ...raws.flatMap((raw) => (random.once(3) ? [number, raw] : [raw])), meta);
  const type = protobufField(random, 1, protobufField(random, 2, Buffer.from('FooList')));
  const parts = random.shuffled([type, list, number, protobufField(random, 3)]);
  return { body: Buffer.concat([Buffer.from('k8s\0'), ...parts]), items };
}

function oddFrames(encoding: Encoding, random: Random): Buffer {
  const frames = Array.from({ length: random.below(4) }, () => {
    const seeded = new Random(random.below(2 ** 31));
    const identity = oddIdentity(seeded, 1);
    const object = encoding === 'json' ? oddJson(seeded, identity) : oddProtobuf(seeded, identity);
    return frameEvent(encoding, random.pick(['ADDED', 'BOOKMARK', 'ERROR']), object);
  });
  return Buffer.concat(random.once(3) && encoding === 'json' ? [Buffer.from('\r\n'), ...frames] : frames);
}

/** What happens to bytes: bits flip, some are lost, doubled, replaced or made anew, the end does not come. */
function damaged(body: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(body);
  for (let left = random.below(4); left > 0 && bytes.length > 0; left--) {
    const at = random.below(bytes.length);
    const until = at + random.below(Math.min(8, bytes.length - at) + 1);
    switch (random.below(5)) {
      case 0:
        bytes[at]! ^= 1 << random.below(8);
        break;
      case 1:
        bytes[at] = random.pick([0xff, 0x80, ...Buffer.from('"\\{}[],: n0-\n\0')]);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(until)]);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, until), bytes.subarray(at)]);
        break;
      default:
        bytes = bytes.subarray(0, at);
    }
  }
  return bytes;
}

describe.each(ENCODINGS)('whatever comes in %s', (encoding) => {
  test.each(['list', 'frames'] as const)('%s: what is made of it does not depend on the chunks it comes in', (what) => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 2, max: 50 }), (seed, stride) => {
        const random = new Random(seed);
        const whole = what === 'list' ? oddList(encoding, random).body : oddFrames(encoding, random);
        const body = damaged(whole, random);
        const atOnce = scanned(what, encoding, body);
        expect(scanned(what, encoding, body, 1)).toEqual(atOnce);
        expect(scanned(what, encoding, body, stride)).toEqual(atOnce);
      }),
      { numRuns: numRuns },
    );
  });

  test('a list is its items, in order and byte for byte', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 50 }), (seed, stride) => {
        const { body, items } = oddList(encoding, new Random(seed));
        const scanner = createListScanner(encoding, 2 ** 20);
        const got: Buffer[] = [];
        for (let at = 0; at < body.length; at += stride)
          scanner.push(body.subarray(at, at + stride), (item) => got.push(item));
        expect(scanner.end()).toEqual({ kind: 'FooList', apiVersion: '', resourceVersion: '7', continue: '' });
        expect(got).toEqual(items);
      }),
      { numRuns },
    );
  });

  test('an event is exactly one, and its object a part of its frame, or it is refused', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = new Random(seed);
        const frame = damaged(oddFrames(encoding, random), random);
        try {
          const { type, object } = parseWatchFrame(encoding, frame);
          expect(EVENT_TYPES).toContain(type);
          expect(object.buffer).toBe(frame.buffer);
          // What is framed anew is the same event.
          const again = parseWatchFrame(encoding, frameEvent(encoding, type, object));
          expect([again.type, again.object.equals(object)]).toEqual([type, true]);
        } catch (error) {
          if (!(error instanceof MalformedFrame)) throw error;
        }
      }),
      { numRuns: numRuns },
    );
  });
});

test('an event in JSON is the same in any order of keys, with any escapes, white space and other keys', () => {
  fc.assert(
    fc.property(fc.integer(), fc.constantFrom(...EVENT_TYPES), (seed, type) => {
      const random = new Random(seed);
      const object = oddJson(random, oddIdentity(random));
      const members: [string, Buffer][] = [
        ['type', Buffer.from(spellJson(random, type))],
        ['object', object],
        [`x${oddText(random)}`, Buffer.from(oddJsonValue(random))],
      ];
      const space = Buffer.from(random.pick(['', ' ', '\t \r']));
      const parts = random.shuffled(members).map(([key, value], at) => {
        const start = Buffer.from(`${at === 0 ? '{' : ','}${spellJson(random, key)}`);
        return Buffer.concat([space, start, space, Buffer.from(':'), space, value, space]);
      });
      const event = parseWatchFrame('json', Buffer.concat([...parts, Buffer.from('}\r\n')]));
      expect([event.type, event.object.equals(object)]).toEqual([type, true]);
      const two = Buffer.concat([...parts, Buffer.from('}{}\n')]);
      expect(() => parseWatchFrame('json', two)).toThrow(MalformedFrame);
    }),
    { numRuns },
  );
});

describe.each([
  ['configmaps-page', 'json'],
  ['widgets-metadata-list', 'json'],
  ['configmaps-page', 'protobuf'],
  ['widgets-metadata-list', 'protobuf'],
] as const)('%s in %s as kube-apiserver sent it', (name, encoding) => {
  const body = readFileSync(new URL(`./testdata/${name}-${encoding}.raw`, import.meta.url));

  test('with any one bit flipped is refused, or is one and the same list in one chunk and in many', () => {
    const step = 1 + Math.floor((body.length * 8) / (numRuns * 8));
    for (let bit = numRuns % step; bit < body.length * 8; bit += step) {
      const flipped = Buffer.from(body);
      flipped[bit >>> 3]! ^= 1 << (bit & 7);
      expect(scanned('list', encoding, flipped, 7)).toEqual(scanned('list', encoding, flipped));
    }
  });
});
