import { Attributes, type KubeObject, type ObjectSchema } from '@dogwatch/kube/kube-object.ts';
import type { Interest } from './interest.ts';

/** A part of a LIST, in key order. */
export interface ListPage {
  readonly objects: readonly KubeObject[];
  /** Key of the last object, below the interest's scope, if another page follows: that one may be empty (row L14). */
  readonly last: string | undefined;
  /** Objects behind this page, where upstream tells: if another page follows and nothing is selected by. */
  readonly remaining: number | undefined;
}

/** Which part. */
export interface PageBounds {
  /** Lowest key below the interest's scope; "" for the first page. */
  readonly start: string;
  /** Objects at most; infinity for all. */
  readonly limit: number;
}

/** What a page is cut out of. */
export interface PageSource {
  /** From the page's start on, everything that could be selected, and what upstream looks at too. */
  readonly candidates: Iterable<KubeObject>;
  /** How many objects of the scope there are from the page's start on. */
  readonly count: () => number;
}

/**
 * Cuts a page as upstream does: it ends with the object that makes it full, and another follows if there is anything
 * left to look at, selected or not (row L14).
 */
export function cutPage(interest: Interest, schema: ObjectSchema, limit: number, source: PageSource): ListPage {
  const objects: KubeObject[] = [];
  const all = interest.selectsWholeScope;
  for (const object of source.candidates) {
    if (objects.length === limit) {
      const last = objects.at(-1)!.key.slice(interest.keyPrefix.length);
      return { objects, last, remaining: all ? source.count() - limit : undefined };
    }
    if (all || interest.matches(new Attributes(schema, object))) objects.push(object);
  }
  return { objects, last: undefined, remaining: undefined };
}
