import fc from 'fast-check';
import { expect, test } from 'vitest';
import { internedText } from './interned-text.ts';

test('is the text of the bytes, whatever was asked before', () => {
  const texts = fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.string({ minLength: 60, maxLength: 70 })));
  fc.assert(
    fc.property(texts, (all) => {
      for (const text of [...all, ...all]) {
        const bytes = Buffer.from(`<${text}>`);
        expect(internedText(bytes, 1, bytes.length - 1)).toBe(text);
      }
    }),
  );
});

test('tells bytes that are not UTF-8 from Latin-1 text of the same length', () => {
  const latin = Buffer.from('é');
  expect(internedText(latin, 0, 2)).toBe('é');
  expect(internedText(Buffer.from([0xe9]), 0, 1)).toBe('\ufffd');
});
