import type { KubeObject, ObjectSchema } from '@dogwatch/kube/kube-object.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { EventWindow } from './event-window.ts';
import type { Interest } from './interest.ts';
import { type ListPage, type PageBounds, cutPage } from './list-page.ts';
import { type StoreSnapshot, compareKeys, sortKeys } from './object-store.ts';

const NONE: ReadonlyMap<string, KubeObject | undefined> = new Map();

/** All objects of a lane as they were at one version: later changes do not disturb it. */
export class PastState {
  readonly rv: ResourceVersion;
  readonly #schema: ObjectSchema;
  readonly #snapshot: StoreSnapshot;
  /** What was under the keys that changed between then and the snapshot, in key order. */
  readonly #before: readonly (readonly [string, KubeObject | undefined])[];

  /** `snapshot` is of that version but for the keys in `before`. */
  constructor(
    rv: ResourceVersion,
    schema: ObjectSchema,
    { snapshot, before = NONE }: { snapshot: StoreSnapshot; before?: ReadonlyMap<string, KubeObject | undefined> },
  ) {
    this.rv = rv;
    this.#schema = schema;
    this.#snapshot = snapshot;
    this.#before = sortKeys(before.keys()).map((key) => [key, before.get(key)]);
  }

  /** A page of what `interest` selects. Costs what is looked at, not all there is. */
  page(interest: Interest, { start, limit }: PageBounds): ListPage {
    const { keyPrefix } = interest;
    const from = keyPrefix + start;
    return cutPage(interest, this.#schema, limit, {
      candidates: this.range(keyPrefix, from),
      count: () => this.count(keyPrefix, from),
    });
  }

  /** As StoreSnapshot.range. */
  *range(prefix = '', from = prefix): Generator<KubeObject, void> {
    let at = this.#indexOf(from);
    const changed = (before: string | undefined): readonly [string, KubeObject | undefined] | undefined => {
      const next = this.#before[at];
      if (next === undefined || !next[0].startsWith(prefix)) return undefined;
      if (before !== undefined && compareKeys(next[0], before) > 0) return undefined;
      at++;
      return next;
    };
    for (const object of this.#snapshot.range(prefix, from)) {
      let own: readonly [string, KubeObject | undefined] | undefined;
      for (let next = changed(object.key); next !== undefined; next = changed(object.key)) {
        if (next[0] === object.key) own = next;
        else if (next[1] !== undefined) yield next[1];
      }
      if (own === undefined) yield object;
      else if (own[1] !== undefined) yield own[1];
    }
    for (let next = changed(undefined); next !== undefined; next = changed(undefined)) {
      if (next[1] !== undefined) yield next[1];
    }
  }

  /** As StoreSnapshot.count; costs also what changed since. */
  count(prefix = '', from = prefix): number {
    let count = this.#snapshot.count(prefix, from);
    for (let at = this.#indexOf(from); at < this.#before.length; at++) {
      const [key, object] = this.#before[at]!;
      if (!key.startsWith(prefix)) break;
      count += (object === undefined ? 0 : 1) - (this.#snapshot.get(key) === undefined ? 0 : 1);
    }
    return count;
  }

  #indexOf(key: string): number {
    let low = 0;
    let high = this.#before.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareKeys(this.#before[middle]![0], key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** What was there at `rv` under the keys that changed since: `window` holds every change above it. */
export function changedSince(window: EventWindow, rv: ResourceVersion): Map<string, KubeObject | undefined> {
  const before = new Map<string, KubeObject | undefined>();
  for (let at = window.end - 1; at >= window.first; at--) {
    const { rv: changed, object, previous } = window.at(at);
    if (changed <= rv) break;
    before.set(object.key, previous);
  }
  return before;
}

/** States kept; pagers that are at more versions at once cost a look at the window for each page. */
const STATES_MAX = 16;

/**
 * The states lists are being paged through: of each lane the latest asked for. What is older than the window is let
 * go, so that they keep no object the window does not.
 */
export class PastStates {
  /** Least recently used first; by version and, where it is true of that alone, interest. */
  readonly #states = new Map<string, PastState>();

  get size(): number {
    return this.#states.size;
  }

  get(rv: ResourceVersion, interest: Interest): PastState | undefined {
    for (const key of [keyOf(rv), keyOf(rv, interest)]) {
      const state = this.#states.get(key);
      if (state !== undefined) return this.#put(key, state);
    }
    return undefined;
  }

  /** Keeps `state` and returns it. It may be asked for by whoever wants no more than `interest`, if there is one. */
  keep(state: PastState, interest?: Interest): PastState {
    return this.#put(keyOf(state.rv, interest), state);
  }

  /** Lets go of the states before `rv`. */
  trim(rv: ResourceVersion): void {
    for (const [key, state] of this.#states) if (state.rv < rv) this.#states.delete(key);
  }

  #put(key: string, state: PastState): PastState {
    this.#states.delete(key);
    this.#states.set(key, state);
    if (this.#states.size > STATES_MAX) this.#states.delete(this.#states.keys().next().value!);
    return state;
  }
}

function keyOf(rv: ResourceVersion, interest?: Interest): string {
  return interest === undefined ? String(rv) : `${rv} ${interest.key}`;
}
