import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  bookmarkTemplate,
  frameBookmark,
  frameEvent,
  frameStatusEvent,
  minimalBookmark,
  withResourceVersion,
} from './event-framer.ts';
import { createFrameScanner } from './frame-scanner.ts';
import type { Encoding } from './lane.ts';
import { MalformedFrame } from './malformed-frame.ts';
import { scanObject } from './object-scanner.ts';
import { bytesField, stringField } from './proto-wire.ts';
import { wrapUnknown } from './runtime-unknown.ts';
import { tooLargeResourceVersion } from './status.ts';
import { type EventType, parseWatchFrame } from './watch-event.ts';

const ENCODINGS = ['json', 'protobuf'] as const;
const LANES = [
  ['configmaps', 'json'],
  ['configmaps', 'protobuf'],
  ['pods', 'json'],
  ['pods', 'protobuf'],
  ['leases', 'json'],
  ['leases', 'protobuf'],
  ['leases-metadata', 'json'],
  ['leases-metadata', 'protobuf'],
  ['widgets', 'json'],
  ['widgets-metadata', 'json'],
  ['widgets-metadata', 'protobuf'],
] as const;

/** Frames of a watch recorded from kube-apiserver, and the events in them. */
function recorded(resource: string, encoding: Encoding) {
  const events: { frame: Buffer; type: EventType; object: Buffer }[] = [];
  const bytes = readFileSync(new URL(`./testdata/${resource}-watch-${encoding}.raw`, import.meta.url));
  createFrameScanner(encoding).push(bytes, (frame) => events.push({ frame, ...parseWatchFrame(encoding, frame) }));
  return events;
}

describe.each(LANES)('%s in %s', (resource, encoding) => {
  const events = recorded(resource, encoding);
  const bookmarks = events.filter(({ type }) => type === 'BOOKMARK');

  test('I1: is framed as upstream frames it, byte for byte', () => {
    for (const { frame, type, object } of events) expect(frameEvent(encoding, type, object)).toEqual(frame);
  });

  test('has bookmarks as upstream writes them, whichever the template was made of', () => {
    const { frame, object } = bookmarks[0]!;
    const { initialEventsEnd, resourceVersion } = scanObject(encoding, object);
    expect(initialEventsEnd).toBe(true);
    const template = bookmarkTemplate(encoding, object);
    expect(frameBookmark(template, resourceVersion, true)).toEqual(frame);
    const plain = parseWatchFrame(encoding, frameBookmark(template, resourceVersion, false)).object;
    expect(scanObject(encoding, plain)).toMatchObject({ initialEventsEnd: false, resourceVersion });
    expect(frameBookmark(bookmarkTemplate(encoding, plain), resourceVersion, true)).toEqual(frame);
  });

  test('changes in nothing but the version', () => {
    for (const { object } of events) {
      const { resourceVersion, rvStart: _start, rvEnd, ...others } = scanObject(encoding, object);
      for (const rv of [7, 777, 10 ** 15]) {
        const changed = withResourceVersion(encoding, object, rv);
        const scanned = scanObject(encoding, changed);
        expect(scanned).toMatchObject({ ...others, resourceVersion: rv });
        expect(changed.subarray(scanned.rvEnd)).toEqual(object.subarray(rvEnd));
        expect(withResourceVersion(encoding, changed, resourceVersion)).toEqual(object);
      }
    }
  });
});

describe('the bookmarks upstream sends later on, without annotation,', () => {
  test.each([
    ['pods', 'json'],
    ['pods', 'protobuf'],
    ['leases', 'protobuf'],
  ] as const)('of %s in %s are as the template makes them', (resource, encoding) => {
    const [first, later] = recorded(resource, encoding).filter(({ type }) => type === 'BOOKMARK');
    const { resourceVersion } = scanObject(encoding, later!.object);
    expect(frameBookmark(bookmarkTemplate(encoding, first!.object), resourceVersion, false)).toEqual(later!.frame);
  });
});

