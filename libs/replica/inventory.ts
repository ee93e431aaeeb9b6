import type { InventoryScope, LaneInventory } from '@dogwatch/bus/bus.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { parseFieldSelector, parseLabelSelector } from '@dogwatch/kube/selector.ts';
import { Interest } from '@dogwatch/watch/interest.ts';
import type { Extent } from '@dogwatch/watch/lane-view.ts';
import type { WatchCache } from '@dogwatch/watch/watch-cache.ts';

/** All of a lane. */
export const WHOLE_LANE: Extent = {
  interest: new Interest({ namespace: '', name: '', labels: parseLabelSelector(''), fields: parseFieldSelector('') }),
  limit: 0,
};

/** `extent` without its shards, as a LIST asks for it: not every upstream can list shards, and what is equal as a whole is in its parts. */
export function withoutShards({ interest, limit }: Extent): Extent {
  if (interest.shards === undefined) return { interest, limit };
  const { namespace, name, labels, fields } = interest;
  // Of a page of shards it is not known where it ends.
  return { interest: new Interest({ namespace, name, labels, fields }), limit: 0 };
}

/** Equal for extents that an inventory can be shared by. */
export function extentKey({ interest, limit }: Extent): string {
  return `${limit} ${interest.key}`;
}

/** How upstream is asked for an inventory of `extent`. */
export function inventoryScope({ interest: { namespace, name, labels, fields }, limit }: Extent): InventoryScope {
  const byName = name === '' || fields.exactValue('metadata.name') !== undefined ? [] : [`metadata.name=${name}`];
  const fieldSelector = [...(fields.empty ? [] : [fields.canonical]), ...byName].join(',');
  return { namespace, labelSelector: labels.canonical, fieldSelector, limit };
}

/** How many objects inventories would be of, as far as caches know; a herd that asks for the same is counted for once. */
export class InventorySizes {
  readonly #max: number;
  #last: { readonly cache: WatchCache; readonly end: number; readonly key: string; readonly size: number } | undefined;

  /** Counts up to `max` and one more. */
  constructor(max: number) {
    this.#max = max;
  }

  of(cache: WatchCache, extent: Extent): number {
    const { interest, limit } = extent;
    const most = Math.min(cache.size, limit === 0 ? Infinity : limit, interest.name === '' ? Infinity : 1);
    if (most <= this.#max || (interest.namespace === '' && interest.selectsWholeScope)) return most;
    const key = extentKey(extent);
    const { end } = cache.window;
    if (this.#last?.cache !== cache || this.#last.end !== end || this.#last.key !== key) {
      this.#last = { cache, end, key, size: this.#count(cache, interest) };
    }
    return this.#last.size;
  }

  #count(cache: WatchCache, interest: Interest): number {
    let count = 0;
    for (const _ of cache.select(interest)) if (++count > this.#max) break;
    return count;
  }
}

/** What upstream held of an extent at a version, to be compared with what a cache holds. */
export class Inventory {
  readonly rv: ResourceVersion;
  readonly extent: Extent;
  readonly #found: LaneInventory;
  #last: { readonly cache: WatchCache; readonly end: number; readonly equal: boolean } | undefined;
  /** Key of an object that the cache looked at last does not hold as the inventory has it. */
  #unlike: string | undefined;

  constructor(found: LaneInventory, extent: Extent) {
    this.rv = found.rv;
    this.#found = found;
    this.extent = extent;
  }

  /** True if `cache` holds of the extent exactly these objects, each at its version. Looked at anew after changes only. */
  equals(cache: WatchCache): boolean {
    const { end } = cache.window;
    if (this.#last?.cache !== cache || this.#last.end !== end) {
      this.#last = { cache, end, equal: this.#isLike(cache) && this.#compare(cache) };
    }
    return this.#last.equal;
  }

  /** False if the object that made the difference still does. */
  #isLike(cache: WatchCache): boolean {
    if (this.#unlike === undefined) return true;
    const [found, held] = [this.#found.objects.get(this.#unlike), cache.get(this.#unlike)];
    if (found?.uid !== held?.uid || found?.rv !== held?.rv) return false;
    this.#unlike = undefined;
    return true;
  }

  /** Both are in key order. */
  #compare(cache: WatchCache): boolean {
    const { objects, more = false } = this.#found;
    const { interest, limit } = this.extent;
    const found = objects.entries();
    let count = 0;
    for (const held of cache.select(interest)) {
      if (limit > 0 && count === limit) return more;
      const next = found.next();
      if (next.done === true) return false;
      const [key, { uid, rv }] = next.value;
      if (key !== held.key || uid !== held.uid || rv !== held.rv) {
        this.#unlike = key;
        return false;
      }
      count++;
    }
    return count === objects.size && !more;
  }
}
