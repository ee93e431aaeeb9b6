import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { FieldPath } from './field-path.ts';
import { createFrameScanner } from './frame-scanner.ts';
import { goPrint } from './go-print.ts';
import type { Encoding } from './lane.ts';
import { MalformedFrame } from './malformed-frame.ts';
import { scanField, scanLabels, scanObject } from './object-scanner.ts';
import { parseWatchFrame } from './watch-event.ts';

/** Any character but lone surrogates, which no UTF-8 holds. */
const character = fc
  .oneof(fc.nat(0x7f), fc.integer({ min: 0x80, max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0x10ffff }))
  .map((code) => String.fromCodePoint(code));

/** Objects of a watch recorded from kube-apiserver. */
function recorded(resource: string, encoding: Encoding): Buffer[] {
  const objects: Buffer[] = [];
  const bytes = readFileSync(new URL(`./testdata/${resource}-watch-${encoding}.raw`, import.meta.url));
  createFrameScanner(encoding).push(bytes, (frame) => objects.push(parseWatchFrame(encoding, frame).object));
  return objects;
}

const END = 'k8s.io/initial-events-end';
const ENCODINGS = ['json', 'protobuf'] as const;
const jsonPath = (...json: string[]): FieldPath => ({ json, protobuf: [] });

describe('recorded objects', () => {
  test.each(['configmaps', 'pods', 'leases', 'leases-metadata', 'widgets', 'widgets-metadata'])(
    'of %s scan as JSON.parse reads them',
    (resource) => {
      for (const object of recorded(resource, 'json')) {
        const { kind, apiVersion, metadata } = JSON.parse(object.toString());
        const scanned = scanObject('json', object);
        expect(scanned).toMatchObject({
          kind,
          apiVersion,
          name: metadata.name ?? '',
          namespace: metadata.namespace ?? '',
          uid: metadata.uid ?? '',
          resourceVersion: Number(metadata.resourceVersion),
          initialEventsEnd: metadata.annotations?.[END] === 'true',
        });
        expect(object.toString('latin1', scanned.rvStart, scanned.rvEnd)).toBe(metadata.resourceVersion);
        expect(Object.fromEntries(scanLabels('json', object))).toEqual(metadata.labels ?? {});
      }
    },
  );

  test.each(['configmaps', 'pods', 'leases', 'leases-metadata', 'widgets-metadata'])(
    'of %s scan alike in protobuf and JSON',
    (resource) => {
      // A bookmark between the events can fall differently in two recordings.
      const identities = ENCODINGS.map((encoding) =>
        recorded(resource, encoding)
          .map((object) => ({ object, scanned: scanObject(encoding, object) }))
          .filter(({ scanned }) => scanned.name !== '' || scanned.initialEventsEnd)
          .map(({ object, scanned: { rvStart, rvEnd, ...identity } }) => ({
            ...identity,
            digits: object.toString('latin1', rvStart, rvEnd),
            labels: scanLabels(encoding, object),
          })),
      );
      expect(identities[0]!.length).toBeGreaterThan(3);
      expect(identities[1]).toEqual(identities[0]);
    },
  );

  test('have their fields in both encodings', () => {
    const field = (json: string, ...steps: FieldPath['protobuf']): FieldPath => ({
      json: json.split('.'),
      protobuf: steps,
    });
    const fields: [FieldPath, string][] = [
      [field('spec.nodeName', { field: 2, type: 'message' }, { field: 10, type: 'string' }), 'n1'],
      [field('spec.hostNetwork', { field: 2, type: 'message' }, { field: 11, type: 'bool' }), 'true'],
      [field('spec.priority', { field: 2, type: 'message' }, { field: 25, type: 'int' }), '0'],
      [field('status.phase', { field: 3, type: 'message' }, { field: 1, type: 'string' }), 'Pending'],
      [field('status.podIP', { field: 3, type: 'message' }, { field: 6, type: 'string' }), ''],
      [field('nothing.here', { field: 99, type: 'message' }, { field: 1, type: 'string' }), ''],
    ];
    for (const encoding of ENCODINGS) {
      const pod = recorded('pods', encoding)[0]!;
      for (const [path, value] of fields) expect(scanField(encoding, pod, path)).toBe(value);
    }
  });
});

/** Strings that mislead a scanner which is not aware of strings and escapes. */
const nasty = fc
  .array(
    fc.oneof(
      fc.string({ unit: character, maxLength: 3 }),
      fc.constantFrom('"', '\\', '{', '}', '[', '],', '":"', 'name'),
    ),
  )
  .map((parts) => parts.join(''));
