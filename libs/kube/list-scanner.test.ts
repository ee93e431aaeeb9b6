import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameTooLarge } from './frame-scanner.ts';
import type { Encoding } from './lane.ts';
import { type ListEnd, createListScanner } from './list-scanner.ts';
import { MalformedFrame } from './malformed-frame.ts';

/** Any character but lone surrogates, which no UTF-8 holds. */
const character = fc
  .oneof(fc.nat(0x7f), fc.integer({ min: 0x80, max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0x10ffff }))
  .map((code) => String.fromCodePoint(code));

const MAX = 1024 * 1024;
const ENCODINGS = ['json', 'protobuf'] as const;
/** Bodies of LISTs recorded from kube-apiserver: pages, empty ones, of metadata, of custom resources. */
const RECORDED = [
  ['configmaps-list', 'json'],
  ['configmaps-page', 'json'],
  ['configmaps-empty', 'json'],
  ['pods-list', 'json'],
  ['leases-list', 'json'],
  ['leases-metadata-list', 'json'],
  ['widgets-list', 'json'],
  ['widgets-page', 'json'],
  ['widgets-empty', 'json'],
  ['widgets-metadata-list', 'json'],
  ['widgets-metadata-empty', 'json'],
  ['configmaps-list', 'protobuf'],
  ['configmaps-page', 'protobuf'],
  ['configmaps-empty', 'protobuf'],
  ['pods-list', 'protobuf'],
  ['leases-list', 'protobuf'],
  ['widgets-metadata-list', 'protobuf'],
] as const;

const recorded = (name: string, encoding: Encoding): Buffer =>
  readFileSync(new URL(`./testdata/${name}-${encoding}.raw`, import.meta.url));

function scan(encoding: Encoding, chunks: readonly Buffer[], maxItemBytes = MAX): { items: Buffer[]; end: ListEnd } {
  const items: Buffer[] = [];
  const scanner = createListScanner(encoding, maxItemBytes);
  for (const chunk of chunks) scanner.push(chunk, (item) => items.push(item));
  return { items, end: scanner.end() };
}

const scanText = (text: string) => scan('json', [Buffer.from(text)]);

function split(body: Buffer, cuts: readonly number[]): Buffer[] {
  const edges = [0, ...cuts.map((cut) => cut % (body.length + 1)).toSorted((a, b) => a - b), body.length];
  return edges.slice(1).map((end, index) => body.subarray(edges[index], end));
}

describe('a recorded list', () => {
  test.each(RECORDED.filter(([, encoding]) => encoding === 'json'))(
    '%s in %s has the items JSON.parse reads',
    (name, encoding) => {
      const body = recorded(name, encoding);
      const { items: expected, kind, apiVersion, metadata } = JSON.parse(body.toString());
      const { items, end } = scan(encoding, [body]);
      expect(items.map((item) => JSON.parse(item.toString()))).toEqual(expected ?? []);
      expect(end).toEqual({
        kind,
        apiVersion,
        resourceVersion: metadata.resourceVersion,
        continue: metadata.continue ?? '',
      });
      for (const item of items) expect(item.buffer).toBe(body.buffer);
    },
  );

  test.each(RECORDED)('%s in %s has the same items however it is cut into chunks', (name, encoding) => {
    const body = recorded(name, encoding);
    const whole = scan(encoding, [body]);
    expect(scan(encoding, split(body, [...body.keys()]))).toEqual(whole);
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 12 }), (cuts) => {
        expect(scan(encoding, split(body, cuts))).toEqual(whole);
      }),
      { numRuns: 30 },
    );
  });

  test('is the same in both encodings but for its items', () => {
    for (const name of ['configmaps-list', 'configmaps-empty', 'pods-list', 'widgets-metadata-list']) {
      const [json, protobuf] = ENCODINGS.map((encoding) => scan(encoding, [recorded(name, encoding)]));
      expect(protobuf!.end).toEqual(json!.end);
      expect(protobuf!.items.length).toBe(json!.items.length);
    }
  });

  test('that is a page has the token of the next', () => {
    for (const encoding of ENCODINGS) {
      const { end } = scan(encoding, [recorded('configmaps-page', encoding)]);
      expect(JSON.parse(Buffer.from(end.continue, 'base64url').toString())).toMatchObject({ v: 'meta.k8s.io/v1' });
    }
  });

  test.each(RECORDED)('%s in %s that was cut short is refused at its end', (name, encoding) => {
    const body = recorded(name, encoding);
    // Behind the list come two empty fields in protobuf, a newline in JSON, which a body may lack.
    const complete = encoding === 'json' ? [1] : [2, 4];
    for (let missing = 1; missing <= body.length; missing++) {
      const code = failure(() => scan(encoding, [body.subarray(0, body.length - missing)]));
      expect(code).toBe(complete.includes(missing) ? 'none' : 'MalformedFrame');
    }
  });
});