describe('a framed event', () => {
  test('parses back, whatever its object', () => {
    const types = fc.constantFrom<EventType>('ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR');
    const lengths = fc.oneof(fc.nat(300), fc.integer({ min: 16_200, max: 16_500 }), fc.constant(2_100_000));
    fc.assert(
      fc.property(types, lengths, (type, length) => {
        const json = Buffer.from(JSON.stringify({ '}"': 'x'.repeat(length) }));
        const protobuf = Buffer.concat([Buffer.from('k8s\0'), Buffer.alloc(length, 1)]);
        for (const [encoding, object] of [
          ['json', json],
          ['protobuf', protobuf],
        ] as const) {
          const event = parseWatchFrame(encoding, frameEvent(encoding, type, object));
          expect(event.type).toBe(type);
          expect(event.object.equals(object)).toBe(true);
        }
      }),
      { numRuns: 50 },
    );
  });

  test.each(ENCODINGS)('that reports an error in %s is as upstream writes it', (encoding) => {
    const [event] = recorded('toolarge', encoding);
    const current = /current: (\d+)/.exec(event!.frame.toString('latin1'))![1]!;
    expect(frameStatusEvent(encoding, tooLargeResourceVersion('999999', current))).toEqual(event!.frame);
  });
});

describe('a template in JSON', () => {
  const framed = (object: string, end: boolean): string =>
    frameBookmark(bookmarkTemplate('json', Buffer.from(object)), 123, end).toString();

  test('keeps the typed order, and what older servers write besides', () => {
    const object =
      '{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"5","creationTimestamp":null},"spec":{"containers":null}}';
    const end = '"annotations":{"k8s.io/initial-events-end":"true"}';
    const about = (metadata: string): string =>
      `{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{${metadata}},"spec":{"containers":null}}}\n`;
    expect(framed(object, false)).toBe(about('"resourceVersion":"123","creationTimestamp":null'));
    expect(framed(object, true)).toBe(about(`"resourceVersion":"123","creationTimestamp":null,${end}`));
  });

  test('W14: keeps the annotation a type writes of its own, as that of DaemonSets does', () => {
    const own = '"deprecated.daemonset.template.generation":"0"';
    const end = '"k8s.io/initial-events-end":"true"';
    const object = (annotations: string): string =>
      `{"kind":"DaemonSet","apiVersion":"apps/v1","metadata":{"resourceVersion":"123","annotations":{${annotations}}}}`;
    const about = (annotations: string): string => `{"type":"BOOKMARK","object":${object(annotations)}}\n`;
    for (const made of [own, `${own},${end}`]) {
      expect(framed(object(made), false)).toBe(about(own));
      expect(framed(object(made), true)).toBe(about(`${own},${end}`));
    }
  });

  test('keeps the alphabetical order of custom resources', () => {
    const object = '{"apiVersion":"g/v1","kind":"Foo","metadata":{"creationTimestamp":null,"resourceVersion":"5"}}';
    expect(framed(object, true)).toBe(
      '{"type":"BOOKMARK","object":{"apiVersion":"g/v1","kind":"Foo","metadata":{"annotations":{"k8s.io/initial-events-end":"true"},' +
        '"creationTimestamp":null,"resourceVersion":"123"}}}\n',
    );
  });

  test('keeps every byte it does not know', () => {
    const object = String.raw`{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"5"},"spec":{"é":"日\u003c本"}}`;
    expect(framed(object, false)).toContain(String.raw`"spec":{"é":"日\u003c本"}`);
  });

  test.each(['{}', '{"kind":"Pod","metadata":{}}', '{"metadata":null}', '[]', 'null'])(
    'is not made of %s',
    (object) => {
      expect(() => bookmarkTemplate('json', Buffer.from(object))).toThrow(MalformedFrame);
    },
  );
});

