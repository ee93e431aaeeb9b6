import type { Interest } from '@dogwatch/checker/interest.ts';
import type { ObjectEvent } from '@dogwatch/checker/recorded.ts';

/** What a watch of a spread asks for, with the name of its kind. */
export interface SpreadInterest {
  readonly kind: (typeof KINDS)[number];
  readonly interest: Interest;
}

const KINDS = ['everything', 'namespace', 'label', 'not label', 'no label', 'name'] as const;

/**
 * `count` interests of every kind in turn, about objects that are there, each within `base`. Where the objects give no
 * reason for a kind (no labels, no namespaces), it is everything.
 */
export function spreadInterests(objects: readonly ObjectEvent[], base: Interest, count: number): SpreadInterest[] {
  return Array.from({ length: count }, (_, i) => {
    const kind = KINDS[i % KINDS.length] ?? 'everything';
    const object = objects[Math.floor(i / KINDS.length) % Math.max(1, objects.length)];
    const interest = object && interestOf(kind, object, base);
    return interest === undefined ? { kind: 'everything', interest: base } : { kind, interest };
  });
}

function interestOf(kind: SpreadInterest['kind'], object: ObjectEvent, base: Interest): Interest | undefined {
  const [name = '', namespace] = object.key.split('/').toReversed();
  const [label] = Object.entries(object.labels);
  const selecting = (labelSelector: string): Interest => ({
    ...base,
    labelSelector: base.labelSelector === undefined ? labelSelector : `${base.labelSelector},${labelSelector}`,
  });
  switch (kind) {
    case 'everything':
      return base;
    case 'namespace':
      return namespace === undefined || base.namespace !== undefined ? undefined : { ...base, namespace };
    case 'label':
      return label && selecting(`${label[0]}=${label[1]}`);
    case 'not label':
      return label && selecting(`${label[0]}!=${label[1]}`);
    case 'no label':
      return label && selecting(`!${label[0]}`);
    case 'name':
      return { ...base, fieldSelector: `metadata.name=${name}` };
  }
}
