import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { ChangeType } from './event-window.ts';
import type { Selection } from './selection.ts';
import type { Tombstone } from './watch-cache.ts';

/** An event that tells of an object's state, not of the change that led to it. */
export interface StateEvent {
  readonly type: ChangeType;
  readonly object: KubeObject;
}

/** Objects looked up at a time: what a client that reads slowly has kept for it, and one pass over the objects each. */
const OBJECTS_PER_PASS = 8_192;

/**
 * The newest state of every selected object changed since `rv`, and what has gone since, ascending: so that a client
 * cut off in the middle can go on from the version it was sent last, and the DELETED of an object comes before the
 * ADDED of its successor. Objects that came and went are left out. `departed` ascends.
 */
export function* stateDiff(
  rv: ResourceVersion,
  selection: Selection,
  departed: readonly Tombstone[],
): Generator<StateEvent, void> {
  let gone = 0;
  let from = rv;
  for (;;) {
    const changed = selection.oldestNewer(from, OBJECTS_PER_PASS);
    for (const { object, born } of changed) {
      while (gone < departed.length && departed[gone]!.object.rv <= object.rv) {
        yield { type: 'DELETED', object: departed[gone++]!.object };
      }
      yield { type: born > rv ? 'ADDED' : 'MODIFIED', object };
    }
    if (changed.length < OBJECTS_PER_PASS) break;
    from = changed.at(-1)!.object.rv;
  }
  for (; gone < departed.length; gone++) yield { type: 'DELETED', object: departed[gone]!.object };
}
