import { type FieldRequirement, parseFieldSelector, parseLabelSelector } from '@dogwatch/kube/selector.ts';
import { CheckError } from './check-error.ts';
import type { ObjectEvent } from './recorded.ts';

/** The part of a request that says which objects of a collection are meant. */
export interface Interest {
  readonly namespace?: string;
  readonly name?: string;
  /** In upstream's grammar. */
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/** An interest, parsed once. */
export interface Selector {
  /** Equal for interests that mean the same objects. */
  readonly key: string;
  matches(event: Pick<ObjectEvent, 'key' | 'labels' | 'fields'>): boolean;
}

/** Throws SelectorSyntaxError; `matches` throws CheckError where a field is selected that was not recorded. */
export function selectorOf({ namespace, name, labelSelector = '', fieldSelector = '' }: Interest): Selector {
  const labels = parseLabelSelector(labelSelector);
  const fields = parseFieldSelector(fieldSelector);
  return {
    key: JSON.stringify([namespace, name, labels.canonical, fields.canonical]),
    matches(event) {
      const [itsName = '', itsNamespace = ''] = event.key.split('/').toReversed();
      if (namespace !== undefined && namespace !== itsNamespace) return false;
      if (name !== undefined && name !== itsName) return false;
      if (!labels.empty && !labels.matches(new Map(Object.entries(event.labels)))) return false;
      return fields.requirements.every((requirement) => holds(requirement, event));
    },
  };
}

function holds(
  { field, equals, value }: FieldRequirement,
  { key, fields }: Pick<ObjectEvent, 'key' | 'fields'>,
): boolean {
  const [name = '', namespace = ''] = key.split('/').toReversed();
  const actual = field === 'metadata.name' ? name : field === 'metadata.namespace' ? namespace : fields?.[field];
  if (actual === undefined) {
    throw new CheckError('unknown_field', `${key} was recorded without ${field}, which a watch selects by; record it`);
  }
  return (actual === value) === equals;
}