/** The string as JSON, perhaps with every character escaped. */
const spelt = (value: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.tuple(value, fc.boolean()).map(([text, escaped]) => (escaped ? escapeAll(text) : JSON.stringify(text)));
const escapeAll = (text: string): string =>
  `"${[...Array(text.length).keys()].map((i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')}"`;
const bigNumber = fc.constantFrom('9007199254740993', '-1.5e+300', '184467440737095516151');
const junk = fc.oneof(
  fc.jsonValue({ maxDepth: 4 }).map((value) => JSON.stringify(value)),
  fc.dictionary(nasty, nasty).map((value) => JSON.stringify(value)),
  bigNumber,
);

/** A JSON object with any of these members, in any order, spaced in any way. */
function objectText(members: Record<string, fc.Arbitrary<string>>): fc.Arbitrary<string> {
  const some = Object.entries(members).map(([key, value]) => fc.option(fc.tuple(spelt(fc.constant(key)), value)));
  const others = fc.array(fc.tuple(spelt(nasty.map((key) => `other ${key}`)), junk), { maxLength: 3 });
  return fc
    .tuple(fc.tuple(...some), others, fc.infiniteStream(fc.nat()), fc.constantFrom('', ' ', '\n\t'))
    .map(([known, unknown, ranks, space]) => {
      const present = [...known, ...unknown].filter((member) => member !== null);
      const shuffled = present
        .map((member) => ({ member, rank: ranks.next().value as number }))
        .toSorted((a, b) => a.rank - b.rank);
      const texts = shuffled.map(({ member: [key, value] }) => `${space}${key}${space}:${space}${value}${space}`);
      return `${space}{${texts.join(',')}${space}}`;
    });
}

const map = fc
  .dictionary(fc.oneof(nasty, fc.constant(END)), fc.oneof(nasty, fc.constant('true')))
  .map((value) => JSON.stringify(value));
const anyObject = objectText({
  kind: spelt(nasty),
  apiVersion: spelt(nasty),
  metadata: objectText({
    name: spelt(nasty),
    namespace: fc.oneof(spelt(nasty), fc.constant('null')),
    uid: spelt(nasty),
    resourceVersion: spelt(fc.maxSafeNat().map(String)),
    labels: map,
    annotations: map,
    managedFields: junk,
  }),
  spec: junk,
  status: junk,
});

describe('any JSON object', () => {
  test('scans as JSON.parse reads it', () => {
    fc.assert(
      fc.property(anyObject, (text) => {
        const { kind = '', apiVersion = '', metadata = {} } = JSON.parse(text);
        const bytes = Buffer.from(text);
        const { rvStart, rvEnd, ...scanned } = scanObject('json', bytes);
        const name = metadata.name ?? '';
        expect(scanned).toEqual({
          kind,
          apiVersion,
          name,
          namespace: metadata.namespace ?? '',
          uid: metadata.uid ?? '',
          resourceVersion: Number(metadata.resourceVersion ?? 0),
          initialEventsEnd: name === '' && metadata.annotations?.[END] === 'true',
        });
        const digits = rvStart === -1 ? undefined : JSON.parse(`"${bytes.toString('latin1', rvStart, rvEnd)}"`);
        expect(digits).toBe(metadata.resourceVersion);
      }),
      { numRuns: 1000 },
    );
  });

  test('has the labels JSON.parse reads', () => {
    fc.assert(
      fc.property(anyObject, (text) => {
        const labels = JSON.parse(text).metadata?.labels ?? {};
        expect(scanLabels('json', Buffer.from(text))).toEqual(new Map(Object.entries(labels)));
      }),
    );
  });

  test('has the fields JSON.parse reads', () => {
    const path = fc.array(fc.constantFrom('spec', 'a', 'b', ''), { minLength: 1, maxLength: 3 });
    const leaf = fc.oneof(nasty, fc.integer(), fc.boolean(), fc.constant(null), fc.constant([]), fc.constant({ a: 1 }));
    fc.assert(
      fc.property(path, path, leaf, (where, asked, value) => {
        const object = where.reduceRight<unknown>((inner, key) => ({ before: '}', [key]: inner, after: [] }), value);
        const found = asked.reduce<unknown>(
          (outer, key) => (outer as Record<string, unknown> | undefined)?.[key],
          object,
        );
        const expected = found === undefined || found === null ? '' : goPrint(JSON.stringify(found));
        expect(scanField('json', Buffer.from(JSON.stringify(object)), jsonPath(...asked))).toBe(expected);
      }),
    );
  });
});

describe('a JSON object', () => {
  const scan = (text: string) => scanObject('json', Buffer.from(text));

  test('counts the last value of a key that comes twice', () => {
    const object = '{"metadata":{"name":"first"},"metadata":{"name":"a","uid":"u","name":"b"},"kind":"A","kind":"B"}';
    expect(scan(object)).toMatchObject({ name: 'b', uid: 'u', kind: 'B' });
    expect(scanLabels('json', Buffer.from('{"metadata":{"labels":{"a":"1","a":"2"}}}'))).toEqual(new Map([['a', '2']]));
  });

  test('is not read further than needed', () => {
    const identity = '"name":"a","namespace":"b","uid":"c","resourceVersion":"7"';
    expect(scan(`{"kind":"A","apiVersion":"v1","metadata":{${identity},"managedFields":[{`)).toMatchObject({
      resourceVersion: 7,
    });
    expect(scan('{"kind":"A","apiVersion":"v1","metadata":{"name":"cluster-scoped"},"spec":{')).toMatchObject({
      uid: '',
    });
  });

  test('without a version has none', () => {
    expect(scan('{"metadata":{}}')).toMatchObject({ resourceVersion: 0, rvStart: -1, rvEnd: -1 });
    expect(scan('{"metadata":null}')).toMatchObject({ name: '', resourceVersion: 0 });
  });

  test('ends the initial events only if it is a bookmark', () => {
    const annotated = (name: string) =>
      scan(`{"metadata":{"annotations":{"${END}":"true"},${name}"resourceVersion":"1"}}`);
    expect(annotated('').initialEventsEnd).toBe(true);
    expect(annotated('"name":"spoof",').initialEventsEnd).toBe(false);
    const unnamed = '"name":"","namespace":"","uid":"","resourceVersion":"1"';
    const typed = `{"kind":"A","apiVersion":"v1","metadata":{${unnamed},"annotations":{"${END}":"true"}}}`;
    expect(scan(typed).initialEventsEnd).toBe(true);
  });

  test('takes no stack, however deep it is', () => {
    const depth = 200_000;
    const deep = `${'{"a":['.repeat(depth)}${']}'.repeat(depth)}`;
    const object = `{"a":${deep},"metadata":{"managedFields":${deep},"name":"n"}}`;
    expect(scan(object).name).toBe('n');
    expect(scanField('json', Buffer.from(object), jsonPath('a', 'b'))).toBe('');
  });

  test('prints numbers and booleans as Kubernetes does', () => {
    const object = Buffer.from('{"spec":{"big":9007199254740993,"neg":-3,"on":false,"none":null}}');
    const field = (name: string): string => scanField('json', object, jsonPath('spec', name));
    expect(['big', 'neg', 'on', 'none', 'absent'].map(field)).toEqual(['9007199254740993', '-3', 'false', '', '']);
  });

  test.each([
    '',
    'null',
    '[]',
    '{"metadata":[]}',
    '{"metadata":{"name":1}}',
    '{"metadata":{"name":"a}}',
    '{"metadata":{"resourceVersion":"abc"}}',
    '{"metadata":{"resourceVersion":"-1"}}',
    '{"metadata":{"resourceVersion":7}}',
    '{"metadata":{"resourceVersion":"9007199254740992"}}',
    '{"metadata":{"name":"\\x"}}',
  ])('%j is refused', (text) => {
    expect(() => scan(text)).toThrow(MalformedFrame);
  });

  test('with a label that is no string is refused', () => {
    expect(() => scanLabels('json', Buffer.from('{"metadata":{"labels":{"a":1}}}'))).toThrow(MalformedFrame);
  });
});

/** A writer of protobuf apart from the code under test. */
function varint(value: bigint): number[] {
  return value < 128n ? [Number(value)] : [Number(value & 127n) | 128, ...varint(value >> 7n)];
}
function bytes(field: number, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([...varint(BigInt(field * 8 + 2)), ...varint(BigInt(payload.length))]), payload]);
}
const message = (field: number, ...fields: Buffer[]): Buffer => bytes(field, Buffer.concat(fields));
const string = (field: number, text: string): Buffer => bytes(field, Buffer.from(text));
const int = (field: number, value: bigint): Buffer =>
  Buffer.from([...varint(BigInt(field * 8)), ...varint(BigInt.asUintN(64, value))]);
