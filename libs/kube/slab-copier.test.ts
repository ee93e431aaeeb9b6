import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { slabCopier } from './slab-copier.ts';

describe('a slab copier', () => {
  test('gives copies that change with nothing, one behind the other in a few slabs', () => {
    const sizes = fc.array(fc.oneof({ weight: 9, arbitrary: fc.nat(600) }, fc.nat(100_000)), { maxLength: 400 });
    fc.assert(
      fc.property(sizes, (lengths) => {
        const copyBytes = slabCopier();
        const source = Buffer.alloc(100_001);
        const copies = lengths.map((length, index) => {
          source.fill(index % 256);
          return copyBytes(source.subarray(1, 1 + length));
        });
        for (const [index, copy] of copies.entries()) expect(copy).toEqual(Buffer.alloc(lengths[index]!, index % 256));
        const small = copies.filter(({ length }) => length <= 8_192);
        const bytes = small.reduce((sum, { length }) => sum + length, 0);
        expect(new Set(small.map(({ buffer }) => buffer)).size).toBeLessThanOrEqual(Math.ceil(bytes / 57_344) + 1);
      }),
    );
  });

  test('gives what is long a buffer of its own', () => {
    const copyBytes = slabCopier();
    const [a, b] = [copyBytes(Buffer.alloc(10)), copyBytes(Buffer.alloc(9_000))];
    expect(b.buffer).not.toBe(a.buffer);
    expect(b.buffer.byteLength).toBe(9_000);
  });
});
