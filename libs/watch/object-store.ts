import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { ValueIndex } from './value-index.ts';

const PAGE_MAX = 512;

/** An object, and what is remembered of it over all its versions. */
export interface Held {
  readonly object: KubeObject;
  /** Version at which it was created, or found by a repair; 0 if that was before anybody looked. */
  readonly born: ResourceVersion;
}

interface Page {
  /** Store generation that may write to this page in place; an older page is shared with a snapshot. */
  readonly generation: number;
  readonly objects: KubeObject[];
  /** Of each object, as in `Held`. */
  readonly born: ResourceVersion[];
  /** No object of the page is newer. */
  newest: ResourceVersion;
}

/** Upstream's storage order is by UTF-8 bytes; UTF-16 units differ from it only where surrogates meet U+E000..U+FFFF. */
export function compareKeys(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    if (x < 0xd800 || y < 0xd800) return x - y;
    const xSurrogate = x <= 0xdfff;
    return xSurrogate === y <= 0xdfff ? x - y : xSurrogate ? 1 : -1;
  }
  return a.length - b.length;
}

/** Keys with none of these are compared alike by UTF-16 units and by UTF-8 bytes: natively, five times as fast. */
const UNUSUAL = /[\ud800-\uffff]/;

/** `keys` in upstream's storage order. */
export function sortKeys(keys: Iterable<string>): string[] {
  const sorted = [...keys];
  return sorted.some((key) => UNUSUAL.test(key)) ? sorted.sort(compareKeys) : sorted.sort();
}

/** Whether `a` stands before `key`, which is `usual` or not. */
function isBefore(a: string, key: string, usual: boolean): boolean {
  return usual ? a < key : compareKeys(a, key) < 0;
}

