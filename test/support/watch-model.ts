import type { ObjectEvent } from './watch-recorder.ts';

/** The part of a request that says which objects of a collection are meant; labels by equality. */
export interface Interest {
  readonly namespace?: string;
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/** Equal for interests that mean the same objects. */
export function interestKey({ namespace, name, labels }: Interest): string {
  return JSON.stringify([namespace, name, Object.entries(labels ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1))]);
}

export function matches(
  interest: Interest,
  object: { readonly key: string; readonly labels: Readonly<Record<string, string>> },
): boolean {
  const [name = '', namespace] = object.key.split('/').toReversed();
  if (interest.namespace !== undefined && interest.namespace !== namespace) return false;
  if (interest.name !== undefined && interest.name !== name) return false;
  return Object.entries(interest.labels ?? {}).every(([label, value]) => object.labels[label] === value);
}

/**
 * What a watch with an interest owes its client, computed from the unfiltered history (W15): entering a selector is
 * ADDED, leaving it DELETED with the previous labels and the RV of the event.
 */
export function expectedEvents(history: readonly ObjectEvent[], interest: Interest): ObjectEvent[] {
  const held = new Map<string, ObjectEvent>();
  const expected: ObjectEvent[] = [];
  for (const event of history) {
    const previous = held.get(event.key);
    if (event.type !== 'DELETED' && matches(interest, event)) {
      held.set(event.key, event);
      expected.push({ ...event, type: previous === undefined ? 'ADDED' : 'MODIFIED' });
    } else if (previous !== undefined) {
      held.delete(event.key);
      expected.push({ ...previous, type: 'DELETED', rv: event.rv });
    }
  }
  return expected;
}

/** What a client holds after all expected events up to and including `rv`, by key. */
export function stateAt(expected: readonly ObjectEvent[], rv: number): Map<string, ObjectEvent> {
  const state = new Map<string, ObjectEvent>();
  for (const event of expected) {
    if (event.rv > rv) continue;
    if (event.type === 'DELETED') state.delete(event.key);
    else state.set(event.key, event);
  }
  return state;
}
