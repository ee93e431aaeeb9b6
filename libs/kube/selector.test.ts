import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SelectorSyntaxError } from './selector-syntax-error.ts';
import { nameSelector, parseFieldSelector, parseLabelSelector } from './selector.ts';

function recorded(name: string): unknown[] {
  const text = readFileSync(new URL(`testdata/upstream-${name}.jsonl`, import.meta.url), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}

/** A random selector, and what k8s.io/apimachinery makes of it: an error, or String() and a digit per set of labels. */
interface LabelCase {
  readonly text: string;
  readonly error?: string;
  readonly canonical?: string;
  readonly matches?: string;
}

interface FieldCase {
  readonly text: string;
  readonly error?: string;
  readonly canonical?: string;
  readonly empty?: boolean;
  readonly name?: string;
}

const [first, ...labelCases] = recorded('label-selectors') as [{ labels: Record<string, string>[] }, ...LabelCase[]];
const labelSets = first.labels.map((labels) => new Map(Object.entries(labels)));

/** What `parse` makes of `text`: the selector, or upstream's text for what is wrong with it. */
function outcome<Selector>(
  parse: (text: string) => Selector,
  text: string,
): { selector: Selector } | { error: string } {
  try {
    return { selector: parse(text) };
  } catch (error) {
    if (error instanceof SelectorSyntaxError) return { error: error.message };
    throw error;
  }
}

function labelOutcome(text: string): Omit<LabelCase, 'text'> {
  const parsed = outcome(parseLabelSelector, text);
  if ('error' in parsed) return parsed;
  const { selector } = parsed;
  const matches = labelSets.map((labels) => (selector.matches(labels) ? '1' : '0')).join('');
  return { canonical: selector.canonical, matches };
}

function fieldOutcome(text: string): Omit<FieldCase, 'text'> {
  const parsed = outcome(parseFieldSelector, text);
  if ('error' in parsed) return parsed;
  const { selector } = parsed;
  const name = selector.exactValue('metadata.name');
  return { canonical: selector.canonical, empty: selector.empty, ...(name === undefined ? {} : { name }) };
}

describe('label selectors recorded from upstream', () => {
  test.each(labelCases)('$text', ({ text, ...wanted }) => {
    expect(labelOutcome(text)).toEqual(wanted);
  });
});

describe('field selectors recorded from upstream', () => {
  test.each(recorded('field-selectors') as FieldCase[])('$text', ({ text, ...wanted }) => {
    expect(fieldOutcome(text)).toEqual(wanted);
  });
});

describe('a label selector', () => {
  const labels = new Map([
    ['app', 'web'],
    ['cpus', '16'],
    ['bare', ''],
  ]);

  test.each([
    ['', true],
    ['app=web,cpus', true],
    ['app=', false],
    ['bare=', true],
    ['absent=', false],
    ['absent!=x', true],
    ['absent notin (x)', true],
    ['app in (web,api)', true],
    ['!absent', true],
    ['!app', false],
    ['cpus>15', true],
    ['cpus>16', false],
    ['cpus<17', true],
    ['app>1', false],
    ['absent<1', false],
  ])('%j', (text, matches) => {
    expect(parseLabelSelector(text).matches(labels)).toBe(matches);
  });

  test('has one form for texts that mean the same', () => {
    const texts = ['a in (c, b),x=1', ' x=1 , a in (b,c,b)', 'x=1,a in ( c,b )'];
    expect(new Set(texts.map((text) => parseLabelSelector(text).canonical))).toEqual(new Set(['a in (b,c),x=1']));
  });

  test('of a thousand requirements keeps the order of equal keys', () => {
    const text = Array.from({ length: 1000 }, (_, index) => `k${index % 7}!=v${index}`).join(',');
    const { canonical } = parseLabelSelector(text);
    expect(parseLabelSelector(canonical).canonical).toBe(canonical);
    expect(canonical.startsWith('k0!=v0,k0!=v7,k0!=v14')).toBe(true);
  });
});

test('the selector of a name is that of its text, whatever the name', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (name) => {
      const selector = nameSelector(name);
      expect(selector.exactValue('metadata.name')).toBe(name);
      expect(parseFieldSelector(selector.canonical)).toMatchObject({
        requirements: selector.requirements,
        canonical: selector.canonical,
      });
    }),
  );
});

const labelText = fc.array(
  fc.constantFrom(
    'a',
    'b1',
    'x.y/z',
    'in',
    'notin',
    ' ',
    ',',
    '=',
    '==',
    '!=',
    '!',
    '(',
    ')',
    '>',
    '<',
    '7',
    '\t',
    '\0',
    'é',
  ),
  { maxLength: 14 },
);
const fieldText = fc.array(fc.constantFrom('a', 'b', '=', '==', '!=', '!', ',', '\\', '\\,', '\\\\', '😀'), {
  maxLength: 12,
});

test('a random label selector is parsed, or refused with a SelectorSyntaxError; once it is canonical it stays so', () => {
  fc.assert(
    fc.property(labelText, (parts) => {
      const parsed = outcome<{ canonical: string }>(parseLabelSelector, parts.join(''));
      const canonical = 'error' in parsed ? '' : parsed.selector.canonical;
      expect(parseLabelSelector(canonical).canonical).toBe(canonical);
    }),
    { numRuns: 800 },
  );
});

// Upstream's String() of a field selector is no such fixed point: it sorts by text and does not escape field labels.
test('a random field selector is parsed, or refused with a SelectorSyntaxError', () => {
  fc.assert(
    fc.property(fieldText, (parts) => {
      const parsed = outcome<{ requirements: readonly unknown[] }>(parseFieldSelector, parts.join(''));
      expect('error' in parsed || parsed.selector.requirements.length <= parts.length).toBe(true);
    }),
    { numRuns: 800 },
  );
});
