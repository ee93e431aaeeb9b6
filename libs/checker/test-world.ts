import { type Interest, selectorOf } from './interest.ts';
import { type ObjectEvent, type RecordedStream, type WatchEvent } from './recorded.ts';
import { Reference } from './reference.ts';

/** One write to upstream. Each picks one of a few objects, so that all that can happen to one does. */
export interface Write {
  readonly object: number;
  readonly app: 'web' | 'db' | undefined;
  readonly node: 'n1' | 'n2';
  readonly kind: 'put' | 'delete';
  /** An expiring lease of etcd, which deletes several objects in one version. */
  readonly expiry: boolean;
  /** Versions other resources take before it. */
  readonly gap: number;
}

const KEYS = ['a/x', 'a/y', 'a-b/x', 'b/x', 'b/z'];

export const interests: readonly Interest[] = [
  {},
  { namespace: 'a' },
  { name: 'x' },
  { labelSelector: 'app=web' },
  { labelSelector: 'app notin (web)', namespace: 'b' },
  { fieldSelector: 'spec.nodeName=n1' },
];

/** How many different writes there are. */
export const WRITES = 7_200;

/** One of them; lower numbers are simpler. */
export function writeOf(number: number): Write {
  let rest = number;
  const pick = <Item>(items: readonly Item[]): Item => {
    const item = items[rest % items.length]!;
    rest = Math.floor(rest / items.length);
    return item;
  };
  return {
    object: pick([...KEYS.keys()]),
    app: pick(['web', 'web', 'db', undefined]),
    kind: pick(['put', 'put', 'put', 'delete']),
    node: pick(['n1', 'n1', 'n2']),
    gap: pick([0, 1, 2]),
    expiry: pick([false, false, false, false, false, false, false, false, false, true]),
  };
}

/** Milliseconds at which a version came to be. */
export function timeOf(rv: number): number {
  return rv * 10;
}

type State = ReadonlyMap<string, ObjectEvent>;

/**
 * What happened upstream, with all objects after each version. What a watch is owed is found by comparing what is
 * selected before and after, which is not how the checker finds it.
 */
export class World {
  readonly events: ObjectEvent[] = [];
  readonly #states: { readonly rv: number; readonly state: State }[] = [{ rv: 0, state: new Map() }];
  rv = 0;
  #incarnations = 0;

  constructor(history: readonly Write[]) {
    for (const write of history) this.#commit(write);
  }

  get reference(): Reference {
    return new Reference({ events: this.events.map((event) => ({ ...event, time: timeOf(event.rv) })) });
  }

  #commit({ object, app, node, kind, expiry, gap }: Write): void {
    const state = new Map(this.#states.at(-1)!.state);
    this.rv += 1 + gap;
    const key = KEYS[object]!;
    const held = state.get(key);
    const gone = expiry ? [...state.values()] : kind === 'delete' && held !== undefined ? [held] : [];
    if (gone.length > 0) {
      for (const last of gone) {
        state.delete(last.key);
        this.events.push({ ...last, type: 'DELETED', rv: this.rv });
      }
    } else {
      const event: ObjectEvent = {
        type: held === undefined ? 'ADDED' : 'MODIFIED',
        key,
        uid: held?.uid ?? `u${++this.#incarnations}`,
        rv: this.rv,
        labels: app === undefined ? {} : { app },
        fields: { 'spec.nodeName': node },
        state: `s${this.rv}`,
      };
      state.set(key, event);
      this.events.push(event);
    }
    this.#states.push({ rv: this.rv, state });
  }

  /** What an interest selects once everything up to `rv` has happened, by key. */
  selectedAt(rv: number, interest: Interest): Map<string, ObjectEvent> {
    const { state } = this.#states.findLast((candidate) => candidate.rv <= rv)!;
    const selector = selectorOf(interest);
    return new Map([...state].filter(([, event]) => selector.matches(event)).toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }

  initialEvents(rv: number, interest: Interest): WatchEvent[] {
    const objects = [...this.selectedAt(rv, interest).values()];
    return [...objects.map((event) => ({ ...event, type: 'ADDED' as const })), bookmark(rv, true)];
  }

  /** Every event of versions (after, upTo] as a watch sends them; behind each version divisible by `every` a bookmark. */
  liveEvents(interest: Interest, { after, upTo, every = 5 }: Span & { readonly every?: number }): WatchEvent[] {
    const sent: WatchEvent[] = [];
    for (const { rv } of this.#states) {
      if (rv <= after || rv > upTo) continue;
      const before = this.selectedAt(rv - 1, interest);
      const now = this.selectedAt(rv, interest);
      for (const event of this.events.filter((its) => its.rv === rv)) {
        const [was, is] = [before.get(event.key), now.get(event.key)];
        if (is !== undefined) sent.push({ ...is, type: was === undefined ? 'ADDED' : 'MODIFIED' });
        else if (was !== undefined) sent.push({ ...was, type: 'DELETED', rv });
      }
      if (rv % every === 0) sent.push(bookmark(rv));
    }
    return sent;
  }

  /** What changed between two versions, and nothing of how; deletes of a repair stand at the version before. */
  difference(interest: Interest, { after, upTo }: Span, repair: boolean): WatchEvent[] {
    const [before, now] = [this.selectedAt(after, interest), this.selectedAt(upTo, interest)];
    const deletes = [...before.values()]
      .filter(({ key, uid }) => now.get(key)?.uid !== uid)
      .map((was) => ({ ...was, type: 'DELETED' as const, rv: repair ? after : this.#departure(was, interest, upTo) }));
    const puts = [...now.values()]
      .filter(({ key, rv }) => before.get(key)?.rv !== rv)
      .map((is) => ({ ...is, type: before.get(is.key)?.uid === is.uid ? ('MODIFIED' as const) : ('ADDED' as const) }));
    const place = ({ uid, rv }: ObjectEvent): number =>
      this.events.findIndex((its) => its.uid === uid && its.rv === rv);
    return repair
      ? [...deletes, ...puts.toSorted((a, b) => a.rv - b.rv)]
      : [...deletes, ...puts].toSorted((a, b) => place(a) - place(b));
  }

  /** The last version, up to `upTo`, at which an object was deleted or left. */
  #departure({ uid, key }: ObjectEvent, interest: Interest, upTo: number): number {
    const isLast = ({ rv }: { rv: number }, i: number): boolean => {
      if (rv > upTo) return false;
      const was = this.selectedAt(this.#states[i - 1]?.rv ?? 0, interest).get(key);
      return was?.uid === uid && this.selectedAt(rv, interest).get(key)?.uid !== uid;
    };
    return this.#states.findLast(isLast)!.rv;
  }
}

export interface Span {
  readonly after: number;
  readonly upTo: number;
}

export function bookmark(rv: number, initialEventsEnd = false): WatchEvent {
  return { type: 'BOOKMARK', rv, initialEventsEnd };
}

export function streamOf(
  request: Omit<RecordedStream['request'], 'path'>,
  events: readonly WatchEvent[],
  more: Partial<RecordedStream> = {},
): RecordedStream {
  let time = 0;
  const times = events.map((event) => (time = Math.max(time, 'rv' in event ? timeOf(event.rv) + 1 : 0)));
  return { id: 1, request: { path: '/api/v1/pods', ...request }, events, times, ended: undefined, ...more };
}
