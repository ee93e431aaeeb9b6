import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { frameEvent, withResourceVersion } from './event-framer.ts';
import { createFrameScanner } from './frame-scanner.ts';
import { kubeObject, type ObjectSchema } from './kube-object.ts';
import type { Encoding } from './lane.ts';
import { frameList, objectFromListItem } from './list-framer.ts';
import { createListScanner } from './list-scanner.ts';
import { MalformedFrame } from './malformed-frame.ts';
import { scanField, scanLabels, scanObject } from './object-scanner.ts';
import { bytesField, stringField } from './proto-wire.ts';
import { wrapUnknown } from './runtime-unknown.ts';
import { type OddIdentity, Random, oddIdentity, oddJson, oddProtobuf } from './test-odd-objects.ts';
import { type EventType, parseWatchFrame } from './watch-event.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 40);
const ENCODINGS = ['json', 'protobuf'] as const;
const MAX = 2 ** 26;

/** An odd object of a seed, in each encoding: shrinking finds a smaller seed, not a smaller object. */
function odd(encoding: Encoding, seed: number): { identity: OddIdentity; object: Buffer } {
  const random = new Random(seed);
  const identity = oddIdentity(random);
  return { identity, object: encoding === 'json' ? oddJson(random, identity) : oddProtobuf(random, identity) };
}

function schemaOf(encoding: Encoding): ObjectSchema {
  return { encoding, fields: new Map(), indexedField: undefined };
}

/** What a scan finds of an object. */
function identityIn(encoding: Encoding, object: Buffer): OddIdentity {
  const { kind, apiVersion, namespace, name, uid, resourceVersion: rv } = scanObject(encoding, object);
  return { kind, apiVersion, namespace, name, uid, rv, labels: scanLabels(encoding, object) };
}

describe.each(ENCODINGS)('an odd object in %s', (encoding) => {
  test('has the identity and labels it was written with', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const { identity, object } = odd(encoding, seed);
        expect(identityIn(encoding, object)).toEqual(identity);
      }),
      { numRuns },
    );
  });

  test('I1: goes through a watch, byte for byte, however the watch is cut into chunks', () => {
    const types = fc.constantFrom<EventType>('ADDED', 'MODIFIED', 'DELETED');
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer(), types), { maxLength: 4 }), fc.nat(40), (events, stride) => {
        const sent = events.map(([seed, type]) => ({ type, object: odd(encoding, seed).object }));
        const body = Buffer.concat(sent.map(({ type, object }) => frameEvent(encoding, type, object)));
        const scanner = createFrameScanner(encoding);
        const got: { type: EventType; object: Buffer }[] = [];
        for (let at = 0; at < body.length; at += stride + 1)
          scanner.push(body.subarray(at, at + stride + 1), (frame) => got.push(parseWatchFrame(encoding, frame)));
        expect(got).toEqual(sent);
        expect(scanner.pendingBytes).toBe(0);
      }),
      { numRuns },
    );
  });

  test('changes its version and nothing else', () => {
    fc.assert(
      fc.property(fc.integer(), fc.maxSafeNat(), (seed, rv) => {
        const { identity, object } = odd(encoding, seed);
        const changed = withResourceVersion(encoding, object, rv);
        expect(identityIn(encoding, changed)).toEqual({ ...identity, rv });
        const [before, after] = [object, changed].map((bytes) => scanObject(encoding, bytes));
        expect(changed.subarray(after!.rvEnd)).toEqual(object.subarray(before!.rvEnd));
        // In protobuf the lengths before it may change too.
        const same = encoding === 'json' ? [after!.rvStart, before!.rvStart] : [4, 4];
        expect(changed.subarray(0, same[0])).toEqual(object.subarray(0, same[1]));
      }),
      { numRuns },
    );
  });

  test('I1: goes through a list, byte for byte but for its own kind and apiVersion', () => {
    const head = { kind: 'FooList', apiVersion: 'v1', layout: 'typed', resourceVersion: 5 } as const;
    fc.assert(
      fc.property(fc.array(fc.integer(), { maxLength: 4 }), (seeds) => {
        const all = seeds.map((seed) => odd(encoding, seed));
        const scanner = createListScanner(encoding, MAX);
        const items: Buffer[] = [];
        const objects = all.map(({ object }) => object);
        for (const chunk of frameList(encoding, head, objects)) scanner.push(chunk, (item) => items.push(item));
        expect(scanner.end()).toMatchObject({ kind: 'FooList', apiVersion: 'v1', resourceVersion: '5' });
        expect(items.length).toBe(all.length);
        for (const [at, { identity }] of all.entries()) {
          const { kind, apiVersion } = identity;
          expect(identityIn(encoding, objectFromListItem(encoding, kind, apiVersion, items[at]!))).toEqual(identity);
        }
      }),
      { numRuns },
    );
  });

  test('that was damaged is refused, or scanned with its version where it says', () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(7)), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(fc.integer(), damage, fc.option(fc.nat()), (seed, flips, cut) => {
        const whole = odd(encoding, seed).object;
        const object = Buffer.from(cut === null ? whole : whole.subarray(0, cut % whole.length));
        for (const [at, bit] of object.length === 0 ? [] : flips) object[at % object.length]! ^= 1 << bit;
        try {
          const { name, rv, key } = kubeObject(schemaOf(encoding), object);
          expect([name === '', key.endsWith(name)]).toEqual([false, true]);
          const other = withResourceVersion(encoding, object, 12_345_678);
          expect(scanObject(encoding, other)).toMatchObject({ name, resourceVersion: 12_345_678 });
          expect(scanObject(encoding, withResourceVersion(encoding, other, rv))).toMatchObject({ resourceVersion: rv });
        } catch (error) {
          if (!(error instanceof MalformedFrame)) throw error;
        }
      }),
      { numRuns: numRuns * 2 },
    );
  });

  test('may have 50,000 labels', () => {
    const labels = new Map(Array.from({ length: 50_000 }, (_, i) => [`key-${i}`, `value ${i} 😀`]));
    const entries = [...labels].map(([key, value]) => bytesField(11, stringField(1, key), stringField(2, value)));
    const object =
      encoding === 'json'
        ? Buffer.from(JSON.stringify({ metadata: { labels: Object.fromEntries(labels), name: 'a' } }))
        : wrapUnknown({ kind: '', apiVersion: '' }, bytesField(1, ...entries, stringField(1, 'a')));
    expect(scanObject(encoding, object).name).toBe('a');
    const found = scanLabels(encoding, object);
    expect(found.size).toBe(labels.size);
    expect([...labels].every(([key, value]) => found.get(key) === value)).toBe(true);
  });
});

