import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { EventWindow, WindowEntry } from './event-window.ts';
import type { StoreSnapshot } from './object-store.ts';
import type { Change, Listing, Position, Tombstone } from './watch-cache.ts';

/** What a follower needs to have all that a watch cache has. */
export interface History {
  /** The objects as they were at its version. */
  readonly listing: Listing;
  /** Deletes at or below `listing.rv`, ascending. */
  readonly tombstones: readonly Tombstone[];
  /**
   * Every delete above this version is in `tombstones` or `changes`. Above `listing.rv` only where a client that
   * holds that very version may lack a part of it: then nothing below can be resumed from.
   */
  readonly horizon: ResourceVersion;
  /** What came after the listing, without a hole. */
  readonly changes: readonly Change[];
}

/** The changes of `window` above `rv`, from the entry `first` on, which are without a hole, and the objects before them. */
export function rewind(
  window: EventWindow,
  snapshot: StoreSnapshot,
  from: { readonly first: number; readonly rv: ResourceVersion },
): { objects: KubeObject[]; changes: Change[] } {
  const { changes, before } = changesFrom(window, from, () => true);
  const objects: KubeObject[] = [];
  for (const object of snapshot.range()) {
    const was = before.has(object.key) ? before.get(object.key) : object;
    before.delete(object.key);
    if (was !== undefined) objects.push(was);
  }
  for (const was of before.values()) if (was !== undefined) objects.push(was);
  return { objects, changes };
}

/** The changes of `window` above `rv`, from the entry `first` on, that concern, and what stood under their keys before them. */
export function changesFrom(
  window: EventWindow,
  { first, rv }: { readonly first: number; readonly rv: ResourceVersion },
  concerns: (object: KubeObject) => boolean,
): { readonly changes: Change[]; readonly before: Map<string, KubeObject | undefined> } {
  const changes: Change[] = [];
  const before = new Map<string, KubeObject | undefined>();
  for (let at = first; at < window.end; at++) {
    const entry = window.at(at);
    const { object, previous } = entry;
    if (entry.rv <= rv || !concerns(object)) continue;
    changes.push(changeOf(entry));
    if (!before.has(object.key)) before.set(object.key, previous);
  }
  return { changes, before };
}

/** The changes of `window` behind `position`, from the entry `first` on, which are without a hole. */
export function changesBehind(window: EventWindow, first: number, position: Position): Change[] {
  let low = first;
  let high = window.end;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const { rv, index } = window.at(middle);
    if (rv < position.rv || (rv === position.rv && index <= position.index)) low = middle + 1;
    else high = middle;
  }
  const changes: Change[] = [];
  for (; low < window.end; low++) changes.push(changeOf(window.at(low)));
  return changes;
}

function changeOf(entry: WindowEntry): Change {
  const { type, object } = entry;
  return { type, object, frame: entry.frame(type) };
}
