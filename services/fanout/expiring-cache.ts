import { LRUCache } from 'lru-cache';

export interface ExpiringCacheOptions {
  readonly maxEntries: number;
  /** Of keys and values together, as the caller weighs them. */
  readonly maxBytes: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

interface Entry<Value> {
  readonly value: Value;
  readonly expiresAt: number;
}

/** Values that hold for a time of their own; at either bound the least recently used goes. */
export class ExpiringCache<Value> {
  readonly #entries: LRUCache<string, Entry<Value>>;
  readonly #now: () => number;

  constructor({ maxEntries, maxBytes, now }: ExpiringCacheOptions) {
    this.#entries = new LRUCache({ max: maxEntries, maxSize: maxBytes, maxEntrySize: maxBytes });
    this.#now = now;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): Value | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    if (this.#now() < entry.expiresAt) return entry.value;
    this.#entries.delete(key);
    return undefined;
  }

  /** `bytes`: the value's weight; the key's is added. Nothing is kept for a time of 0 or less. */
  set(key: string, value: Value, { ttlMs, bytes }: { ttlMs: number; bytes: number }): void {
    if (ttlMs <= 0) return;
    this.#entries.set(key, { value, expiresAt: this.#now() + ttlMs }, { size: key.length + bytes + 1 });
  }
}
