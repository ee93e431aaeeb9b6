import { Attributes, type KubeObject, type ObjectSchema } from '@dogwatch/kube/kube-object.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Interest } from './interest.ts';
import { type ListPage, cutPage } from './list-page.ts';
import type { Held, ObjectStore, StoreSnapshot } from './object-store.ts';

/**
 * What an interest selects of a store, as it was when this was made: later changes do not disturb it. An interest in
 * one object, or in one value of the indexed field, costs its own objects and not all there are.
 */
export class Selection {
  readonly #schema: ObjectSchema;
  readonly #interest: Interest;
  readonly #snapshot: StoreSnapshot;
  /** The only keys it can be, in key order; undefined where an index does not tell. */
  readonly #keys: readonly string[] | undefined;

  /** `snapshot` is of `store` as it is now. */
  constructor(interest: Interest, of: { schema: ObjectSchema; store: ObjectStore; snapshot: StoreSnapshot }) {
    this.#schema = of.schema;
    this.#interest = interest;
    this.#snapshot = of.snapshot;
    const indexed = interest.indexedValue(of.schema) ?? '';
    if (interest.name !== '' && (interest.namespace !== '' || !isNamespaced(of.snapshot))) {
      this.#keys = [interest.keyPrefix + interest.name];
    } else this.#keys = indexed === '' ? undefined : of.store.keysOf(indexed);
  }

  /** The objects in key order. */
  *[Symbol.iterator](): Generator<KubeObject, void> {
    for (const object of this.#candidates()) if (this.#selects(object)) yield object;
  }

  /** The first `limit` of them; what is behind is counted as upstream does, which has the same index. */
  page(limit: number): ListPage {
    const { keyPrefix } = this.#interest;
    return cutPage(this.#interest, this.#schema, limit, {
      candidates: this.#indexedCandidates(),
      count: () => this.#snapshot.count(keyPrefix),
    });
  }

  /** The `countMax` oldest of the objects newer than `rv`, ascending; more only where they share the last version. */
  oldestNewer(rv: ResourceVersion, countMax: number): Held[] {
    let found: Held[] = [];
    let limit = Number.POSITIVE_INFINITY;
    this.#visitNewer(rv, (object, born) => {
      if (object.rv > limit || !this.#selects(object)) return;
      found.push({ object, born });
      if (found.length < countMax * 2) return;
      found = lowest(found, countMax);
      limit = found.at(-1)!.object.rv;
    });
    return lowest(found, countMax);
  }

  *#candidates(): Generator<KubeObject, void> {
    if (this.#keys === undefined) return yield* this.#snapshot.range(this.#interest.keyPrefix);
    for (const key of this.#keys) {
      const object = this.#snapshot.get(key);
      if (object !== undefined) yield object;
    }
  }

  /** Also where the value asked of the indexed field is none, for which there is no index here. */
  *#indexedCandidates(): Generator<KubeObject, void> {
    const value = this.#interest.indexedValue(this.#schema);
    for (const object of this.#candidates()) {
      if (value === undefined || (object.indexed === value && object.key.startsWith(this.#interest.keyPrefix)))
        yield object;
    }
  }

  #visitNewer(rv: ResourceVersion, visit: (object: KubeObject, born: ResourceVersion) => void): void {
    if (this.#keys === undefined) return this.#snapshot.visitNewer(rv, this.#interest.keyPrefix, visit);
    for (const key of this.#keys) {
      const held = this.#snapshot.find(key);
      if (held !== undefined && held.object.rv > rv) visit(held.object, held.born);
    }
  }

  #selects(object: KubeObject): boolean {
    return this.#interest.matches(new Attributes(this.#schema, object));
  }
}

/** The `count` lowest of `held` by version, ascending, and all that share the last one's. */
function lowest(held: Held[], count: number): Held[] {
  held.sort((a, b) => a.object.rv - b.object.rv);
  const last = held[count - 1]?.object.rv;
  if (last === undefined) return held;
  const end = held.findIndex(({ object }) => object.rv > last);
  return end === -1 ? held : held.slice(0, end);
}

/** Keys of namespaced resources have a slash, those of others none. */
function isNamespaced(snapshot: StoreSnapshot): boolean {
  const first = snapshot.range().next().value;
  return first === undefined || first.key.includes('/');
}
