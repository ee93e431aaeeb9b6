import { type Control, ControlConflict, type ControlEntry, ControlUnavailable } from './control.ts';
import { ControlView } from './control-view.ts';

interface Change {
  readonly key: string;
  readonly version: number;
  readonly value: unknown;
}

/** The table several MemoryControls share, with the faults a real one has. */
export class MemoryControlTable {
  /** False: no put gets through, as while the servers of a real table elect a leader. */
  available = true;
  readonly entries = new Map<string, ControlEntry>();
  readonly #controls = new Set<MemoryControl>();
  readonly #changes: Change[] = [];
  #version = 0;
  #telling = false;

  join(control: MemoryControl): void {
    this.#controls.add(control);
  }

  /** Puts `value`, or removes the entry if it is undefined. Throws ControlConflict. */
  change(key: string, value: unknown, expected: number | undefined): number {
    if (expected !== undefined && (this.entries.get(key)?.version ?? 0) !== expected) throw new ControlConflict(key);
    const version = ++this.#version;
    // A copy, as from a real table.
    const copy: unknown = value === undefined ? undefined : JSON.parse(JSON.stringify(value));
    if (copy === undefined) this.entries.delete(key);
    else this.entries.set(key, { value: copy, version });
    this.#changes.push({ key, version, value: copy });
    this.#tell();
    return version;
  }

  /** The store is lost with all there was. */
  lose(): void {
    this.entries.clear();
    for (const control of this.#controls) control.lose();
  }

  /** All see all changes in one order, also those a watcher makes. */
  #tell(): void {
    if (this.#telling) return;
    this.#telling = true;
    try {
      for (let next = this.#changes.shift(); next !== undefined; next = this.#changes.shift()) {
        for (const control of this.#controls) control.see(next);
      }
    } finally {
      this.#telling = false;
    }
  }
}

/** The control table inside one process, as one of those that share it has it. */
export class MemoryControl implements Control {
  /** True: what is put gets there, but this one is not told so. */
  losesAnswers = false;
  /** True: what was put comes to be seen by `caughtUp` alone. */
  lagging = false;
  readonly #table: MemoryControlTable;
  readonly #view = new ControlView();
  #reachable = true;

  constructor(table: MemoryControlTable) {
    this.#table = table;
    table.join(this);
    this.#catchUp();
  }

  /** False: cut off from the table. */
  get reachable(): boolean {
    return this.#reachable;
  }

  set reachable(reachable: boolean) {
    this.#reachable = reachable;
    this.#view.disturb();
    if (reachable && !this.lagging) this.#catchUp();
  }

  entry(key: string): ControlEntry | undefined {
    return this.#view.entry(key);
  }

  entries(prefix: string): ReadonlyMap<string, ControlEntry> {
    return this.#view.entries(prefix);
  }

  watch(prefix: string, onChange: (key: string, entry: ControlEntry | undefined) => void): () => void {
    return this.#view.watch(prefix, onChange);
  }

  onDisturbed(listener: () => void): () => void {
    return this.#view.onDisturbed(listener);
  }

  async caughtUp(): Promise<void> {
    this.#reach('');
    this.#catchUp();
  }

  async put(key: string, value: unknown, expected?: number): Promise<number> {
    return this.#change(key, value, expected);
  }

  async remove(key: string, expected?: number): Promise<void> {
    this.#change(key, undefined, expected);
  }

  see({ key, version, value }: Change): void {
    if (this.#reachable && !this.lagging) this.#view.see(key, version, value);
  }

  lose(): void {
    this.#view.lose();
  }

  #change(key: string, value: unknown, expected: number | undefined): number {
    this.#reach(key);
    const stored = expected === undefined ? undefined : this.#view.stored(key, expected);
    const version = this.#table.change(key, value, stored);
    if (this.losesAnswers) throw new ControlUnavailable(key, new Error('the answer was lost'));
    return version;
  }

  #reach(key: string): void {
    if (!this.#reachable || !this.#table.available) throw new ControlUnavailable(key, new Error('out of reach'));
  }

  #catchUp(): void {
    for (const [key, { version, value }] of this.#table.entries) this.#view.see(key, version, value);
    this.#view.retain(new Set(this.#table.entries.keys()));
  }
}

/** A control table in memory; those made with one `table` share it. */
export function createMemoryControl(table = new MemoryControlTable()): MemoryControl {
  return new MemoryControl(table);
}
