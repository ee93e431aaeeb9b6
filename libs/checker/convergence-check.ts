import { isObject, type ObjectEvent } from './recorded.ts';
import type { Reference } from './reference.ts';
import type { StreamView } from './stream-view.ts';
import type { Finding } from './violation.ts';

/**
 * I5: who applied all it was told holds in the end what upstream holds. `views` are the streams of one client in the
 * order in which they followed each other; the last must be open.
 */
export function checkConvergence(views: readonly StreamView[], reference: Reference): Finding[] {
  const last = views.at(-1);
  if (last === undefined || last.stream.ended !== undefined || last.start === undefined) return [];
  const held = apply(views);
  const right = last.owed.state((owed) => owed.event.rv <= (last.start ?? 0) || last.isDue(owed));
  const at = [last.stream.events.length];
  const wrong = [...right.values()].flatMap((event) => {
    const its = held.get(event.key);
    if (its?.uid === event.uid && its.rv === event.rv) return [];
    const shown = its === undefined ? 'is not held' : `is held as ${its.uid} @${its.rv}`;
    const detail = `${event.key} ${shown} in the end, upstream has ${event.uid} @${event.rv}`;
    return [{ detail, at: [lastOf(last, event.key) ?? at[0]!], origins: originsOf(reference, event) }];
  });
  const extra = [...held.values()]
    .filter(({ key }) => !right.has(key))
    .map((event) => ({
      detail: `${event.key} is held as ${event.uid} @${event.rv} in the end, upstream has none`,
      at: [lastOf(last, event.key) ?? at[0]!],
      origins: originsOf(reference, reference.lastOf(event.key, Number.POSITIVE_INFINITY) ?? event),
    }));
  return [...wrong, ...extra];
}

/** As a reflector's store does: initial events replace what is held, later ones change it. */
function apply(views: readonly StreamView[]): ReadonlyMap<string, ObjectEvent> {
  let held: Map<string, ObjectEvent> | undefined;
  for (const { stream, owed, initial, live } of views) {
    const { resourceVersion } = stream.request;
    if (resourceVersion === undefined) held = new Map(initial.map(({ event }) => [event.key, event]));
    held ??= owed.stateAt(resourceVersion ?? 0);
    for (const { event } of live) {
      if (event.type === 'DELETED') held.delete(event.key);
      else held.set(event.key, event);
    }
  }
  return held ?? new Map();
}

function lastOf({ stream }: StreamView, key: string): number | undefined {
  const index = stream.events.findLastIndex((event) => isObject(event) && event.key === key);
  return index < 0 ? undefined : index;
}

function originsOf(reference: Reference, event: ObjectEvent): number[] {
  const origin = reference.originOf(event);
  return origin === undefined ? [] : [origin];
}
