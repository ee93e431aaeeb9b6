import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { frameEvent } from './event-framer.ts';
import { createFrameScanner } from './frame-scanner.ts';
import type { JsonLayout } from './json-layout.ts';
import type { Encoding } from './lane.ts';
import { type ListHead, frameList, objectFromListItem } from './list-framer.ts';
import { createListScanner } from './list-scanner.ts';
import { MalformedFrame } from './malformed-frame.ts';
import { scanObject } from './object-scanner.ts';
import { wrapUnknown } from './runtime-unknown.ts';
import { parseWatchFrame } from './watch-event.ts';

const recorded = (name: string, encoding: Encoding): Buffer =>
  readFileSync(new URL(`./testdata/${name}-${encoding}.raw`, import.meta.url));

/** Objects with which a recorded watch began: those of the lists recorded just before. */
function initialObjects(resource: string, encoding: Encoding): Buffer[] {
  const events: { type: string; object: Buffer }[] = [];
  createFrameScanner(encoding).push(recorded(`${resource}-watch`, encoding), (frame) =>
    events.push(parseWatchFrame(encoding, frame)),
  );
  return events
    .slice(
      0,
      events.findIndex(({ type }) => type === 'BOOKMARK'),
    )
    .map(({ object }) => object);
}

function scanList(encoding: Encoding, body: Buffer) {
  const items: Buffer[] = [];
  const scanner = createListScanner(encoding, 8 * 1024 * 1024);
  scanner.push(body, (item) => items.push(item));
  return { items, ...scanner.end() };
}

const frame = (encoding: Encoding, head: ListHead, objects: readonly Buffer[]): Buffer =>
  Buffer.concat([...frameList(encoding, head, objects)]);

const LANES: readonly (readonly [string, Encoding, JsonLayout])[] = [
  ['configmaps', 'json', 'typed'],
  ['pods', 'json', 'typed'],
  ['leases', 'json', 'typed'],
  ['leases-metadata', 'json', 'typed'],
  ['widgets', 'json', 'unstructured'],
  ['widgets-metadata', 'json', 'typed'],
  ['configmaps', 'protobuf', 'typed'],
  ['pods', 'protobuf', 'typed'],
  ['leases', 'protobuf', 'typed'],
  ['leases-metadata', 'protobuf', 'typed'],
  ['widgets-metadata', 'protobuf', 'typed'],
];

describe.each(LANES)('%s in %s', (resource, encoding, layout) => {
  const objects = initialObjects(resource, encoding);

  test('is listed as upstream lists it, from the objects of a watch', () => {
    const body = recorded(`${resource}-list`, encoding);
    const { kind, apiVersion, resourceVersion } = scanList(encoding, body);
    const head = { kind, apiVersion, layout, resourceVersion: Number(resourceVersion) };
    expect(frame(encoding, head, objects).toString('latin1')).toBe(body.toString('latin1'));
  });

  test('has the objects of a watch in its items', () => {
    const { items } = scanList(encoding, recorded(`${resource}-list`, encoding));
    const { kind, apiVersion } = scanObject(encoding, objects[0]!);
    expect(items.map((item) => objectFromListItem(encoding, kind, apiVersion, item))).toEqual(objects);
  });
});

const lanes = (...resources: string[]) => LANES.filter(([resource]) => resources.includes(resource));

test.each(lanes('configmaps', 'widgets'))('%s in %s are paged as upstream pages them', (resource, encoding, layout) => {
  const body = recorded(`${resource}-page`, encoding);
  const { items, resourceVersion, ...page } = scanList(encoding, body);
  const head = { ...page, layout, resourceVersion: Number(resourceVersion), remainingItemCount: 1 };
  const objects = initialObjects(resource, encoding).slice(0, items.length);
  expect(frame(encoding, head, objects).toString('latin1')).toBe(body.toString('latin1'));
});

test.each(lanes('configmaps', 'widgets', 'widgets-metadata'))(
  'none of %s in %s are listed as upstream lists none',
  (resource, encoding, layout) => {
    const body = recorded(`${resource}-empty`, encoding);
    const { kind, apiVersion, resourceVersion } = scanList(encoding, body);
    const head = { kind, apiVersion, layout, resourceVersion: Number(resourceVersion) };
    expect(frame(encoding, head, []).toString('latin1')).toBe(body.toString('latin1'));
  },
);