/** The first index in `objects` whose key is not below `key`. */
function lowerBound(objects: readonly KubeObject[], key: string): number {
  const usual = !UNUSUAL.test(key);
  let low = 0;
  let high = objects.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(objects[middle]!.key, key, usual)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The index of the page that holds `key` or would receive it. */
function pageOf(pages: readonly Page[], key: string): number {
  const usual = !UNUSUAL.test(key);
  let low = 0;
  let high = pages.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    const first = pages[middle]!.objects[0]!.key;
    if (first === key || isBefore(first, key, usual)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * The current objects of a lane, sorted by key in pages of at most 512. A snapshot takes the page list as it is, in
 * constant time; a write to a page that a snapshot may still read copies that page first. So any number of lists and
 * initial events can be read at leisure while events are applied, and an unused snapshot costs nothing.
 */
export class ObjectStore {
  #pages: Page[] = [];
  #generation = 0;
  #pagesShared = false;
  #size = 0;
  #bytes = 0;
  /** Keys by the value of the indexed field, where there is one. */
  readonly #indexed = new ValueIndex<string>();

  get size(): number {
    return this.#size;
  }

  /** Sum of the stored objects' bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): KubeObject | undefined {
    return this.find(key)?.object;
  }

  find(key: string): Held | undefined {
    return findIn(this.#pages, key);
  }

  /** The keys of the objects whose indexed field has `value`, in key order; "" is not indexed. */
  keysOf(value: string): string[] {
    return sortKeys(this.#indexed.get(value));
  }

  /** Puts `object`, and returns what stood under its key. `born` is taken where the object is a new one. */
  set(object: KubeObject, born?: ResourceVersion): KubeObject | undefined {
    this.#unsharePages();
    if (this.#pages.length === 0) this.#pages.push({ generation: this.#generation, objects: [], born: [], newest: 0 });
    const at = this.#pages.length === 1 && this.#size === 0 ? 0 : pageOf(this.#pages, object.key);
    const page = this.#writable(at);
    const { objects } = page;
    const index = lowerBound(objects, object.key);
    const previous = objects[index];
    this.#bytes += object.bytes.length;
    if (object.rv > page.newest) page.newest = object.rv;
    if (previous?.key === object.key) {
      objects[index] = object;
      this.#bytes -= previous.bytes.length;
      if (born !== undefined && previous.uid !== object.uid) page.born[index] = born;
      if (previous.indexed !== object.indexed) this.#reindex(object.key, previous.indexed, object.indexed);
      return previous;
    }
    objects.splice(index, 0, object);
    page.born.splice(index, 0, born ?? 0);
    this.#size++;
    this.#reindex(object.key, '', object.indexed);
    if (objects.length > PAGE_MAX) {
      // Ascending inserts (a list) fill pages; others split in the middle.
      const cut = index === objects.length - 1 ? index : objects.length >>> 1;
      const { generation, newest } = page;
      this.#pages.splice(at + 1, 0, { generation, objects: objects.splice(cut), born: page.born.splice(cut), newest });
    }
    return undefined;
  }

  /** Removes and returns what stood under `key`. */
  delete(key: string): Held | undefined {
    const at = pageOf(this.#pages, key);
    const index = lowerBound(this.#pages[at]?.objects ?? [], key);
    if (this.#pages[at]?.objects[index]?.key !== key) return undefined;
    this.#unsharePages();
    const page = this.#writable(at);
    const object = page.objects[index]!;
    const born = page.born[index]!;
    page.objects.splice(index, 1);
    page.born.splice(index, 1);
    if (page.objects.length === 0) this.#pages.splice(at, 1);
    this.#size--;
    this.#bytes -= object.bytes.length;
    this.#reindex(key, object.indexed, '');
    return { object, born };
  }

  /** The objects as they are now; later writes do not change it. Constant time. */
  snapshot(): StoreSnapshot {
    this.#generation++;
    this.#pagesShared = true;
    return new StoreSnapshot(this.#pages, this.#size);
  }

  #reindex(key: string, from: string, to: string): void {
    if (from !== '') this.#indexed.remove(from, key);
    if (to !== '') this.#indexed.add(to, key);
  }

  #unsharePages(): void {
    if (!this.#pagesShared) return;
    this.#pages = this.#pages.slice();
    this.#pagesShared = false;
  }

  #writable(at: number): Page {
    const page = this.#pages[at]!;
    const generation = this.#generation;
    if (page.generation === generation) return page;
    const copy = { generation, objects: page.objects.slice(), born: page.born.slice(), newest: page.newest };
    this.#pages[at] = copy;
    return copy;
  }
}

function findIn(pages: readonly Page[], key: string): Held | undefined {
  const page = pages[pageOf(pages, key)];
  if (page === undefined) return undefined;
  const index = lowerBound(page.objects, key);
  const object = page.objects[index];
  return object?.key === key ? { object, born: page.born[index]! } : undefined;
}

/** The first index in `objects` whose key neither stands before `prefix` nor begins with it. */
function endOf(objects: readonly KubeObject[], prefix: string): number {
  let low = lowerBound(objects, prefix);
  let high = objects.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (objects[middle]!.key.startsWith(prefix)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A frozen view of an ObjectStore, in key order. */
export class StoreSnapshot {
  readonly #pages: readonly Page[];
  readonly size: number;

  constructor(pages: readonly Page[], size: number) {
    this.#pages = pages;
    this.size = size;
  }

  /** Objects whose key begins with `prefix` ("" for all, `ns/` for a namespace), from the first key not below `from`. */
  *range(prefix = '', from = prefix): Generator<KubeObject, void> {
    if (this.#pages.length === 0) return;
    let at = from === '' ? 0 : pageOf(this.#pages, from);
    let index = lowerBound(this.#pages[at]!.objects, from);
    for (; at < this.#pages.length; at++, index = 0) {
      const { objects } = this.#pages[at]!;
      for (; index < objects.length; index++) {
        if (!objects[index]!.key.startsWith(prefix)) return;
        yield objects[index]!;
      }
    }
  }

  /** How many objects `range` would give; costs the pages of the range, not its objects. */
  count(prefix = '', from = prefix): number {
    const first = from === '' ? 0 : pageOf(this.#pages, from);
    let count = 0;
    for (let at = first; at < this.#pages.length; at++) {
      const { objects } = this.#pages[at]!;
      const start = at === first ? lowerBound(objects, from) : 0;
      if (start === objects.length) continue;
      if (!objects.at(-1)!.key.startsWith(prefix)) return count + endOf(objects, prefix) - start;
      count += objects.length - start;
    }
    return count;
  }

  /**
   * Calls `visit` for the objects of a range that are newer than `rv`. Pages without any are passed over, so that few
   * changes of a large lane cost little more than its pages.
   */
  visitNewer(rv: ResourceVersion, prefix: string, visit: (object: KubeObject, born: ResourceVersion) => void): void {
    const first = prefix === '' ? 0 : pageOf(this.#pages, prefix);
    for (let at = first; at < this.#pages.length; at++) {
      const { objects, born, newest } = this.#pages[at]!;
      // Keys of the prefix stand together, and may begin within the first page only.
      if (at > first && !objects[0]!.key.startsWith(prefix)) return;
      if (newest <= rv) continue;
      for (let index = at === first ? lowerBound(objects, prefix) : 0; index < objects.length; index++) {
        const object = objects[index]!;
        if (!object.key.startsWith(prefix)) return;
        if (object.rv > rv) visit(object, born[index]!);
      }
    }
  }

  get(key: string): KubeObject | undefined {
    return this.find(key)?.object;
  }

  find(key: string): Held | undefined {
    return findIn(this.#pages, key);
  }
}
