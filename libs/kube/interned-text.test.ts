import fc from 'fast-check';
import { expect, test } from 'vitest';
import { internedText } from './interned-text.ts';

/** Any character but lone surrogates, which no UTF-8 holds. */
const character = fc
  .oneof(fc.nat(0x7f), fc.integer({ min: 0x80, max: 0xd7ff }), fc.integer({ min: 0xe000, max: 0x10ffff }))
  .map((code) => String.fromCodePoint(code));

test('is the text of the bytes, whatever was asked before', () => {
  const texts = fc.array(
    fc.oneof(fc.string({ unit: character, maxLength: 8 }), fc.string({ minLength: 60, maxLength: 70 })),
  );
  fc.assert(
    fc.property(texts, (all) => {
      for (const text of [...all, ...all]) {
        const bytes = Buffer.from(`<${text}>`);
        expect(internedText(bytes, 1, bytes.length - 1)).toBe(text);
      }
    }),
  );
});

test('is not that of other bytes which took the same slot', () => {
  const failures: string[] = [];
  for (let i = 0; i < 20_000; i++) {
    const utf8 = Buffer.from(`${i}é`);
    internedText(utf8, 0, utf8.length);
    const latin1 = Buffer.from(`${i}é`, 'latin1');
    if (internedText(latin1, 0, latin1.length) !== `${i}\ufffd`) failures.push(latin1.toString('hex'));
  }
  expect(failures).toEqual([]);
});
