import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fnv1a64, isLess } from './fnv1a64.ts';

/** The definition, in whole numbers. */
function reference(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text)) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) % 2n ** 64n;
  return hash;
}

function asBigInt(text: string): bigint {
  const { high, low } = fnv1a64(text);
  return BigInt(high) * 2n ** 32n + BigInt(low);
}

describe('FNV-1a of 64 bits', () => {
  test('gives the published values', () => {
    expect(asBigInt('')).toBe(0xcbf29ce484222325n);
    expect(asBigInt('a')).toBe(0xaf63dc4c8601ec8cn);
    expect(asBigInt('foobar')).toBe(0x85944171f73967e8n);
  });

  test('is the definition for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(asBigInt(text)).toBe(reference(text));
      }),
    );
  });

  test('compares as whole numbers do', () => {
    const half = fc.oneof(fc.nat({ max: 2 }), fc.nat({ max: 2 ** 32 - 1 }));
    const number = fc.record({ high: half, low: half });
    const whole = ({ high, low }: { high: number; low: number }): bigint => BigInt(high) * 2n ** 32n + BigInt(low);
    fc.assert(
      fc.property(number, number, (a, b) => {
        expect(isLess(a, b)).toBe(whole(a) < whole(b));
      }),
    );
    expect(isLess({ high: 2 ** 32 - 1, low: 2 ** 32 - 1 }, { high: 2 ** 32, low: 0 })).toBe(true);
  });
});
