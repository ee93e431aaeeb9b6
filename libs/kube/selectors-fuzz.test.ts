import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { LabelOperator } from './label-selector-grammar.ts';
import { SelectorSyntaxError } from './selector-syntax-error.ts';
import { nameSelector, parseFieldSelector, parseLabelSelector } from './selector.ts';
import { ShardSelectorError } from './shard-selector-grammar.ts';
import { parseShardSelector } from './shard-selector.ts';
import { Random, oddText } from './test-odd-objects.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 100);
/** Longest a request's head, and so a selector, may be. */
const HEAD_BYTES = 64 * 1024;

const key = fc.constantFrom('a', 'b', 'in', 'notin', 'app.kubernetes.io/name', 'x.y/Z_9', '7');
const value = fc.constantFrom('', 'a', 'in', 'notin', 'b-1', 'Z', '7', '007', '16', '9223372036854775808');
const whole = fc.constantFrom('0', '7', '16', '9223372036854775807');
const labelMap = fc.dictionary(key, value, { maxKeys: 4 }).map((labels) => new Map(Object.entries(labels)));

interface Requirement {
  readonly key: string;
  readonly operator: LabelOperator;
  readonly values: readonly string[];
}

const requirement: fc.Arbitrary<Requirement> = fc.oneof(
  fc.record({ key, operator: fc.constantFrom('exists', '!'), values: fc.constant([]) }),
  fc.record({ key, operator: fc.constantFrom('=', '==', '!='), values: fc.tuple(value) }),
  fc.record({ key, operator: fc.constantFrom('gt', 'lt'), values: fc.tuple(whole) }),
  fc.record({ key, operator: fc.constantFrom('in', 'notin'), values: fc.array(value, { minLength: 1, maxLength: 4 }) }),
);

/** As somebody might write it, with `space` between any two tokens, or a blank where there must be one. */
function written({ key: label, operator, values }: Requirement, space: string): string {
  switch (operator) {
    case 'exists':
      return label;
    case '!':
      return `!${space}${label}`;
    case 'in':
    case 'notin':
      return `${label} ${operator}${space}(${space}${values.join(`${space},${space}`)}${space})`;
    default:
      return [label, { gt: '>', lt: '<' }[operator as string] ?? operator, values[0]].join(space);
  }
}

/** What labels.Requirement.Matches says. */
function holds({ key: label, operator, values }: Requirement, labels: ReadonlyMap<string, string>): boolean {
  const held = labels.get(label);
  const number = held !== undefined && /^\d+$/.test(held) && BigInt(held) < 2n ** 63n ? BigInt(held) : undefined;
  switch (operator) {
    case 'exists':
      return held !== undefined;
    case '!':
      return held === undefined;
    case '=':
    case '==':
    case 'in':
      return held !== undefined && values.includes(held);
    case '!=':
    case 'notin':
      return held === undefined || !values.includes(held);
    case 'gt':
      return number !== undefined && number > BigInt(values[0]!);
    case 'lt':
      return number !== undefined && number < BigInt(values[0]!);
  }
}

/** Text of odd pieces among those a grammar is made of. */
function oddTextOf(...pieces: readonly [string, ...string[]]): fc.Arbitrary<string> {
  return fc
    .array(
      fc.oneof(
        fc.constantFrom(...pieces),
        fc.integer().map((seed) => oddText(new Random(seed), 2)),
      ),
    )
    .map((parts) => parts.join(''));
}

/** Whether `parse` took it; all but `refusal` is thrown on. */
function takes(parse: () => unknown, refusal: new (...of: never[]) => Error): boolean {
  try {
    parse();
    return true;
  } catch (error) {
    if (error instanceof refusal) return false;
    throw error;
  }
}

describe('a label selector', () => {
  test('selects what its requirements say, however it is written', () => {
    const space = fc.constantFrom('', ' ', ' \t', '\r\n');
    fc.assert(
      fc.property(fc.array(requirement, { maxLength: 5 }), fc.array(labelMap), space, (all, maps, gap) => {
        const selector = parseLabelSelector(all.map((one) => written(one, gap)).join(`${gap},${gap}`));
        expect(selector.requirements.length).toBe(all.length);
        for (const labels of maps) expect(selector.matches(labels)).toBe(all.every((one) => holds(one, labels)));
        const again = parseLabelSelector(selector.canonical);
        expect([again.canonical, again.requirements]).toEqual([selector.canonical, selector.requirements]);
      }),
      { numRuns },
    );
  });

  test('of any text is refused with a SelectorSyntaxError, or means what its canonical form means', () => {
    const text = oddTextOf('a', 'b/c', 'in', 'notin', ' ', ',', '=', '==', '!=', '!', '(', ')', '>', '<', '7', '-1');
    fc.assert(
      fc.property(text, fc.array(labelMap, { maxLength: 4 }), (it, maps) => {
        if (!takes(() => parseLabelSelector(it), SelectorSyntaxError)) return;
        const [selector, again] = [parseLabelSelector(it), parseLabelSelector(parseLabelSelector(it).canonical)];
        for (const labels of maps) expect(again.matches(labels)).toBe(selector.matches(labels));
      }),
      { numRuns: numRuns * 5 },
    );
  });
});