describe('a JSON object', () => {
  const scanned = (text: string) => scanObject('json', Buffer.from(text));

  test('says of lone surrogates what Go reads: U+FFFD, each', () => {
    const name = String.raw`\ud800 \udfff\ud83d\ude00\uD83D\uD83D\uDE00\ude00`;
    expect(scanned(`{"metadata":{"name":"${name}"}}`).name).toBe('\ufffd \ufffd😀\ufffd😀\ufffd');
    const labels = scanLabels('json', Buffer.from(String.raw`{"metadata":{"labels":{"\udc00":"\ud800"}}}`));
    expect([...labels]).toEqual([['\ufffd', '\ufffd']]);
  });

  test('may be 1.5 MB of escapes, and is read in linear time', () => {
    const long = '\\"\\\\'.repeat(375_000);
    const object = `{"data":"${long}","metadata":{"name":"a","annotations":{"${long}":"x"},"resourceVersion":"7"}}`;
    expect(scanned(object)).toMatchObject({ name: 'a', resourceVersion: 7 });
  });

  test.each([10_000, 20_000])('may be nested %i deep, before its metadata and in it', (depth) => {
    const deep = `${'{"metadata":['.repeat(depth)}${']}'.repeat(depth)}`;
    const text = `{"data":${deep},"metadata":{"managedFields":[${deep}],"labels":{"a":"b"},"name":"n"},"kind":"Foo"}`;
    const object = Buffer.from(text);
    expect(scanned(text)).toMatchObject({ name: 'n', kind: 'Foo' });
    expect(scanLabels('json', object)).toEqual(new Map([['a', 'b']]));
    const path = { json: ['data', 'metadata'], protobuf: [] };
    // Go would print it, JavaScript's stack ends before: no field that objects are selected by is nested.
    expect(() => scanField('json', object, path)).toThrow(MalformedFrame);
    const { object: parsed } = parseWatchFrame('json', frameEvent('json', 'ADDED', object));
    expect(parsed.equals(object)).toBe(true);
  });

  // A ControllerRevision's data is its writer's JSON, which kube-apiserver keeps as it came.
  test('I1: keeps the keys repeated in it', () => {
    const data = '{"metadata":{"name":"x"},"metadata":{"name":"y"},"spec":1,"spec":2}';
    const metadata = '{"name":"r","namespace":"ns","uid":"u","resourceVersion":"7"}';
    const text = `{"kind":"ControllerRevision","apiVersion":"apps/v1","metadata":${metadata},"data":${data},"revision":1}`;
    const object = Buffer.from(text);
    const [, item] = /^\{"kind":"ControllerRevision","apiVersion":"apps\/v1",(.*)$/.exec(text)!;
    const head = {
      kind: 'ControllerRevisionList',
      apiVersion: 'apps/v1',
      layout: 'typed',
      resourceVersion: 9,
    } as const;
    expect(Buffer.concat([...frameList('json', head, [object])]).toString()).toContain(`"items":[{${item}]}`);
    expect(scanned(text)).toMatchObject({ name: 'r', resourceVersion: 7 });
    expect(withResourceVersion('json', object, 123).toString()).toBe(text.replace('"7"', '"123"'));
  });
});

describe('a protobuf object', () => {
  const envelope = (...raw: number[]): Buffer => Buffer.from([0x6b, 0x38, 0x73, 0, 0x12, raw.length, ...raw]);

  test.each([
    ['a group', [0x0b, 0x0c]],
    ['the end of a group', [0x0c]],
    ['wire type 6', [0x0e]],
    ['metadata as a varint', [0x08, 0x01]],
    ['metadata as a fixed32', [0x0d, 1, 2, 3, 4]],
    ['a name as a fixed64', [0x0a, 9, 0x09, 1, 2, 3, 4, 5, 6, 7, 8]],
    ['a label that is a varint', [0x0a, 2, 0x58, 1]],
    ['a label whose key is a varint', [0x0a, 4, 0x5a, 2, 0x08, 1]],
    ['metadata longer than its object', [0x0a, 5, 0x0a, 1, 0x61]],
    ['a name longer than its metadata', [0x0a, 3, 0x0a, 2, 0x61, 0x0a, 0]],
    ['a varint without end', [0x08, ...Array.from({ length: 10 }, () => 0xff)]],
    ['a tag without end', [0x0a, 1, 0x8a]],
  ])('of %s is refused', (_, raw) => {
    const read = (): unknown => [scanObject('protobuf', envelope(...raw)), scanLabels('protobuf', envelope(...raw))];
    expect(read).toThrow(MalformedFrame);
  });
});
