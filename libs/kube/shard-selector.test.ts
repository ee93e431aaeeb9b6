import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Attributes, kubeObject, type ObjectSchema } from './kube-object.ts';
import { parseShardSelector } from './shard-selector.ts';

const schema: ObjectSchema = { encoding: 'json', fields: new Map(), indexedField: undefined };

function attributes(uid: string, namespace = ''): Attributes {
  const metadata = { name: 'x', namespace, uid, resourceVersion: '1' };
  return new Attributes(schema, kubeObject(schema, Buffer.from(JSON.stringify({ metadata }))));
}

/** FNV-1a of 64 bits in whole numbers. */
function hash(text: string): bigint {
  let value = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text)) value = ((value ^ BigInt(byte)) * 0x100000001b3n) % 2n ** 64n;
  return value;
}

function hex(value: bigint): string {
  return `'0x${value.toString(16).padStart(16, '0')}'`;
}

const UID = 'object.metadata.uid';
const LOWER = `shardRange(${UID}, '0x0000000000000000', '0x8000000000000000')`;
const UPPER = `shardRange(${UID}, '0x8000000000000000', '0x10000000000000000')`;

/** What becomes of `text`. */
function codeOf(text: string): unknown {
  try {
    return parseShardSelector(text).ranges.length > 0 ? 'parsed' : 'empty';
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
}

describe('G2 shard selectors', () => {
  test('select by the hash of the uid, start included and end not', () => {
    const place = hash('some-uid');
    const selects = (start: bigint, end: bigint): boolean =>
      parseShardSelector(`shardRange(${UID}, ${hex(start)}, ${hex(end)})`).matches(attributes('some-uid'));
    expect(selects(place, place + 1n)).toBe(true);
    expect(selects(place + 1n, place + 2n)).toBe(false);
    expect(selects(place - 1n, place)).toBe(false);
    expect(selects(0n, 2n ** 64n)).toBe(true);
  });

  test('or by the hash of the namespace, which is "" for what has none', () => {
    const place = hash('web');
    const selector = parseShardSelector(`shardRange(object.metadata.namespace, ${hex(place)}, ${hex(place + 1n)})`);
    expect(selector.matches(attributes('any', 'web'))).toBe(true);
    expect(selector.matches(attributes('any', 'db'))).toBe(false);
    const none = hash('');
    const cluster = parseShardSelector(`shardRange(object.metadata.namespace, ${hex(none)}, ${hex(none + 1n)})`);
    expect(cluster.matches(attributes('any'))).toBe(true);
  });

  test('select what one of their ranges holds, in any order and overlapping', () => {
    const bound = fc.bigInt({ min: 0n, max: 2n ** 64n });
    const range = fc.tuple(bound, bound).filter(([a, b]) => a !== b);
    fc.assert(
      fc.property(fc.array(range, { minLength: 1, maxLength: 6 }), fc.array(fc.uuid()), (pairs, uids) => {
        const ranges = pairs.map(([a, b]) => (a < b ? [a, b] : [b, a]) as [bigint, bigint]);
        const text = ranges.map(([start, end]) => `shardRange(${UID}, ${hex(start)}, ${hex(end)})`).join(' || ');
        const selector = parseShardSelector(text);
        expect(selector.text).toBe(text);
        for (const uid of uids) {
          const place = hash(uid);
          const expected = ranges.some(([start, end]) => start <= place && place < end);
          expect(selector.matches(attributes(uid))).toBe(expected);
        }
        expect(parseShardSelector(selector.canonical).canonical).toBe(selector.canonical);
        expect(
          parseShardSelector(
            ranges
              .toReversed()
              .map(([start, end]) => `shardRange(${UID},${hex(start)},${hex(end)})`)
              .join('||'),
          ).canonical,
        ).toBe(selector.canonical);
      }),
    );
  });

  test('are told as they were written, but spaces and quotes', () => {
    const text = `  ((shardRange( ${UID} ,\n"0x8000000000000000", '0x10000000000000000' ))||${LOWER})||(${UPPER}) `;
    expect(parseShardSelector(text).text).toBe(`${UPPER} || ${LOWER} || ${UPPER}`);
  });

  test('are the same selector if they select the same', () => {
    const whole = `shardRange(${UID}, '0x0000000000000000', '0x10000000000000000')`;
    expect(parseShardSelector(`${UPPER} || ${LOWER}`).canonical).toBe(whole);
    expect(parseShardSelector(LOWER).canonical).not.toBe(parseShardSelector(UPPER).canonical);
  });

  test.each([
    ['', 'empty shard selector is not allowed; omit the parameter for unfiltered lists'],
    [' \t', 'empty shard selector is not allowed; omit the parameter for unfiltered lists'],
    ['shardRange()', 'shardRange() requires exactly 3 arguments, got 0'],
    [`shardRange(${UID}, '0x0', '0x8', '0x9')`, 'shardRange() requires exactly 3 arguments, got 4'],
    ['other(1)', 'unsupported function "other"; only shardRange() and || are allowed'],
    [
      `shardRange('x', '0x0', '0x8')`,
      'shardRange() first argument: expected field path (e.g. object.metadata.uid), got expression kind 5',
    ],
    [
      `shardRange(object.metadata.name, '0x0', '0x8')`,
      'unsupported field path "object.metadata.name"; supported: object.metadata.uid, object.metadata.namespace',
    ],
    [`shardRange(${UID}, x, '0x8')`, "hexStart must be a string literal (e.g. '0xff'), got expression kind 3"],
    [`shardRange(${UID}, x.y, '0x8')`, "hexStart must be a string literal (e.g. '0xff'), got expression kind 7"],
    [`shardRange(${UID}, 0, 8)`, 'hexStart must be a string literal, got int64'],
    [`shardRange(${UID}, '80', '0x8')`, `hexStart must have '0x' prefix, got "80"`],
    [`shardRange(${UID}, '0x', '0x8')`, "hexStart: hex value is required after '0x'"],
    [
      `shardRange(${UID}, '0x000000000000000000', '0x8')`,
      'hexStart: hex value too long (18 chars, max 17): "000000000000000000"',
    ],
    [`shardRange(${UID}, '0x0G', '0x8')`, 'hexStart: invalid hex character "G" in "0x0G"'],
    [
      `shardRange(${UID}, '0x0', '0x8')`,
      'hexStart must be a 0x-prefixed 16-digit hex value, got "0x0" (did you mean "0x0000000000000000"?)',
    ],
    [
      `shardRange(${UID}, '0x0000000000000000', '0x20000000000000000')`,
      `hexEnd: 17-digit hex value must be '0x10000000000000000' (2^64), got "0x20000000000000000"`,
    ],
    [
      `shardRange(${UID}, '0x8000000000000000', '0x8000000000000000')`,
      'shard range start 0x8000000000000000 must be less than end 0x8000000000000000',
    ],
    [
      `${LOWER} || shardRange(object.metadata.namespace, '0x0000000000000000', '0x8000000000000000')`,
      'all shard ranges must use the same field, got "object.metadata.namespace" and "object.metadata.uid"',
    ],
  ])('refuse %j as upstream does', (text, message) => {
    expect(() => parseShardSelector(text)).toThrow(expect.objectContaining({ code: 'ShardSelectorError', message }));
  });

  test.each([
    'x',
    LOWER.slice(0, -1),
    `${LOWER} && ${UPPER}`,
    `${LOWER} ||`,
    `(${LOWER}`,
    `${LOWER} ${UPPER}`,
    `shardRange(${UID}, r'0x0000000000000000', '0x8000000000000000')`,
    `shardRange(${UID}, '0x000000000000000\\x30', '0x8000000000000000')`,
    `shardRange(${UID}, '''0x0000000000000000''', '0x8000000000000000')`,
    `shardRange(${UID}, '0x0000000000000000', '0x8000000000000000',)`,
    `${'('.repeat(1_000)}${LOWER}${')'.repeat(1_000)}`,
    'shardRange(',
    '🐶',
  ])('leave %j to who knows all of CEL', (text) => {
    expect(() => parseShardSelector(text)).toThrow(expect.objectContaining({ code: 'ShardSelectorError' }));
  });

  test('whatever is written, it is a selector or a ShardSelectorError', () => {
    const pieces = [LOWER, UPPER, '||', '(', ')', ',', "'", '"', 'shardRange', UID, '.', '0x0', ' ', '\\', '🐶'];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 12 }), (parts) => {
        expect(codeOf(parts.join(''))).toBeOneOf(['parsed', 'ShardSelectorError']);
      }),
    );
  });
});