const entry =
  (field: number) =>
  ([key, value]: readonly [string, string]): Buffer =>
    message(field, string(1, key), string(2, value));
const envelope = (...fields: Buffer[]): Buffer => Buffer.concat([Buffer.from('k8s\0'), ...fields]);
const objectOf = (...fields: Buffer[]): Buffer => envelope(message(2, ...fields));

const unknownField = fc.oneof(
  fc
    .tuple(fc.integer({ min: 20, max: 5000 }), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }))
    .map(([field, value]) => int(field, value)),
  fc
    .tuple(fc.integer({ min: 20, max: 5000 }), fc.uint8Array({ maxLength: 200 }))
    .map(([field, value]) => bytes(field, Buffer.from(value))),
);
const pairs = fc.array(fc.tuple(nasty, nasty), { maxLength: 3 });

describe('any protobuf object', () => {
  test('scans as it was written', () => {
    const identity = fc.record({
      kind: nasty,
      apiVersion: nasty,
      name: nasty,
      namespace: nasty,
      uid: nasty,
      rv: fc.maxSafeNat(),
    });
    fc.assert(
      fc.property(
        identity,
        pairs,
        pairs,
        fc.array(unknownField, { maxLength: 3 }),
        (id, labels, annotations, unknown) => {
          const meta = message(
            1,
            ...unknown,
            string(1, 'overwritten'),
            string(1, id.name),
            string(3, id.namespace),
            string(5, id.uid),
            string(6, String(id.rv)),
            ...labels.map(entry(11)),
            ...annotations.map(entry(12)),
            ...unknown,
          );
          const typeMeta = message(1, string(1, id.apiVersion), string(2, id.kind));
          const object = envelope(
            ...unknown,
            typeMeta,
            message(2, ...unknown, meta, ...unknown),
            string(3, ''),
            string(4, ''),
          );
          const { rvStart, rvEnd, ...scanned } = scanObject('protobuf', object);
          const { rv, ...strings } = id;
          const initialEventsEnd = id.name === '' && new Map(annotations).get(END) === 'true';
          expect(scanned).toEqual({ ...strings, resourceVersion: rv, initialEventsEnd });
          expect(object.toString('latin1', rvStart, rvEnd)).toBe(String(rv));
          expect(scanLabels('protobuf', object)).toEqual(new Map(labels));
        },
      ),
    );
  });
});