describe('a template in protobuf', () => {
  test('puts the annotation where its field number says', () => {
    const meta = (...more: Buffer[]): Buffer => bytesField(1, stringField(1, ''), ...more, stringField(13, 'after'));
    const type = { kind: 'Foo', apiVersion: 'v1' };
    const object = (...more: Buffer[]): Buffer =>
      wrapUnknown(type, Buffer.concat([meta(...more), stringField(2, 'spec')]));
    const template = bookmarkTemplate('protobuf', object(stringField(6, '5'), stringField(8, '')));
    const end = bytesField(12, stringField(1, 'k8s.io/initial-events-end'), stringField(2, 'true'));
    expect(template.object(123, true)).toEqual(object(stringField(6, '123'), stringField(8, ''), end));
  });

  test('W14: keeps the annotation a type writes of its own', () => {
    const entry = (key: string, value: string): Buffer => bytesField(12, stringField(1, key), stringField(2, value));
    const own = entry('deprecated.daemonset.template.generation', '0');
    const end = entry('k8s.io/initial-events-end', 'true');
    const object = (...entries: Buffer[]): Buffer =>
      wrapUnknown({ kind: 'DaemonSet', apiVersion: 'apps/v1' }, bytesField(1, stringField(6, '123'), ...entries));
    for (const made of [object(own), object(own, end)]) {
      expect(bookmarkTemplate('protobuf', made).object(123, false)).toEqual(object(own));
      expect(bookmarkTemplate('protobuf', made).object(123, true)).toEqual(object(own, end));
    }
  });

  test.each([
    ['an object without metadata', wrapUnknown({ kind: 'Foo', apiVersion: 'v1' }, Buffer.alloc(0))],
    ['an object without a version', wrapUnknown({ kind: 'Foo', apiVersion: 'v1' }, bytesField(1, stringField(1, 'a')))],
    ['JSON', Buffer.from('{"metadata":{"resourceVersion":"1"}}')],
  ])('is not made of %s', (_, object) => {
    expect(() => bookmarkTemplate('protobuf', object)).toThrow(MalformedFrame);
  });
});

describe('a minimal bookmark', () => {
  test.each(ENCODINGS)('in %s scans as one', (encoding) => {
    const template = minimalBookmark(encoding, 'Foo', 'example.com/v1');
    for (const initialEventsEnd of [false, true]) {
      const { type, object } = parseWatchFrame(encoding, frameBookmark(template, 42, initialEventsEnd));
      expect(type).toBe('BOOKMARK');
      const expected = { kind: 'Foo', apiVersion: 'example.com/v1', name: '', resourceVersion: 42, initialEventsEnd };
      expect(scanObject(encoding, object)).toMatchObject(expected);
    }
  });

  test.each(ENCODINGS)('of PartialObjectMetadata in %s is upstream’s own', (encoding) => {
    const bookmark = recorded('widgets-metadata', encoding).find(({ type }) => type === 'BOOKMARK')!;
    const { kind, apiVersion, resourceVersion } = scanObject(encoding, bookmark.object);
    expect(frameBookmark(minimalBookmark(encoding, kind, apiVersion), resourceVersion, true)).toEqual(bookmark.frame);
  });
});

describe('another version', () => {
  test('grows the lengths of all messages around it, at every size of theirs', () => {
    const sizes = fc.oneof(fc.nat(300), fc.integer({ min: 16_200, max: 16_500 }));
    fc.assert(
      fc.property(sizes, sizes, fc.maxSafeNat(), fc.maxSafeNat(), (inMeta, inObject, from, to) => {
        const objectAt = (rv: number): Buffer => {
          const meta = bytesField(
            1,
            stringField(1, 'name'),
            stringField(6, String(rv)),
            stringField(17, 'f'.repeat(inMeta)),
          );
          const raw = Buffer.concat([stringField(9, 'early'), meta, stringField(2, 's'.repeat(inObject))]);
          return wrapUnknown({ kind: 'Foo', apiVersion: 'v1' }, raw);
        };
        expect(withResourceVersion('protobuf', objectAt(from), to).equals(objectAt(to))).toBe(true);
      }),
    );
  });

  test('does not touch the same digits elsewhere', () => {
    const object = Buffer.from(
      '{"kind":"A","apiVersion":"v1","metadata":{"name":"5","labels":{"resourceVersion":"5"},"resourceVersion":"5"}}',
    );
    const expected = object.toString().replace('"resourceVersion":"5"}}', '"resourceVersion":"6000"}}');
    expect(withResourceVersion('json', object, 6000).toString()).toBe(expected);
  });

  test('leaves the bytes it was given alone', () => {
    const object = Buffer.from('{"metadata":{"resourceVersion":"5"}}');
    withResourceVersion('json', object, 6);
    expect(object.toString()).toBe('{"metadata":{"resourceVersion":"5"}}');
  });

  test('cannot be given to an object without one', () => {
    expect(() => withResourceVersion('json', Buffer.from('{"metadata":{"name":"a"}}'), 6)).toThrow(MalformedFrame);
    const object = wrapUnknown({ kind: 'A', apiVersion: 'v1' }, bytesField(1, stringField(1, 'a')));
    expect(() => withResourceVersion('protobuf', object, 6)).toThrow(MalformedFrame);
  });
});
