import type { KubeObject } from '@dogwatch/kube/kube-object.ts';

const PAGE_MAX = 512;

interface Page {
  /** Store generation that may write to this page in place; an older page is shared with a snapshot. */
  readonly generation: number;
  readonly objects: KubeObject[];
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

/** The first index in `objects` whose key is not below `key`. */
function lowerBound(objects: readonly KubeObject[], key: string): number {
  let low = 0;
  let high = objects.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(objects[middle]!.key, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The index of the page that holds `key` or would receive it. */
function pageOf(pages: readonly Page[], key: string): number {
  let low = 0;
  let high = pages.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (compareKeys(pages[middle]!.objects[0]!.key, key) <= 0) low = middle;
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

  get size(): number {
    return this.#size;
  }

  /** Sum of the stored objects' bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): KubeObject | undefined {
    const page = this.#pages[pageOf(this.#pages, key)];
    if (page === undefined) return undefined;
    const found = page.objects[lowerBound(page.objects, key)];
    return found?.key === key ? found : undefined;
  }

  /** Puts `object`, and returns what stood under its key. */
  set(object: KubeObject): KubeObject | undefined {
    this.#unsharePages();
    if (this.#pages.length === 0) this.#pages.push({ generation: this.#generation, objects: [] });
    const at = this.#pages.length === 1 && this.#size === 0 ? 0 : pageOf(this.#pages, object.key);
    const { objects } = this.#writable(at);
    const index = lowerBound(objects, object.key);
    const previous = objects[index];
    this.#bytes += object.bytes.length;
    if (previous?.key === object.key) {
      objects[index] = object;
      this.#bytes -= previous.bytes.length;
      return previous;
    }
    objects.splice(index, 0, object);
    this.#size++;
    if (objects.length > PAGE_MAX) {
      // Ascending inserts (a list) fill pages; others split in the middle.
      const cut = index === objects.length - 1 ? index : objects.length >>> 1;
      this.#pages.splice(at + 1, 0, { generation: this.#generation, objects: objects.splice(cut) });
    }
    return undefined;
  }

  /** Removes and returns what stood under `key`. */
  delete(key: string): KubeObject | undefined {
    if (this.get(key) === undefined) return undefined;
    this.#unsharePages();
    const at = pageOf(this.#pages, key);
    const { objects } = this.#writable(at);
    const [removed] = objects.splice(lowerBound(objects, key), 1);
    if (objects.length === 0) this.#pages.splice(at, 1);
    this.#size--;
    this.#bytes -= removed!.bytes.length;
    return removed;
  }

  /** The objects as they are now; later writes do not change it. Constant time. */
  snapshot(): StoreSnapshot {
    this.#generation++;
    this.#pagesShared = true;
    return new StoreSnapshot(this.#pages, this.#size);
  }

  #unsharePages(): void {
    if (!this.#pagesShared) return;
    this.#pages = this.#pages.slice();
    this.#pagesShared = false;
  }

  #writable(at: number): Page {
    const page = this.#pages[at]!;
    if (page.generation === this.#generation) return page;
    const copy = { generation: this.#generation, objects: page.objects.slice() };
    this.#pages[at] = copy;
    return copy;
  }
}

/** A frozen view of an ObjectStore, in key order. */
export class StoreSnapshot {
  readonly #pages: readonly Page[];
  readonly size: number;

  constructor(pages: readonly Page[], size: number) {
    this.#pages = pages;
    this.size = size;
  }

  /** Objects whose key begins with `prefix` ("" for all, `ns/` for a namespace), from the first key not below it. */
  *range(prefix = ''): Generator<KubeObject, void> {
    if (this.#pages.length === 0) return;
    let at = prefix === '' ? 0 : pageOf(this.#pages, prefix);
    let index = lowerBound(this.#pages[at]!.objects, prefix);
    for (; at < this.#pages.length; at++, index = 0) {
      const { objects } = this.#pages[at]!;
      for (; index < objects.length; index++) {
        if (!objects[index]!.key.startsWith(prefix)) return;
        yield objects[index]!;
      }
    }
  }

  get(key: string): KubeObject | undefined {
    const [first] = this.range(key);
    return first?.key === key ? first : undefined;
  }
}