describe('a protobuf object', () => {
  const path = (...protobuf: FieldPath['protobuf']): FieldPath => ({ json: [], protobuf });

  test('prints integers and booleans as Kubernetes does', () => {
    const object = objectOf(message(2, int(1, -3n), int(2, 2n ** 62n), int(3, 1n), int(4, 0n), int(3, 0n)));
    const leaf = (field: number, type: 'bool' | 'int') =>
      scanField('protobuf', object, path({ field: 2, type: 'message' }, { field, type }));
    expect([leaf(1, 'int'), leaf(2, 'int'), leaf(3, 'bool'), leaf(4, 'bool'), leaf(5, 'int')]).toEqual([
      '-3',
      '4611686018427387904',
      'false',
      'false',
      '',
    ]);
  });

  test('without metadata has no version', () => {
    expect(scanObject('protobuf', objectOf())).toMatchObject({ name: '', resourceVersion: 0, rvStart: -1, rvEnd: -1 });
  });

  test('ends the initial events only if it is a bookmark', () => {
    const annotation = entry(12)([END, 'true']);
    expect(scanObject('protobuf', objectOf(message(1, string(6, '5'), annotation))).initialEventsEnd).toBe(true);
    expect(scanObject('protobuf', objectOf(message(1, annotation, string(1, 'spoof')))).initialEventsEnd).toBe(false);
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['JSON', Buffer.from('{"metadata":{"name":"a"}}')],
    ['no more than the magic', Buffer.from('k8s\0')],
    ['an envelope without an object', envelope(message(1, string(1, 'v1')))],
    ['a version that is no number', objectOf(message(1, string(6, 'abc')))],
    ['a version above 2^53', objectOf(message(1, string(6, '9007199254740992')))],
    ['a number for a name', objectOf(message(1, int(1, 7n)))],
    ['a number for metadata', objectOf(int(1, 7n))],
  ])('of %s is refused', (_, object) => {
    expect(() => scanObject('protobuf', object)).toThrow(MalformedFrame);
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

test.each(ENCODINGS)('damaged %s is refused or read, and fails in no other way', (encoding) => {
  const objects = ['configmaps', 'pods', 'leases'].flatMap((resource) => recorded(resource, encoding));
  const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 });
  const path: FieldPath = {
    json: ['spec', 'priority'],
    protobuf: [
      { field: 2, type: 'message' },
      { field: 25, type: 'int' },
    ],
  };
  const damaged = fc.tuple(fc.constantFrom(...objects), damage, fc.nat()).map(([object, bytesAt, cut]) => {
    const copy = Buffer.from(object.subarray(0, cut % 2 === 0 ? object.length : cut % object.length));
    for (const [at, byte] of bytesAt) if (copy.length > 0) copy[at % copy.length] = byte;
    return copy;
  });
  const noise = fc.uint8Array({ maxLength: 64 }).map((random) => Buffer.from(random));
  fc.assert(
    fc.property(fc.oneof(damaged, noise), (object) => {
      for (const scan of [scanObject, scanLabels, (e: Encoding, o: Buffer) => scanField(e, o, path)]) {
        expect(['none', 'MalformedFrame']).toContain(failure(() => scan(encoding, object)));
      }
    }),
  );
});
