import { eventText } from './excerpt.ts';
import type { Reference } from './reference.ts';
import type { Delivered, StreamView } from './stream-view.ts';
import type { Finding } from './violation.ts';

/** I2, protocol row W17: versions never fall, and events stand in the order of the reference. */
export function checkOrder(view: StreamView): Finding[] {
  const found: Finding[] = [];
  let newest: Delivered | undefined;
  let furthest: Delivered | undefined;
  for (const delivered of view.live) {
    const { index, event, owed, moved, again } = delivered;
    // What is not owed, or told again, has its own check.
    if (owed === undefined || again) continue;
    const behind = newest !== undefined && event.rv < newest.event.rv;
    const before = !moved && furthest?.owed !== undefined && owed.place < furthest.owed.place;
    const than = behind ? newest : before ? furthest : undefined;
    if (than !== undefined) {
      found.push({
        detail: `${eventText(event)} comes after ${eventText(than.event)}`,
        at: [than.index, index],
        origins: [owed.origin, ...(than.owed === undefined ? [] : [than.owed.origin])],
      });
    }
    if (!behind) newest = delivered;
    if (!moved && !before) furthest = delivered;
  }
  return found;
}

/** I2: nothing is told twice. */
export function checkUnique(view: StreamView, reference: Reference): Finding[] {
  return view.live
    .filter(({ again }) => again)
    .map(({ index, event, owed }) => ({
      detail: `${eventText(event)} is told twice`,
      at: [
        ...view.live
          .filter((other) => other.index < index && isSame(other, { event, owed }))
          .map((other) => other.index),
        index,
      ],
      origins: [owed?.origin ?? reference.firstAbove(event.rv)],
    }));
}

type What = Pick<Delivered, 'event' | 'owed'>;

function isSame(a: What, b: What): boolean {
  if (a.owed !== undefined || b.owed !== undefined) return a.owed === b.owed;
  return a.event.uid === b.event.uid && a.event.rv === b.event.rv && a.event.type === b.event.type;
}
