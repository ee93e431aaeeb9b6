import { CheckError } from './check-error.ts';
import { type Interest, type Selector, selectorOf } from './interest.ts';
import type { ObjectEvent } from './recorded.ts';

/** An event as upstream itself told it. */
export interface ReferenceEvent extends ObjectEvent {
  /** When it was known to have happened, by the clock of the streams. */
  readonly time?: number;
}

/** One event a watch is owed. */
export interface OwedEvent {
  readonly event: ObjectEvent;
  /** Place among what the interest is owed. */
  readonly place: number;
  /** Index in the reference of what caused it. */
  readonly origin: number;
  /** An object came into a selector or left it, so that the type is not that of the reference. */
  readonly transition: boolean;
}

/** What an interest is owed, in order: entering is ADDED, leaving DELETED with the previous state (protocol row W15). */
export class Owed {
  readonly selector: Selector;
  readonly events: readonly OwedEvent[];
  readonly #places: ReadonlyMap<string, OwedEvent>;

  constructor(selector: Selector, reference: readonly ObjectEvent[]) {
    this.selector = selector;
    this.events = owedEvents(selector, reference);
    this.#places = new Map(this.events.map((owed) => [identity(owed.event), owed]));
  }

  /** The owed event of this object at this version: a put for a put, a delete for a delete. */
  find(event: Pick<ObjectEvent, 'uid' | 'rv' | 'type'>): OwedEvent | undefined {
    return this.#places.get(identity(event));
  }

  /** The owed events of versions (after, upTo]. */
  between(after: number, upTo: number): readonly OwedEvent[] {
    return this.events.slice(this.#firstAbove(after), this.#firstAbove(upTo));
  }

  /** What a client holds that was told everything up to and including `rv`, by key. */
  stateAt(rv: number): Map<string, ObjectEvent> {
    return this.state(({ event }) => event.rv <= rv);
  }

  /** The same of everything up to the first event that is not `told`. */
  state(told: (owed: OwedEvent) => boolean): Map<string, ObjectEvent> {
    const state = new Map<string, ObjectEvent>();
    for (const owed of this.events) {
      if (!told(owed)) break;
      const { event } = owed;
      if (event.type === 'DELETED') state.delete(event.key);
      else state.set(event.key, event);
    }
    return state;
  }

  #firstAbove(rv: number): number {
    return firstAbove(this.events, rv, ({ event }) => event.rv);
  }
}

/**
 * All that happened to a resource, read directly: the objects at `from`, and each event above it in order. Throws
 * CheckError if the events are not.
 */
export class Reference {
  /** Nothing is known of versions below. */
  readonly from: number;
  /** When it was known to be at `from`, by the clock of the streams. */
  readonly fromTime: number | undefined;
  /** The objects at `from`, by version, as ADDED; then the events. */
  readonly events: readonly ReferenceEvent[];
  readonly #owed = new Map<string, Owed>();
  readonly #origins: ReadonlyMap<string, number>;

  constructor(history: {
    readonly from?: number;
    readonly fromTime?: number;
    readonly objects?: readonly ReferenceEvent[];
    readonly events: readonly ReferenceEvent[];
  }) {
    this.from = history.from ?? 0;
    this.fromTime = history.fromTime;
    let rv = this.from;
    for (const event of history.events) {
      if (event.rv < rv) {
        throw new CheckError('reference_disordered', `reference: ${event.key} at ${event.rv} follows version ${rv}`);
      }
      rv = event.rv;
    }
    this.events = [...(history.objects ?? []).toSorted((a, b) => a.rv - b.rv), ...history.events];
    this.#origins = new Map(this.events.map(({ uid, rv: version }, index) => [`${uid} ${version}`, index]));
  }

  owed(interest: Interest): Owed {
    const selector = selectorOf(interest);
    let owed = this.#owed.get(selector.key);
    if (owed === undefined) {
      owed = new Owed(selector, this.events);
      this.#owed.set(selector.key, owed);
    }
    return owed;
  }

  /** Index of what happened to this object at this version. */
  originOf({ uid, rv }: Pick<ObjectEvent, 'uid' | 'rv'>): number | undefined {
    return this.#origins.get(`${uid} ${rv}`);
  }

  /** Index of the first event above `rv`; their number if there is none. */
  firstAbove(rv: number): number {
    return firstAbove(this.events, rv, (event) => event.rv);
  }

  /** The newest event known to have happened by `time`, of one object or of all. */
  newestBy(time: number, key?: string): ReferenceEvent | undefined {
    return this.events.findLast((event) => {
      return event.time !== undefined && event.time <= time && (key === undefined || event.key === key);
    });
  }

  /** What happened last to an object up to and including `rv`. */
  lastOf(key: string, rv: number): ReferenceEvent | undefined {
    return this.events.findLast((event) => event.key === key && event.rv <= rv);
  }
}

function owedEvents(selector: Selector, reference: readonly ObjectEvent[]): OwedEvent[] {
  const held = new Map<string, ObjectEvent>();
  const owed: OwedEvent[] = [];
  for (const [origin, event] of reference.entries()) {
    const previous = held.get(event.key);
    if (event.type !== 'DELETED' && selector.matches(event)) {
      const type = previous === undefined ? 'ADDED' : 'MODIFIED';
      held.set(event.key, event);
      owed.push({ event: { ...event, type }, place: owed.length, origin, transition: type !== event.type });
    } else if (previous !== undefined) {
      held.delete(event.key);
      const transition = event.type !== 'DELETED';
      const shown: ObjectEvent = transition ? { ...previous, type: 'DELETED', rv: event.rv } : event;
      owed.push({ event: shown, place: owed.length, origin, transition });
    }
  }
  return owed;
}

function identity({ uid, rv, type }: Pick<ObjectEvent, 'uid' | 'rv' | 'type'>): string {
  return `${uid} ${rv} ${type === 'DELETED' ? 'delete' : 'put'}`;
}

function firstAbove<Item>(ascending: readonly Item[], rv: number, rvOf: (item: Item) => number): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (rvOf(ascending[middle]!) <= rv) low = middle + 1;
    else high = middle;
  }
  return low;
}
