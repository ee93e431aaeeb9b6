import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createFrameScanner } from './frame-scanner.ts';
import type { Encoding } from './lane.ts';
import { MalformedFrame } from './malformed-frame.ts';
import { type EventType, parseWatchFrame } from './watch-event.ts';

/** Any character but lone surrogates, which no UTF-8 holds. */
const character = fc
  .oneof(fc.nat(0x7f), fc.integer({ min: 0x80, max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0x10ffff }))
  .map((code) => String.fromCodePoint(code));

/** Frames of a watch recorded from kube-apiserver. */
function recorded(resource: string, encoding: Encoding): Buffer[] {
  const frames: Buffer[] = [];
  const bytes = readFileSync(new URL(`./testdata/${resource}-watch-${encoding}.raw`, import.meta.url));
  createFrameScanner(encoding).push(bytes, (frame) => frames.push(frame));
  return frames;
}

const json = (text: string) => parseWatchFrame('json', Buffer.from(text));

describe('a recorded watch', () => {
  test.each([
    ['pods', 'json'],
    ['pods', 'protobuf'],
  ] as const)('of %s in %s has these events', (resource, encoding) => {
    const types = recorded(resource, encoding).map((frame) => parseWatchFrame(encoding, frame).type);
    expect(types).toEqual(['ADDED', 'ADDED', 'BOOKMARK', 'MODIFIED', 'BOOKMARK', 'MODIFIED', 'DELETED']);
  });

  test('in JSON gives the bytes of the objects', () => {
    for (const frame of recorded('configmaps', 'json')) {
      const { object } = parseWatchFrame('json', frame);
      expect(JSON.parse(object.toString())).toEqual(JSON.parse(frame.toString()).object);
      expect(object.buffer).toBe(frame.buffer);
    }
  });

  test('in protobuf gives the objects with their envelope', () => {
    for (const frame of recorded('configmaps', 'protobuf')) {
      const { object } = parseWatchFrame('protobuf', frame);
      expect(object.subarray(0, 4).toString()).toBe('k8s\0');
      expect(object.at(-1)).toBe(0);
      expect(frame.subarray(frame.length - object.length)).toEqual(object);
      expect(object.buffer).toBe(frame.buffer);
    }
  });

  test('ends with an ERROR if upstream cannot serve it', () => {
    for (const encoding of ['json', 'protobuf'] as const) {
      expect(recorded('toolarge', encoding).map((frame) => parseWatchFrame(encoding, frame).type)).toEqual(['ERROR']);
    }
  });
});

describe('a JSON frame', () => {
  test('may have white space, another order of keys, escapes and keys unknown here', () => {
    const text = String.raw` { "future" : [{"object":"}"}] , "obj\u0065ct" : { "a" : "}" } , "typ\u0065" : "DELETED" } `;
    const { type, object } = json(`${text}\r\n`);
    expect([type, object.toString()]).toEqual(['DELETED', '{ "a" : "}" }']);
  });

  test('never lends what follows the object to it', () => {
    expect(json('{"type":"ADDED","object":{"a":1},"more":{"b":2}}\n').object.toString()).toBe('{"a":1}');
  });

  test('gives exactly the bytes of the object, whatever is in it', () => {
    const types = fc.constantFrom<EventType>('ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR');
    const text = fc.string({ unit: character, maxLength: 8 });
    const nasty = fc.dictionary(text, fc.oneof(fc.jsonValue({ maxDepth: 3 }), text), { maxKeys: 4 });
    fc.assert(
      fc.property(types, nasty, fc.nat(2), (type, value, indent) => {
        const object = JSON.stringify(value, undefined, indent);
        const event = json(`{"type":"${type}","object":${object}}\n`);
        expect({ type: event.type, object: event.object.toString() }).toEqual({ type, object });
      }),
    );
  });

  test.each([
    '',
    '\n',
    'null',
    '[]',
    '{}',
    '{"type":"ADDED"}',
    '{"object":{}}',
    '{"type":"ADDED","object":null}',
    '{"type":"ADDED","object":"{}"}',
    '{"type":"ADDED","object":[{}]}',
    '{"type":"added","object":{}}',
    '{"type":"ADDEDX","object":{}}',
    '{"type":null,"object":{}}',
    '{"type":1,"object":{}}',
    '{"type":"ADDED","object":{}',
    '{"type":"ADDED","object":{"a":"}}',
    '{"type":"ADDED","object":{}}}',
    '{"type":"ADDED","object":{}}{"type":"ADDED","object":{}}',
    '{"kind":"Status","apiVersion":"v1"}',
  ])('%s is refused', (text) => {
    expect(() => json(text)).toThrow(MalformedFrame);
  });
});