describe('a JSON list', () => {
  test('may have white space, any order of keys, escapes and keys unknown here', () => {
    const { items, end } = scanText(
      String.raw` { "more" : [{"items":[1]}] , "ite\u006ds" : [ {"a":"]}"} , {} ] , "n":-1e3,"b":true, "kind":"FooList","metadata":{"x":[{}],"resourceVersion":"7"}}  `,
    );
    expect(items.map(String)).toEqual(['{"a":"]}"}', '{}']);
    expect(end).toEqual({ kind: 'FooList', apiVersion: '', resourceVersion: '7', continue: '' });
  });

  test('has none if its items are null', () => {
    expect(scanText('{"kind":"FooList","items":null,"metadata":{}}').items).toEqual([]);
  });

  test('splits into its items, whatever is in them', () => {
    const text = fc.string({ unit: character, maxLength: 8 });
    const nasty = fc.dictionary(text, fc.oneof(fc.jsonValue({ maxDepth: 3 }), text), { maxKeys: 4 });
    fc.assert(
      fc.property(
        fc.array(nasty, { maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        fc.nat(2),
        (values, cuts, indent) => {
          const texts = values.map((value) => JSON.stringify(value, undefined, indent));
          const body = Buffer.from(`{"items":[${texts.join(' ,\n')}],"metadata":{"continue":"x"}}`);
          const { items, end } = scan('json', split(body, cuts));
          expect(items.map(String)).toEqual(texts);
          expect(end.continue).toBe('x');
        },
      ),
    );
  });

  test.each([
    '',
    'null',
    '[]',
    '{}',
    '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure"}',
    '{"items":{}}',
    '{"items":1}',
    '{"items":"null"}',
    '{"items":[1]}',
    '{"items":[{}{}]}',
    '{"items":[,{}]}',
    '{"items":[{},]}',
    '{"items":[]},',
    '{"items":[]}{"items":[]}',
    '{"items":[],"items":[{}]}',
    '{"items":[],}',
    '{"items" []}',
    '{"items":[],"metadata":}',
    '{"items":[],"metadata":{"resourceVersion":5}}',
  ])('%s is refused', (text) => {
    expect(() => scanText(text)).toThrow(MalformedFrame);
  });
});

/** Written apart from the code under test: only what fits one byte of length. */
const field = (number: number, ...payload: Buffer[]): Buffer => {
  const bytes = Buffer.concat(payload);
  return Buffer.concat([Buffer.from([number * 8 + 2, bytes.length]), bytes]);
};
const list = (...fields: Buffer[]): Buffer => Buffer.concat([Buffer.from('k8s\0'), ...fields]);
const META = field(1, field(2, Buffer.from('7')), field(3, Buffer.from('next')));
const NUMBERS = Buffer.concat([
  Buffer.from([0x48, ...Array.from({ length: 9 }, () => 0xff), 0x01]),
  Buffer.from([0x51, 1, 2, 3, 4, 5, 6, 7, 8]),
  Buffer.from([0x5d, 1, 2, 3, 4]),
]);

describe('a protobuf list', () => {
  test('may have fields unknown here', () => {
    const type = field(1, field(1, Buffer.from('v1')), NUMBERS, field(2, Buffer.from('FooList')));
    const body = list(
      NUMBERS,
      type,
      field(2, NUMBERS, field(9), field(2, Buffer.from('a')), META, field(2), NUMBERS),
      NUMBERS,
    );
    for (const chunks of [[body], split(body, [...body.keys()])]) {
      const { items, end } = scan('protobuf', chunks);
      expect(items.map(String)).toEqual(['a', '']);
      expect(end).toEqual({ kind: 'FooList', apiVersion: 'v1', resourceVersion: '7', continue: 'next' });
    }
  });

  test('may end with an empty item', () => {
    for (const body of [list(field(2, META, field(2))), list(field(2, META, field(2)), field(3))]) {
      for (const chunks of [[body], split(body, [...body.keys()])])
        expect(scan('protobuf', chunks).items).toEqual([Buffer.alloc(0)]);
    }
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['other magic', Buffer.from('k8s\x01\x12\0')],
    ['JSON', Buffer.from('{"items":[]}')],
    ['an envelope without a list', list(field(1))],
    ['an envelope with two', list(field(2, META), field(2, META))],
    ['an item beyond its list', list(Buffer.concat([Buffer.from([0x12, 2, 0x12, 5]), Buffer.alloc(5)]))],
    ['an unknown field beyond its list', list(Buffer.concat([Buffer.from([0x12, 2, 0x5a, 5]), Buffer.alloc(5)]))],
    ['a header beyond its list', list(Buffer.from([0x12, 1, 0x12, 0]))],
    ['a number beyond its list', list(Buffer.from([0x12, 1, 0x48, 0x01]))],
    ['half a field number at its end', list(field(2, META), Buffer.from([0x80]))],
    ['a group', list(Buffer.from([0x0b, 0x0c]))],
    ['a type that is a number', list(Buffer.from([0x08, 1]), field(2, META))],
    ['an item that is a number', list(field(2, META, Buffer.from([0x10, 1])))],
    ['metadata of eight bytes', list(field(2, Buffer.from([0x09, 1, 2, 3, 4, 5, 6, 7, 8])))],
    ['field number 0', list(Buffer.from([0x02, 0x00]))],
    ['a varint without end', list(Buffer.alloc(12, 0xff))],
    ['a length of 2^63', list(Buffer.from([0x1a, ...Array.from({ length: 9 }, () => 0x80), 0x01]))],
  ])('of %s is refused', (_, body) => {
    expect(() => scan('protobuf', [body])).toThrow(MalformedFrame);
  });
});

describe('an item above the bound', () => {
  test.each([
    ['json', Buffer.from('{"items":[{"a":"aaaaaaaa"}]}')],
    ['protobuf', list(field(2, META, field(2, Buffer.alloc(16))))],
  ] as const)('is refused in %s', (encoding, body) => {
    expect(() => scan(encoding, [body], 15)).toThrow(FrameTooLarge);
    expect(() => scan(encoding, split(body, [...body.keys()]), 15)).toThrow(FrameTooLarge);
    expect(scan(encoding, split(body, [...body.keys()]), 16).items).toHaveLength(1);
  });
});

/** Code of the error that `run` fails with; "none" if it does not. */
function failure(run: () => unknown): string {
  try {
    run();
    return 'none';
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

test.each(ENCODINGS)('a damaged %s list is refused or read, and fails in no other way', (encoding) => {
  const bodies = RECORDED.filter(([, of]) => of === encoding).map(([name]) => recorded(name, encoding));
  const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 });
  fc.assert(
    fc.property(fc.constantFrom(...bodies), damage, fc.array(fc.nat(), { maxLength: 4 }), (body, bytes, cuts) => {
      const damaged = Buffer.from(body);
      for (const [at, byte] of bytes) damaged[at % damaged.length] = byte;
      const code = failure(() => scan(encoding, split(damaged, cuts), 512));
      expect(['none', 'MalformedFrame', 'FrameTooLarge']).toContain(code);
    }),
    { numRuns: 300 },
  );
});
