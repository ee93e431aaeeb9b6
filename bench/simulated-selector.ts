import type { ObjectFacts } from './simulated-object.ts';
import type { SimulatedResource } from './simulated-resources.ts';

/** A selector that could not be parsed or is not supported; `message` is upstream's text for a 400. */
export class BadSelector extends Error {
  readonly code = 'BadSelector';
}

/** What a LIST or WATCH asked for: a namespace (undefined: all), a name, and selectors. */
export interface Scope {
  readonly namespace?: string;
  readonly name?: string;
  readonly labels: readonly LabelRequirement[];
  readonly fields: readonly FieldRequirement[];
}

interface LabelRequirement {
  readonly key: string;
  readonly operator: 'exists' | 'missing' | 'in' | 'notin';
  readonly values: readonly string[];
}

interface FieldRequirement {
  readonly field: string;
  readonly value: string;
  readonly equal: boolean;
}

const LABEL_KEY = String.raw`[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?`;
const SET = new RegExp(String.raw`^(?<key>${LABEL_KEY})\s+(?<operator>in|notin)\s*\((?<values>[^()]*)\)$`);
const EQUALITY = new RegExp(String.raw`^(?<key>${LABEL_KEY})\s*(?<operator>==|=|!=)\s*(?<value>[-A-Za-z0-9_.]*)$`);
const EXISTENCE = new RegExp(String.raw`^(?<not>!?)\s*(?<key>${LABEL_KEY})$`);

/** Parses a label selector (equality and set based). Throws BadSelector. */
export function parseLabelSelector(text: string): LabelRequirement[] {
  if (text.trim() === '') return [];
  return text.split(/,(?![^(]*\))/).map((part) => labelRequirement(part.trim()));
}

function labelRequirement(part: string): LabelRequirement {
  const set = SET.exec(part)?.groups;
  if (set !== undefined) {
    const values = (set['values'] ?? '').split(',').map((value) => value.trim());
    return { key: set['key'] ?? '', operator: set['operator'] === 'in' ? 'in' : 'notin', values };
  }
  const equality = EQUALITY.exec(part)?.groups;
  if (equality !== undefined) {
    const operator = equality['operator'] === '!=' ? 'notin' : 'in';
    return { key: equality['key'] ?? '', operator, values: [equality['value'] ?? ''] };
  }
  const existence = EXISTENCE.exec(part)?.groups;
  if (existence === undefined) throw new BadSelector(`unable to parse requirement: ${JSON.stringify(part)}`);
  return { key: existence['key'] ?? '', operator: existence['not'] === '!' ? 'missing' : 'exists', values: [] };
}

/** Parses a field selector of one resource. Throws BadSelector for a field upstream does not index. */
export function parseFieldSelector(text: string, resource: SimulatedResource): FieldRequirement[] {
  if (text === '') return [];
  return text.split(',').map((part) => {
    const groups = /^(?<field>[^=!]+)(?<operator>==|=|!=)(?<value>.*)$/.exec(part)?.groups;
    if (groups === undefined) throw new BadSelector(`invalid selector: '${text}'; can't understand '${part}'`);
    const field = groups['field'] ?? '';
    const known = field === 'metadata.name' || (field === 'metadata.namespace' && resource.namespaced);
    if (!known && !resource.fields.includes(field)) throw new BadSelector(unknownField(field, resource));
    return { field, value: groups['value'] ?? '', equal: groups['operator'] !== '!=' };
  });
}

function unknownField(field: string, resource: SimulatedResource): string {
  return resource.fields.length > 0
    ? `field label not supported: ${field}`
    : `"${field}" is not a known field selector: only "metadata.name", "metadata.namespace"`;
}

/** True if the object is one the scope asked for. */
export function inScope(object: ObjectFacts, scope: Scope): boolean {
  if (scope.namespace !== undefined && object.namespace !== scope.namespace) return false;
  if (scope.name !== undefined && object.name !== scope.name) return false;
  return (
    scope.fields.every((wanted) => fieldMatches(object, wanted)) &&
    scope.labels.every((wanted) => labelMatches(object, wanted))
  );
}

/** True if nothing narrows the scope beyond its namespace. */
export function isWholeNamespace(scope: Scope): boolean {
  return scope.name === undefined && scope.fields.length === 0 && scope.labels.length === 0;
}

function fieldMatches(object: ObjectFacts, { field, value, equal }: FieldRequirement): boolean {
  return (fieldValue(object, field) === value) === equal;
}

function fieldValue(object: ObjectFacts, field: string): string {
  if (field === 'metadata.name') return object.name;
  if (field === 'metadata.namespace') return object.namespace;
  return object.fields[field] ?? '';
}

function labelMatches({ labels }: ObjectFacts, { key, operator, values }: LabelRequirement): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'exists':
      return value !== undefined;
    case 'missing':
      return value === undefined;
    case 'in':
      return value !== undefined && values.includes(value);
    case 'notin':
      return value === undefined || !values.includes(value);
  }
}
