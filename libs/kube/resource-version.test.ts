import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseResourceVersion, readResourceVersion } from './resource-version.ts';

test.each(['', '-1', '+1', ' 1', '1.0', '0x1', '1e3', 'abc', '9007199254740992', '18446744073709551615'])(
  '%j is no resourceVersion',
  (text) => {
    expect(parseResourceVersion(text)).toBeUndefined();
  },
);

test.each([
  ['0', 0],
  ['12746', 12746],
  ['9007199254740991', Number.MAX_SAFE_INTEGER],
])('%j is %d', (text, value) => {
  expect(parseResourceVersion(text)).toBe(value);
});

test('bytes are read as their text is, but for none, which is 0', () => {
  const texts = fc.oneof(
    fc.string({ minLength: 1 }),
    fc.maxSafeNat().map(String),
    fc.bigInt({ min: 0n, max: 2n ** 64n }).map(String),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const bytes = Buffer.from(`"${text}"`);
      expect(readResourceVersion(bytes, 1, bytes.length - 1)).toBe(parseResourceVersion(text));
    }),
  );
  expect(readResourceVersion(Buffer.from('""'), 1, 1)).toBe(0);
});
