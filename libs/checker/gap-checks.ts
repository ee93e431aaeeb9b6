import { eventText } from './excerpt.ts';
import type { OwedEvent, Reference } from './reference.ts';
import type { StreamView } from './stream-view.ts';
import type { Finding } from './violation.ts';

/**
 * I5, protocol row W7: a watch from version r begins with the first event above r that it is owed; nothing at or below
 * r comes, and a version that cannot be continued from is 410, not a gap.
 */
export function checkResumability(view: StreamView, reference: Reference): Finding[] {
  const start = view.stream.request.resourceVersion;
  const old = view.live
    .filter(({ event, moved }) => view.start !== undefined && event.rv <= view.start && !moved)
    .map(({ index, event, owed }) => ({
      detail: `${eventText(event)} is not above ${view.start}, where the watch begins`,
      at: [index],
      origins: [owed?.origin ?? reference.firstAbove(event.rv)],
    }));
  if (start === undefined) return old;
  return [
    ...old,
    ...missing(view)
      .filter(({ place }) => place < firstPlace(view))
      .map((owed) => lost(view, owed)),
  ];
}

/** I4: between the first and the last event of a stream, its bookmarks and the end of the recording, nothing is left out. */
export function checkReliability(view: StreamView): Finding[] {
  const resumed = view.stream.request.resourceVersion !== undefined;
  return missing(view)
    .filter(({ place }) => !resumed || place >= firstPlace(view))
    .map((owed) => lost(view, owed));
}

/** Place of the first event that was told; Infinity if none was. */
function firstPlace(view: StreamView): number {
  return view.live.find(({ owed }) => owed !== undefined)?.owed?.place ?? Number.POSITIVE_INFINITY;
}

/** Owed, not told, and nothing passed over it. */
function missing(view: StreamView): OwedEvent[] {
  const { live, start, owed } = view;
  if (start === undefined) return [];
  const told = new Set(live.map((delivered) => delivered.owed));
  const shown = new Set(live.filter(({ event }) => event.type !== 'DELETED').map(({ event }) => event.uid));
  const excused = view.leniency.none ? new Set<OwedEvent>() : view.leniency.intermediate(owed, start);
  return owed
    .between(start, Number.POSITIVE_INFINITY)
    .filter((its) => view.isDue(its) && !told.has(its))
    .filter((its) => !excused.has(its) || (its.event.type === 'DELETED' && isLeft(view, its, shown)));
}

/** A client that was shown what came and went in a passed interval is owed its departure. */
function isLeft(view: StreamView, { event }: OwedEvent, shown: ReadonlySet<string>): boolean {
  if (!shown.has(event.uid)) return false;
  const last = view.live.findLast((delivered) => delivered.event.uid === event.uid);
  const final = view.owed.events.findLast((its) => its.event.uid === event.uid && its.event.rv <= view.upTo);
  return last?.event.type !== 'DELETED' && final?.event === event;
}

function lost(view: StreamView, { event, place, origin }: OwedEvent): Finding {
  const next = view.live.find(({ owed }) => owed !== undefined && owed.place > place);
  const passing = view.stream.events.findIndex((its, index) => {
    return index >= view.liveFrom && its.type !== 'ERROR' && its.rv > event.rv;
  });
  const at = next?.index ?? (passing < 0 ? view.stream.events.length : passing);
  return { detail: `${eventText(event)} is missing`, at: [at], origins: [origin] };
}
