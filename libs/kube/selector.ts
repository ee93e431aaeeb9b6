import { type LabelRequirement, parseLabelRequirements } from './label-selector-grammar.ts';
import { SelectorSyntaxError } from './selector-syntax-error.ts';

type Labels = ReadonlyMap<string, string>;

/** A parsed label selector, compiled once: `matches` allocates nothing. */
export interface LabelSelector {
  /** Sorted by key. */
  readonly requirements: readonly LabelRequirement[];
  /** Upstream's String(): equal for texts that differ only in spaces, order of keys, order or repetition of values. */
  readonly canonical: string;
  /** True if it selects everything. */
  readonly empty: boolean;
  matches(labels: Labels): boolean;
}

/** One requirement of a field selector. */
export interface FieldRequirement {
  readonly field: string;
  /** True for `=` and `==`, false for `!=`. */
  readonly equals: boolean;
  readonly value: string;
}

/** A parsed field selector: its labels are as written, so aliases and unknown labels are still in it. */
export interface FieldSelector {
  /** In upstream's order: by the text of the term. */
  readonly requirements: readonly FieldRequirement[];
  /** Upstream's String(), with `\`, `,` and `=` in values escaped. */
  readonly canonical: string;
  /** True if it selects everything. */
  readonly empty: boolean;
  /** The value `field` must have, if a requirement says so (the first of several); protocol row L17. */
  exactValue(field: string): string | undefined;
}

/** Parses upstream's label selector grammar. Throws SelectorSyntaxError with upstream's text. */
export function parseLabelSelector(text: string): LabelSelector {
  // Stable, as upstream's sort is up to 12 requirements; beyond, only its order among equal keys may differ.
  const requirements = parseLabelRequirements(text).toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  const predicates = requirements.map(predicate);
  return {
    requirements,
    canonical: requirements.map(formatLabelRequirement).join(','),
    empty: requirements.length === 0,
    matches(labels) {
      for (const holds of predicates) if (!holds(labels)) return false;
      return true;
    },
  };
}

function predicate({ key, operator, values }: LabelRequirement): (labels: Labels) => boolean {
  const [only = ''] = values;
  switch (operator) {
    case '=':
    case '==':
      return (labels) => labels.get(key) === only;
    case '!=':
      return (labels) => labels.get(key) !== only;
    case 'in':
    case 'notin': {
      const set: ReadonlySet<string | undefined> = new Set(values);
      return operator === 'in' ? (labels) => set.has(labels.get(key)) : (labels) => !set.has(labels.get(key));
    }
    case 'exists':
      return (labels) => labels.has(key);
    case '!':
      return (labels) => !labels.has(key);
    case 'gt':
    case 'lt': {
      const bound = BigInt(only);
      return (labels) => {
        const value = int64(labels.get(key));
        return value !== undefined && (operator === 'gt' ? value > bound : value < bound);
      };
    }
  }
}

/** A label value as an integer; label values cannot have a sign. */
function int64(text: string | undefined): bigint | undefined {
  if (text === undefined || !/^\d+$/.test(text)) return undefined;
  const value = BigInt(text);
  return value < 2n ** 63n ? value : undefined;
}

function formatLabelRequirement({ key, operator, values }: LabelRequirement): string {
  const list = values.join(',');
  switch (operator) {
    case 'exists':
      return key;
    case '!':
      return `!${key}`;
    case 'in':
    case 'notin':
      return `${key} ${operator} (${list})`;
    case 'gt':
      return `${key}>${list}`;
    case 'lt':
      return `${key}<${list}`;
    default:
      return `${key}${operator}${list}`;
  }
}

/** Parses upstream's field selector grammar: `=`, `==` and `!=`, joined by commas. Throws SelectorSyntaxError with upstream's text. */
export function parseFieldSelector(text: string): FieldSelector {
  const requirements: FieldRequirement[] = [];
  for (const term of sortedTerms(text)) {
    const operator = /!=|==|=/.exec(term);
    if (operator === null) throw new SelectorSyntaxError(`invalid selector: '${text}'; can't understand '${term}'`);
    const field = term.slice(0, operator.index);
    const value = unescapeValue(term.slice(operator.index + operator[0].length));
    // Upstream drops a requirement whose field and value are both empty.
    if (field !== '' || value !== '') requirements.push({ field, equals: operator[0] !== '!=', value });
  }
  return fieldSelectorOf(requirements);
}

/** The field selector `metadata.name=NAME`: what a watch with a name in its path is narrowed to. */
export function nameSelector(name: string): FieldSelector {
  return fieldSelectorOf([{ field: 'metadata.name', equals: true, value: name }]);
}

function fieldSelectorOf(requirements: readonly FieldRequirement[]): FieldSelector {
  return {
    requirements,
    canonical: requirements
      .map(({ field, equals, value }) => `${field}${equals ? '=' : '!='}${value.replaceAll(/[\\,=]/g, '\\$&')}`)
      .join(','),
    empty: requirements.length === 0,
    exactValue(field) {
      return requirements.find((requirement) => requirement.equals && requirement.field === field)?.value;
    },
  };
}

/** By their bytes, each made once: a client may write thousands. */
function sortedTerms(text: string): readonly string[] {
  return splitTerms(text)
    .filter((term) => term !== '')
    .map((term) => ({ term, bytes: Buffer.from(term) }))
    .toSorted((a, b) => Buffer.compare(a.bytes, b.bytes))
    .map(({ term }) => term);
}

/** Splits at commas that are not escaped by a backslash. */
function splitTerms(text: string): readonly string[] {
  const terms: string[] = [];
  let start = 0;
  for (let index = 0; index < text.length; index += 1) {
    if (text[index] === '\\') index += 1;
    else if (text[index] === ',') {
      terms.push(text.slice(start, index));
      start = index + 1;
    }
  }
  terms.push(text.slice(start));
  return terms;
}

function unescapeValue(text: string): string {
  let value = '';
  let escaped = false;
  for (const character of text) {
    const special = character === '\\' || character === ',' || character === '=';
    if (escaped && !special) {
      throw new SelectorSyntaxError(`invalid field selector: invalid escape sequence: \\${character}`);
    }
    if (!escaped && (character === ',' || character === '=')) {
      const rune = character.codePointAt(0);
      throw new SelectorSyntaxError(`invalid field selector: unescaped character in value: ${rune}`);
    }
    if (!escaped && character === '\\') {
      escaped = true;
      continue;
    }
    escaped = false;
    value += character;
  }
  if (escaped) throw new SelectorSyntaxError('invalid field selector: invalid escape sequence: \\');
  return value;
}
