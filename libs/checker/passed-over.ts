import type { ObjectEvent, PassedOver } from './recorded.ts';
import type { Owed, OwedEvent } from './reference.ts';

interface Interval {
  readonly after: number;
  readonly upTo: number;
}

/** The versions in which one stream need not be told of every state. */
export class Leniency {
  readonly #intervals: readonly Interval[];
  readonly #repairs: readonly Interval[];

  constructor(passedOver: readonly PassedOver[], stream: number) {
    const its = passedOver.filter((interval) => interval.stream === undefined || interval.stream === stream);
    this.#intervals = merged(its);
    this.#repairs = merged(its.filter(({ why }) => why === 'repair'));
  }

  get none(): boolean {
    return this.#intervals.length === 0;
  }

  covers(rv: number): boolean {
    return this.#intervals.some(({ after, upTo }) => after < rv && rv <= upTo);
  }

  /**
   * The departure a DELETED tells of where its version is not upstream's: a repair finds by comparing that an object
   * has gone, which then stands at the version held before, or that it left a selector, at its newest version.
   */
  departure({ type, uid, rv }: ObjectEvent, owed: Owed): OwedEvent | undefined {
    if (type !== 'DELETED') return undefined;
    const repair = this.#repairs.find(({ after, upTo }) => after <= rv && rv <= upTo);
    if (repair === undefined) return undefined;
    const its = owed.between(repair.after, repair.upTo).filter(({ event }) => event.uid === uid);
    const last = its.at(-1);
    return last?.event.type === 'DELETED' ? last : undefined;
  }

  /**
   * Owed events nobody can miss who was told everything up to `start`: states that did not last to the end of their
   * interval, and departures of what came in it.
   */
  intermediate(owed: Owed, start: number): ReadonlySet<OwedEvent> {
    const found = new Set<OwedEvent>();
    for (const { after, upTo } of this.#intervals) {
      if (upTo <= start) continue;
      const from = Math.max(after, start);
      const held = new Set([...owed.stateAt(from).values()].map(({ uid }) => uid));
      const within = owed.between(from, upTo);
      const last = new Map(within.map((its) => [its.event.uid, its]));
      for (const its of within) {
        const { uid, type } = its.event;
        if (last.get(uid) !== its || (type === 'DELETED' && !held.has(uid))) found.add(its);
      }
    }
    return found;
  }
}

/** Intervals that overlap or touch, as one. */
function merged(intervals: readonly Interval[]): Interval[] {
  const whole: Interval[] = [];
  for (const { after, upTo } of intervals.toSorted((a, b) => a.after - b.after)) {
    const last = whole.at(-1);
    if (last === undefined || after > last.upTo) whole.push({ after, upTo });
    else whole[whole.length - 1] = { after: last.after, upTo: Math.max(last.upTo, upTo) };
  }
  return whole;
}
