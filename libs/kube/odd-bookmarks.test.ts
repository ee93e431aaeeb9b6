import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bookmarkTemplate, frameBookmark } from './event-framer.ts';
import { MalformedFrame } from './malformed-frame.ts';
import { scanObject } from './object-scanner.ts';
import { Random, oddIdentity, oddJsonValue, oddProtobuf, oddText, spellJson } from './test-odd-objects.ts';
import { parseWatchFrame } from './watch-event.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 100);
const END = 'k8s.io/initial-events-end';

/** A bookmark of a type that writes annotations of its own, in `order`, and their texts. */
function oddBookmark(random: Random): { object: Buffer; annotations: ReadonlyMap<string, string> } {
  const annotations = new Map(
    Array.from({ length: random.below(4) }, () => [
      spellJson(random, `a${oddText(random)}`),
      spellJson(random, oddText(random)),
    ]),
  );
  if (random.once(2))
    annotations.set(random.pick([JSON.stringify(END), `"k8s.\\u0069o/initial-events-end"`]), '"true"');
  const texts = [...annotations].map(([key, value]) => `${key}:${value}`).join(',');
  const odd = random.once(4) ? 'null' : `{${texts}}`;
  const members = random.shuffled([
    [`"resourceVersion"`, '"5"'],
    [spellJson(random, 'annotations'), odd],
    ['"managedFields"', oddJsonValue(random)],
  ]);
  const metadata = `{${members.map(([key, value]) => `${key}:${value}`).join(',')}}`;
  const object = `{"kind":"Foo","apiVersion":"v1","metadata":${metadata},"spec":${oddJsonValue(random)}}`;
  return { object: Buffer.from(object), annotations: odd === 'null' ? new Map() : annotations };
}

/** What `text`, a string of JSON, says. */
function parsed(text: string): string {
  return JSON.parse(text) as string;
}

describe('W14: a bookmark in JSON', () => {
  test('keeps the annotations of its type as they were spelt, and all else byte for byte', () => {
    fc.assert(
      fc.property(fc.integer(), fc.maxSafeNat(), fc.boolean(), (seed, rv, end) => {
        const { object, annotations } = oddBookmark(new Random(seed));
        const { object: made } = parseWatchFrame('json', frameBookmark(bookmarkTemplate('json', object), rv, end));
        expect(scanObject('json', made)).toMatchObject({ name: '', resourceVersion: rv, initialEventsEnd: end });
        const others = [...annotations].filter(([key]) => parsed(key) !== END);
        for (const [key, value] of others) expect(made.includes(Buffer.from(`${key}:${value}`))).toBe(true);
        const { metadata, ...rest } = JSON.parse(made.toString());
        const { metadata: before, ...restBefore } = JSON.parse(object.toString());
        const wanted = Object.fromEntries(others.map(([key, value]) => [parsed(key), parsed(value)]));
        expect(metadata.annotations ?? {}).toEqual(end ? { ...wanted, [END]: 'true' } : wanted);
        expect({ ...metadata, annotations: 0, resourceVersion: 0 }).toEqual({
          ...before,
          annotations: 0,
          resourceVersion: 0,
        });
        expect(rest).toEqual(restBefore);
        expect(made.subarray(made.lastIndexOf('"spec"'))).toEqual(object.subarray(object.lastIndexOf('"spec"')));
      }),
      { numRuns },
    );
  });

  test('that is damaged makes a template, or is refused with a MalformedFrame', () => {
    fc.assert(
      fc.property(fc.integer(), fc.nat(), fc.nat(255), fc.boolean(), (seed, at, byte, cut) => {
        const { object } = oddBookmark(new Random(seed));
        object[at % object.length] = byte;
        const damaged = cut ? object.subarray(0, at % object.length) : object;
        try {
          const { object: made } = parseWatchFrame('json', frameBookmark(bookmarkTemplate('json', damaged), 7, true));
          expect(made.length).toBeGreaterThan(0);
        } catch (error) {
          if (!(error instanceof MalformedFrame)) throw error;
        }
      }),
      { numRuns: numRuns * 3 },
    );
  });

  test.each(['"annotations":[1]', '"annotations":{"a":}', '"annotations":{"secret":1,}', '"annotations":"x"'])(
    'whose annotations are none is refused: %s',
    (annotations) => {
      const object = Buffer.from(`{"kind":"Foo","metadata":{"resourceVersion":"5",${annotations}}}`);
      expect(() => bookmarkTemplate('json', object)).toThrow(MalformedFrame);
    },
  );
});

test('W14: a bookmark in protobuf that is damaged makes a template, or is refused with a MalformedFrame', () => {
  fc.assert(
    fc.property(fc.integer(), fc.option(fc.nat()), fc.nat(255), (seed, at, byte) => {
      const random = new Random(seed);
      const object = oddProtobuf(random, oddIdentity(random));
      if (at !== null) object[at % object.length] = byte;
      try {
        const { object: made } = parseWatchFrame(
          'protobuf',
          frameBookmark(bookmarkTemplate('protobuf', object), 7, true),
        );
        expect(scanObject('protobuf', made).resourceVersion).toBe(7);
      } catch (error) {
        if (!(error instanceof MalformedFrame)) throw error;
      }
    }),
    { numRuns: numRuns * 2 },
  );
});
