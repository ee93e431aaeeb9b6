import { ControlConflict, type ControlEntry } from './control.ts';

type OnChange = (key: string, entry: ControlEntry | undefined) => void;

/** The control table as far as one process has seen it. */
export class ControlView {
  readonly #entries = new Map<string, ControlEntry>();
  readonly #watchers = new Set<{ readonly prefix: string; readonly onChange: OnChange }>();
  /** Keys of entries that went down with the table's store and that nobody has put again. */
  readonly #lost = new Set<string>();
  readonly #disturbed = new Set<() => void>();

  entry(key: string): ControlEntry | undefined {
    return this.#entries.get(key);
  }

  entries(prefix: string): Map<string, ControlEntry> {
    return new Map([...this.#entries].filter(([key]) => key.startsWith(prefix)));
  }

  watch(prefix: string, onChange: OnChange): () => void {
    const watcher = { prefix, onChange };
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  onDisturbed(listener: () => void): () => void {
    this.#disturbed.add(listener);
    return () => this.#disturbed.delete(listener);
  }

  /** Changes may have been held up. */
  disturb(): void {
    for (const listener of Array.from(this.#disturbed)) listener();
  }

  /** The table has, or had, this: `value` is undefined where the entry was removed. Throws what a watcher throws. */
  see(key: string, version: number, value: unknown): void {
    const held = this.#entries.get(key);
    if (!this.#lost.delete(key) && held !== undefined && held.version >= version) return;
    if (value !== undefined) this.#change(key, { value, version });
    else if (held !== undefined) this.#change(key, undefined);
  }

  /** The store of the table was lost with all there was. */
  lose(): void {
    for (const key of this.#entries.keys()) this.#lost.add(key);
    this.disturb();
  }

  /** All there is in the table has these keys: what has another was removed without our seeing it. */
  retain(keys: ReadonlySet<string>): void {
    for (const key of Array.from(this.#entries.keys())) {
      if (!keys.has(key) && !this.#lost.has(key)) this.#change(key, undefined);
    }
  }

  /** The version the store must have so that the entry is the one `expected`. Throws ControlConflict if it cannot be. */
  stored(key: string, expected: number): number {
    if (!this.#lost.has(key)) return expected;
    if (this.#entries.get(key)?.version !== expected) throw new ControlConflict(key);
    return 0;
  }

  #change(key: string, entry: ControlEntry | undefined): void {
    if (entry === undefined) this.#entries.delete(key);
    else this.#entries.set(key, entry);
    for (const watcher of Array.from(this.#watchers)) {
      if (key.startsWith(watcher.prefix) && this.#watchers.has(watcher)) watcher.onChange(key, entry);
    }
  }
}
