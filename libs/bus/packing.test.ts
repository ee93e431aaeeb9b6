import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { pack, unpack } from './packing.ts';

function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

describe('packing', () => {
  test('gives back what it was given', () => {
    const value = [
      0,
      -1,
      2 ** 32,
      2 ** 53 - 1,
      '',
      'ü€😀',
      true,
      undefined,
      Buffer.from([1, 2]),
      { a: { b: [undefined] } },
    ];
    expect(unpack(pack(value))).toEqual(value);
  });

  test('takes bytes it did not write, or more or fewer than it wrote, for corrupt', () => {
    const packed = pack(['a', 1, { b: 2 }]);
    const corrupt = expect.objectContaining({ code: 'EnvelopeCorrupt' });
    expect(() => unpack(Buffer.from([0xd9, 5]))).toThrow(corrupt);
    expect(() => unpack(Buffer.alloc(0))).toThrow(corrupt);
    expect(() => unpack(packed.subarray(0, -1))).toThrow(corrupt);
    expect(() => unpack(Buffer.concat([packed, packed]))).toThrow(corrupt);
  });

  test('keeps no large buffer after its work', async () => {
    const roundTrip = (): WeakRef<ArrayBufferLike> => {
      const packed = pack(Buffer.alloc(4 * 2 ** 20));
      unpack(packed);
      return new WeakRef(packed.buffer);
    };
    const buffer = roundTrip();
    expect(pack(1).buffer.byteLength).toBeLessThan(2 ** 20);
    await setImmediate();
    collectGarbage();
    expect(buffer.deref()).toBeUndefined();
  });
});
