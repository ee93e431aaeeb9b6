import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { JsonReader } from './json-reader.ts';
import { MalformedFrame } from './malformed-frame.ts';

/** Any character but lone surrogates, which no UTF-8 holds. */
const character = fc
  .oneof(fc.nat(0x7f), fc.integer({ min: 0x80, max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0x10ffff }))
  .map((code) => String.fromCodePoint(code));

const readerOf = (text: string): JsonReader => new JsonReader(Buffer.from(text));

/** Strings that mislead a scanner which is not aware of strings and escapes. */
const nastyString = fc
  .array(
    fc.oneof(
      fc.string({ unit: character, maxLength: 3 }),
      fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', '\\"', '\\\\'),
    ),
  )
  .map((parts) => parts.join(''));
const nastyValue = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    nastyString,
    fc.constantFrom<unknown>(null, true, false, 0, -1.5e-7, 2 ** 60),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(nastyString, tie('value'), { maxKeys: 4 }),
  ),
})).value;

describe('skipping a value', () => {
  test('ends exactly at its end', () => {
    fc.assert(
      fc.property(nastyValue, fc.nat(3), (value, indent) => {
        const text = JSON.stringify(value, undefined, indent);
        const reader = readerOf(`  ${text} ,"more":[`);
        reader.skipValue();
        expect(reader.at).toBe(2 + Buffer.byteLength(text));
      }),
    );
  });

  test('of a long string finds its end behind escaped quotes and backslashes', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a'.repeat(70), '"', '\\', '\\\\"'), { maxLength: 20 }), (parts) => {
        const text = JSON.stringify(parts.join(''));
        const reader = readerOf(`${text}"`);
        reader.skipValue();
        expect(reader.at).toBe(text.length);
        expect(reader.text()).toBe(parts.join(''));
      }),
    );
  });

  test('takes no stack, however deep it is', () => {
    const depth = 1_000_000;
    const reader = readerOf(`${'[{"a":'.repeat(depth)}1${'}]'.repeat(depth)}`);
    reader.skipValue();
    expect(reader.atEnd()).toBe(true);
  });

  test.each(['', ' ', '{', '[', '"', '"\\', '"\\"', '{"a":"}', '[[]', '}', ']', ',', ':', 'x', '\u00e9'])(
    'that is %j is refused',
    (text) => {
      expect(() => readerOf(text).skipValue()).toThrow(MalformedFrame);
    },
  );
});

describe('stepping through an object', () => {
  test('gives every key in order, escaped or not', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(nastyString, nastyValue), { maxLength: 5 }), (members) => {
        const text = members.map(([key, value]) => ` ${JSON.stringify(key)} : ${JSON.stringify(value)} `).join(',');
        const reader = readerOf(`{${text}}`);
        const keys: string[] = [];
        reader.enterObject();
        while (reader.nextKey()) {
          keys.push(reader.text());
          reader.skipValue();
        }
        expect(keys).toEqual(members.map(([key]) => key));
        expect(reader.atEnd()).toBe(true);
      }),
    );
  });

  test('finds a key among those asked for, however it is spelt', () => {
    const keys = ['uid', 'name'].map((key) => Buffer.from(key));
    const reader = readerOf(String.raw`{"\u006eame":1,"uid":2,"names":3,"":4,"\"":5}`);
    const found: number[] = [];
    reader.enterObject();
    while (reader.nextKey()) {
      found.push(reader.keyIndex(keys));
      reader.skipValue();
    }
    expect(found).toEqual([1, 0, -1, -1, -1]);
  });

  test('takes a null for no object', () => {
    const reader = readerOf('null ');
    expect(reader.enterObject()).toBe(false);
    expect(reader.atEnd()).toBe(true);
  });

  test.each(['{"a":1', '{"a":1,}', '{,"a":1}', '{"a" 1}', '{"a":1 "b":2}', '{a:1}', '{"a":}', '[]', '1', 'nul'])(
    '%s is refused',
    (text) => {
      const readAll = (): void => {
        const reader = readerOf(text);
        reader.enterObject();
        while (reader.nextKey()) reader.skipValue();
      };
      expect(readAll).toThrow(MalformedFrame);
    },
  );
});

describe('reading a string', () => {
  test('undoes its escapes', () => {
    fc.assert(
      fc.property(nastyString, (value) => {
        expect(readerOf(JSON.stringify(value)).readString()).toBe(value);
        expect(readerOf(JSON.stringify(value)).readInterned()).toBe(value);
      }),
    );
    expect(readerOf(String.raw`"\u006eame\/\ud83d\ude00"`).readString()).toBe('name/😀');
  });

  test('takes a null for an empty one', () => {
    expect(readerOf('null').readString()).toBe('');
  });

  test('never quotes what is malformed, for it may be secret', () => {
    let refusal: unknown;
    try {
      readerOf(String.raw`"hunter2\x"`).readString();
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toMatchObject({ code: 'MalformedFrame' });
    expect(inspect(refusal)).not.toContain('hunter2');
  });

  test.each(['1', '{}', 'nul', ''])('%j is refused', (text) => {
    expect(() => readerOf(text).readString()).toThrow(MalformedFrame);
  });
});

test.each([
  ['"a\\"b"', 'a"b'],
  ['true', 'true'],
  ['false', 'false'],
  ['-12', '-12'],
  ['9007199254740993', '9007199254740993'],
  ['null', ''],
  ['12345678901234567890', '1.2345678901234567e+19'],
  ['1.0e3', '1000'],
  ['-0', '0'],
  ['{"a":1}', 'map[a:1]'],
  ['[1]', '[1]'],
])('the scalar %s reads as %j', (text, expected) => {
  expect(readerOf(`${text},`).readScalar()).toBe(expected);
});
