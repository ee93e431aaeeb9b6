import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  DER_OCTET_STRING,
  der,
  derObjectIdentifier,
  MalformedDer,
  readDer,
  readDerAll,
  readObjectIdentifier,
} from './der.ts';

describe('DER elements', () => {
  test('what is written is read back, for every length form', () => {
    fc.assert(
      fc.property(fc.constantFrom(0, 1, 127, 128, 255, 256, 65_535, 65_536), (length) => {
        const element = readDer(der(DER_OCTET_STRING, Buffer.alloc(length, 7)));
        expect(element.tag).toBe(DER_OCTET_STRING);
        expect(element.contents.length).toBe(length);
      }),
    );
  });

  test('a sequence of elements is read in order', () => {
    const contents = Buffer.concat([der(4, Buffer.from('a')), der(4), der(4, Buffer.from('bc'))]);
    expect(readDerAll(contents).map((element) => element.contents.toString())).toEqual(['a', '', 'bc']);
  });

  test('arbitrary bytes are read or refused, never read past their end', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        expect(endOf(Buffer.from(bytes))).toBeLessThanOrEqual(bytes.length);
      }),
    );
  });

  test.each(['1.3.6.1.5.5.7.3.2', '2.5.29.19', '1.3.6.1.4.1.57683.2', '2.999.3', '0.9.2342.19200300.100.1.1'])(
    'object identifier %s survives the round trip',
    (dotted) => {
      expect(readObjectIdentifier(readDer(derObjectIdentifier(dotted)).contents)).toBe(dotted);
    },
  );

  test('an object identifier cut in the middle of an arc is refused', () => {
    expect(() => readObjectIdentifier(Buffer.from([0x2a, 0x86]))).toThrow(MalformedDer);
    expect(() => readObjectIdentifier(Buffer.alloc(0))).toThrow(MalformedDer);
  });
});

/** Where reading ends; 0 if the bytes are refused. Anything but MalformedDer is thrown on. */
function endOf(bytes: Buffer): number {
  try {
    return readDerAll(bytes).at(-1)?.end ?? 0;
  } catch (error) {
    if (error instanceof MalformedDer) return 0;
    throw error;
  }
}