/** Written apart from the code under test: only what fits one byte of length. */
const field = (number: number, ...payload: Buffer[]): Buffer => {
  const bytes = Buffer.concat(payload);
  return Buffer.concat([Buffer.from([number * 8 + 2, bytes.length]), bytes]);
};
const text = (value: string): Buffer => Buffer.from(value);
const frameOf = (...fields: Buffer[]): Buffer => {
  const message = Buffer.concat(fields);
  return Buffer.concat([Buffer.from([0, 0, 0, message.length]), message]);
};
const OBJECT = text('k8s\0\x12\0');

describe('a protobuf frame', () => {
  test('may have another order of fields and fields unknown here', () => {
    const frame = frameOf(
      Buffer.from([0x48, 0x96, 0x01]),
      field(2, field(9), field(1, OBJECT)),
      field(1, text('MODIFIED')),
    );
    expect(parseWatchFrame('protobuf', frame)).toEqual({ type: 'MODIFIED', object: OBJECT });
  });

  test('counts the last value of a field that comes twice', () => {
    const frame = frameOf(
      field(1, text('ADDED')),
      field(2, field(1, text('k8s\0'))),
      field(2, field(1, OBJECT)),
      field(1, text('DELETED')),
    );
    expect(parseWatchFrame('protobuf', frame)).toEqual({ type: 'DELETED', object: OBJECT });
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['half a length', Buffer.from([0, 0])],
    ['an empty message', Buffer.alloc(4)],
    ['no type', frameOf(field(2, field(1, OBJECT)))],
    ['an unknown type', frameOf(field(1, text('CHANGED')), field(2, field(1, OBJECT)))],
    ['a type that only begins like one', frameOf(field(1, text('ADD')), field(2, field(1, OBJECT)))],
    ['no object', frameOf(field(1, text('ADDED')))],
    ['an empty object', frameOf(field(1, text('ADDED')), field(2))],
    ['JSON for an object', frameOf(field(1, text('ADDED')), field(2, field(1, text('{"kind":"Pod"}'))))],
    ['a number for an object', frameOf(field(1, text('ADDED')), Buffer.from([0x10, 0x01]))],
    [
      'a length too small',
      Buffer.concat([frameOf(field(1, text('ADDED')), field(2, field(1, OBJECT))), Buffer.alloc(1)]),
    ],
    ['a length too great', frameOf(field(1, text('ADDED')), field(2, field(1, OBJECT))).subarray(0, -1)],
  ])('of %s is refused', (_, frame) => {
    expect(() => parseWatchFrame('protobuf', frame)).toThrow(MalformedFrame);
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

test.each(['json', 'protobuf'] as const)(
  'a damaged %s frame is refused or read, and fails in no other way',
  (encoding) => {
    const frames = ['configmaps', 'pods', 'leases'].flatMap((resource) => recorded(resource, encoding));
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(fc.constantFrom(...frames), damage, fc.nat(), (frame, bytes, cut) => {
        const damaged = Buffer.from(frame.subarray(0, cut % 2 === 0 ? frame.length : cut % frame.length));
        for (const [at, byte] of bytes) if (damaged.length > 0) damaged[at % damaged.length] = byte;
        const read = (): void => {
          const { object } = parseWatchFrame(encoding, damaged);
          if (!damaged.includes(object)) throw new Error('the object is not in its frame');
        };
        expect(['none', 'MalformedFrame']).toContain(failure(read));
      }),
    );
  },
);