describe('a field selector', () => {
  const term = fc.record({
    field: fc.constantFrom('metadata.name', 'spec.nodeName', 'x', 'é😀'),
    equals: fc.boolean(),
    value: fc.integer().map((seed) => oddText(new Random(seed))),
  });

  test('keeps its values, whatever is in them', () => {
    const operators = fc.constantFrom('=', '==');
    fc.assert(
      fc.property(fc.array(term, { maxLength: 4 }), operators, (terms, equal) => {
        const texts = terms.map(
          (one) => `${one.field}${one.equals ? equal : '!='}${one.value.replaceAll(/[\\,=]/g, String.raw`\$&`)}`,
        );
        const selector = parseFieldSelector(texts.join(','));
        const order = (all: readonly unknown[]): string[] => all.map((one) => JSON.stringify(one)).toSorted();
        expect(order(selector.requirements)).toEqual(order(terms));
        expect(order(parseFieldSelector(selector.canonical).requirements)).toEqual(order(terms));
        const names = terms.filter((one) => one.equals && one.field === 'metadata.name').map((one) => one.value);
        const exact = selector.exactValue('metadata.name');
        expect(names.length === 0 ? [undefined] : names).toContain(exact);
      }),
      { numRuns },
    );
  });

  test('of any text is read, or refused with a SelectorSyntaxError', () => {
    fc.assert(
      fc.property(oddTextOf('a', '=', '==', '!=', '!', ',', '\\', '\\,', '\\\\'), (text) => {
        takes(() => parseFieldSelector(text), SelectorSyntaxError);
        expect(nameSelector(text).exactValue('metadata.name')).toBe(text);
      }),
      { numRuns: numRuns * 5 },
    );
  });
});

describe('a shard selector', () => {
  const range = "shardRange(object.metadata.uid, '0x0000000000000000', '0x8000000000000000')";

  test('of any text is read and stays itself, or is refused with a ShardSelectorError', () => {
    const text = oddTextOf(range, range, '||', '(', ')', ',', "'", '"', 'shardRange(', '0x0', '.', 'object', ' ', '\\');
    fc.assert(
      fc.property(text, (it) => {
        if (!takes(() => parseShardSelector(it), ShardSelectorError)) return;
        const selector = parseShardSelector(it);
        expect(parseShardSelector(selector.text).canonical).toBe(selector.canonical);
        expect(parseShardSelector(selector.canonical).text).toBe(selector.canonical);
      }),
      { numRuns: numRuns * 5 },
    );
  });

  test.each([
    Array.from({ length: 1_200 }, () => range).join('||'),
    `${'('.repeat(50_000)}${range}`,
    `shardRange(${'a.'.repeat(49_000)}b)`,
    `f(${'1,'.repeat(49_000)}1)`,
    ' '.repeat(100_001),
    "'".repeat(100_000),
  ])('as long as it may be is read or refused in linear time (%#)', (text) => {
    const began = performance.now();
    takes(() => parseShardSelector(text), ShardSelectorError);
    expect(performance.now() - began).toBeLessThan(1_000);
  });
});

test.each([
  'a'.repeat(HEAD_BYTES),
  `a>${'9'.repeat(HEAD_BYTES)}`,
  `a in (${'b,'.repeat(HEAD_BYTES / 2)})`,
  'a=b,'.repeat(HEAD_BYTES / 4),
  '!'.repeat(HEAD_BYTES),
  '='.repeat(HEAD_BYTES),
  `${'a.'.repeat(HEAD_BYTES / 2)}!/x`,
  `${'\\'.repeat(HEAD_BYTES)}`,
  ','.repeat(HEAD_BYTES),
  '('.repeat(HEAD_BYTES),
  '😀'.repeat(HEAD_BYTES / 4),
  `a=${'-'.repeat(HEAD_BYTES)}`,
])('a selector as long as a request may be is read or refused in linear time (%#)', (text) => {
  const began = performance.now();
  takes(() => parseLabelSelector(text), SelectorSyntaxError);
  takes(() => parseFieldSelector(text), SelectorSyntaxError);
  expect(performance.now() - began).toBeLessThan(1_000);
});