describe('a framed list', () => {
  const head: ListHead = { kind: 'FooList', apiVersion: 'v1', layout: 'typed', resourceVersion: 5 };
  const object = (length: number, encoding: Encoding): Buffer =>
    encoding === 'json'
      ? Buffer.from(JSON.stringify({ kind: 'Foo', apiVersion: 'v1', metadata: { name: 'n'.repeat(length) } }))
      : wrapUnknown({ kind: 'Foo', apiVersion: 'v1' }, Buffer.alloc(length, 1));

  test.each(['json', 'protobuf'] as const)('in %s scans back to its objects, whatever their sizes', (encoding) => {
    const lengths = fc.array(fc.oneof(fc.nat(300), fc.integer({ min: 16_200, max: 16_500 }), fc.constant(70_000)), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(lengths, (all) => {
        const objects = all.map((length) => object(length, encoding));
        const { items, resourceVersion } = scanList(encoding, frame(encoding, head, objects));
        expect(items.map((item) => objectFromListItem(encoding, 'Foo', 'v1', item))).toEqual(objects);
        expect(resourceVersion).toBe('5');
      }),
      { numRuns: 30 },
    );
  });

  test.each(['json', 'protobuf'] as const)('in %s comes in chunks of a good size', (encoding) => {
    const objects = Array.from({ length: 2000 }, () => object(1000, encoding));
    const chunks = [...frameList(encoding, head, objects)].map(({ length }) => length);
    expect(Math.max(...chunks)).toBeLessThanOrEqual(64 * 1024);
    expect(Math.min(...chunks.slice(0, -1))).toBeGreaterThan(60 * 1024);
  });

  test('is made chunk by chunk, as asked for', () => {
    const broken = [...Array.from({ length: 100 }, () => object(1000, 'json')), Buffer.from('{')];
    const chunks = frameList('json', head, broken);
    expect(chunks.next().done).toBe(false);
    expect(() => [...chunks]).toThrow(MalformedFrame);
  });

  test('G2 L21: tells the shards it is of, if it is of a built-in type', () => {
    const shards = "shardRange(object.metadata.uid, '0x0000000000000000', '0x8000000000000000')";
    const page = { ...head, continue: 'token', remainingItemCount: 3, shards };
    const text = (of: ListHead): string => frame('json', of, []).toString();
    expect(text(page)).toBe(
      '{"kind":"FooList","apiVersion":"v1","metadata":{"resourceVersion":"5","continue":"token",' +
        `"remainingItemCount":3,"shardInfo":{"selector":"${shards}"}},"items":[]}\n`,
    );
    for (const other of [
      { ...page, layout: 'unstructured' as const },
      { ...page, kind: 'PartialObjectMetadataList' },
    ]) {
      expect(text(other)).not.toContain('shardInfo');
      const { shards: _, ...without } = other;
      expect(frame('protobuf', other, [])).toEqual(frame('protobuf', without, []));
    }
    // As measured: field 5 of ListMeta is a message of the selector's text.
    expect(frame('protobuf', { ...head, kind: 'PodList', resourceVersion: 258, shards }, []).toString('latin1')).toBe(
      'k8s\0\n\r\n\x02v1\x12\x07PodList\x12Z\nX\n\0\x12\x03258\x1a\0*M\nK' + `${shards}\x1a\0"\0`,
    );
  });

  test('keeps an object whose keys are in no known order as it is', () => {
    const odd = '{"kind":"Foo","metadata":{},"apiVersion":"v1"}';
    const body = frame('json', head, [
      Buffer.from(odd),
      Buffer.from('{}'),
      Buffer.from('{"kind":"Foo","apiVersion":"v1"}'),
    ]);
    expect(JSON.parse(body.toString()).items).toEqual([JSON.parse(odd), {}, {}]);
  });

  test('is not made of protobuf that is no object', () => {
    expect(() => frame('protobuf', head, [Buffer.from('{}')])).toThrow(MalformedFrame);
  });
});

describe('the object of an item', () => {
  test.each([
    ['{}', '{"kind":"Foo","apiVersion":"v1"}'],
    ['{"metadata":{"name":"a"}}', '{"kind":"Foo","apiVersion":"v1","metadata":{"name":"a"}}'],
    ['{ "metadata":{}}', '{"kind":"Foo","apiVersion":"v1","metadata":{}}'],
    ['{"apiVersion":"v2","kind":"Bar"}', '{"apiVersion":"v2","kind":"Bar"}'],
    ['{"kind":"Bar","apiVersion":"v2"}', '{"kind":"Bar","apiVersion":"v2"}'],
  ])('%s is %s', (item, expected) => {
    expect(objectFromListItem('json', 'Foo', 'v1', Buffer.from(item)).toString()).toBe(expected);
  });

  test('in protobuf has its envelope', () => {
    const framed = frameEvent(
      'protobuf',
      'ADDED',
      objectFromListItem('protobuf', 'Foo', 'v1', Buffer.from([0x0a, 0x00])),
    );
    expect(scanObject('protobuf', parseWatchFrame('protobuf', framed).object)).toMatchObject({
      kind: 'Foo',
      apiVersion: 'v1',
    });
  });

  test('is none if the item is not an object', () => {
    expect(() => objectFromListItem('json', 'Foo', 'v1', Buffer.from('[]'))).toThrow(MalformedFrame);
  });
});
