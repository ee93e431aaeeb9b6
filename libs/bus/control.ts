/** One entry of the control table as it was last seen. */
export interface ControlEntry {
  /** JSON as it was put. */
  readonly value: unknown;
  /** Grows with every change of the table, also if it was lost in between; names this change of it. */
  readonly version: number;
}

/**
 * A small table all processes of one dogwatch share: who lives, who leads, which lanes are open. Entries stay until they
 * are removed; who may rely on one that nobody renews is for its reader to decide. Keys are paths: `member/shard/shard-0`.
 *
 * If the table's store is lost, everybody keeps the entries they have seen, as if they were still there: one put over
 * the version seen puts the entry back, and only one of several rivals can. Who begins then does not see them.
 */
export interface Control {
  /** The entry of a key, as far as this process has seen it. */
  entry(key: string): ControlEntry | undefined;
  /** A copy of the entries whose key begins with `prefix`, as far as this process has seen them. */
  entries(prefix: string): ReadonlyMap<string, ControlEntry>;
  /** Calls `onChange` for every change under `prefix` seen from now on; `entry` is undefined where it was removed. */
  watch(prefix: string, onChange: (key: string, entry: ControlEntry | undefined) => void): () => void;
  /**
   * Calls `listener` when changes may have been held up on their way to or from any process: a connection broke, the
   * table was read anew or lost. That an entry was not renewed before says nothing. Returns how to stop.
   */
  onDisturbed(listener: () => void): () => void;
  /** Resolves once everything in the table at some moment after this call has been seen. Rejects with ControlUnavailable. */
  caughtUp(): Promise<void>;
  /**
   * Puts `value`, anything JSON has, and resolves with its version. With `expected` only over the entry of that version
   * (0: over none). Rejects with ControlConflict, and with ControlUnavailable where it is not known whether it was put
   * or may yet be.
   */
  put(key: string, value: unknown, expected?: number): Promise<number>;
  /** Removes an entry, as put does. */
  remove(key: string, expected?: number): Promise<void>;
}

/** The entry is not of the version expected: somebody else has put one. */
export class ControlConflict extends Error {
  readonly code = 'ControlConflict';
  constructor(key: string) {
    super(`control entry ${key} is not what it was expected to be`);
  }
}

/** The table cannot be reached now, as while its servers elect a leader. */
export class ControlUnavailable extends Error {
  readonly code = 'ControlUnavailable';
  /** Without a key it is the table as a whole. */
  constructor(key: string, cause: unknown) {
    super(`${key === '' ? 'the control table' : `control entry ${key}`} cannot be reached now`, { cause });
  }
}
