import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MalformedFrame } from './malformed-frame.ts';
import {
  FieldReader,
  bytesField,
  fieldHeader,
  stringField,
  varintField,
  varintLength,
  writeVarint,
} from './proto-wire.ts';

const reader = (...bytes: number[]): FieldReader => new FieldReader(Buffer.from(bytes), 0, bytes.length);

function readAll(fields: FieldReader): number {
  let count = 0;
  while (fields.next()) count++;
  return count;
}

describe('a varint', () => {
  test('is written in as many bytes as it needs, and read again', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat(3), (value, offset) => {
        const bytes = Buffer.alloc(16);
        expect(writeVarint(bytes, offset, value)).toBe(offset + varintLength(value));
        const field = varintField(1, value);
        const fields = new FieldReader(field, 0, field.length);
        expect(fields.next()).toBe(true);
        expect(fields.int()).toBe(BigInt(value));
      }),
    );
  });

  test.each([
    [[0x08, 0x96, 0x01], 150n],
    [[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], -1n],
    [[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], -(2n ** 63n)],
    [[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], 2n ** 63n - 1n],
  ])('of bytes %j is %d, as int32 and int64 are written', (bytes, value) => {
    const fields = reader(...bytes);
    fields.next();
    expect(fields.int()).toBe(value);
  });
});

describe('fields', () => {
  test('are stepped over one by one, whatever their wire type', () => {
    const bytes = Buffer.concat([
      varintField(1, 300),
      Buffer.from([0x11, 1, 2, 3, 4, 5, 6, 7, 8]),
      stringField(3, 'name'),
      Buffer.from([0x25, 1, 2, 3, 4]),
      bytesField(2 ** 29 - 1, Buffer.from('a'), Buffer.from('b')),
    ]);
    const fields = new FieldReader(bytes, 0, bytes.length);
    const found: [number, string][] = [];
    while (fields.next()) found.push([fields.field, bytes.toString('latin1', fields.start, fields.end)]);
    expect(found).toEqual([
      [1, '\xac\x02'],
      [2, '\x01\x02\x03\x04\x05\x06\x07\x08'],
      [3, 'name'],
      [4, '\x01\x02\x03\x04'],
      [2 ** 29 - 1, 'ab'],
    ]);
  });

  test('tell where they and their lengths begin', () => {
    const bytes = Buffer.concat([stringField(1, 'x'), stringField(100, 'y'.repeat(200))]);
    const fields = new FieldReader(bytes, 0, bytes.length);
    fields.next();
    fields.next();
    expect(fields).toMatchObject({ fieldStart: 3, lengthStart: 5, start: 7, end: 207 });
  });

  test('nest', () => {
    const bytes = bytesField(1, bytesField(2, stringField(3, 'deep')));
    const outer = new FieldReader(bytes, 0, bytes.length);
    outer.next();
    const middle = outer.message();
    middle.next();
    const inner = middle.message();
    inner.next();
    expect(inner.text()).toBe('deep');
    expect([inner.next(), middle.next(), outer.next()]).toEqual([false, false, false]);
  });

  test('have a header that fits their length', () => {
    expect(fieldHeader(2, 300)).toEqual(bytesField(2, Buffer.alloc(300)).subarray(0, 3));
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

describe('a malformed message', () => {
  test.each([
    ['a length beyond its end', [0x0a, 0x05, 1, 2]],
    ['a length of 2^63', [0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]],
    ['a varint without end', [0x08, 0x80]],
    ['a varint of eleven bytes', [0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]],
    ['a fixed64 cut short', [0x09, 1, 2]],
    ['field number 0', [0x02, 0x00]],
    ['a field number above 2^29', [0x82, 0x80, 0x80, 0x80, 0x80, 0x01, 0x00]],
    ['a group', [0x0b, 0x0c]],
    ['wire type 7', [0x0f]],
  ])('with %s is refused', (_, bytes) => {
    expect(() => readAll(reader(...bytes))).toThrow(MalformedFrame);
  });

  test.each([
    ['a length', [0x0a, 0x03, 1, 2, 3]],
    ['a varint', [0x08, 0x80, 0x80, 0x01]],
    ['a fixed32', [0x0d, 1, 2, 3, 4]],
  ])('is refused if it has %s that ends in the message behind it', (_, bytes) => {
    const inner = new FieldReader(Buffer.from(bytes), 0, bytes.length - 1);
    expect(() => readAll(inner)).toThrow(MalformedFrame);
  });

  test('whose field has another wire type than asked for is refused', () => {
    const varint = reader(0x08, 0x01);
    varint.next();
    expect(() => varint.text()).toThrow(MalformedFrame);
    expect(() => varint.message()).toThrow(MalformedFrame);
    const string = reader(0x0a, 0x00);
    string.next();
    expect(() => string.int()).toThrow(MalformedFrame);
  });

  test('is refused with the same error, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const read = () => readAll(new FieldReader(Buffer.from(bytes), 0, bytes.length));
        expect(['none', 'MalformedFrame']).toContain(failure(read));
      }),
    );
  });
});
