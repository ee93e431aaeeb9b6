import { eventText } from './excerpt.ts';
import { isInitialEventsEnd, isObject } from './recorded.ts';
import type { Reference } from './reference.ts';
import type { StreamView } from './stream-view.ts';
import type { Finding } from './violation.ts';

/**
 * I2, protocol rows W4 and L15: initial events are ADDED in key order, each object once; they are one snapshot, of the
 * version of exactly one annotated bookmark, which ends them.
 */
export function checkInitial(view: StreamView, reference: Reference): Finding[] {
  const { events, request } = view.stream;
  const ends = [...events.keys()].filter((index) => isInitialEventsEnd(events[index]!));
  if (request.resourceVersion !== undefined) {
    return ends.map((at) => ({ detail: 'initial-events-end, which was not asked for', at: [at], origins: [] }));
  }
  if (ends.length !== 1) {
    // A stream that was cut before is owed no end.
    if (ends.length === 0 && view.stream.ended !== undefined) return sequence(view);
    const at = ends.length === 0 ? [events.length] : ends;
    return [{ detail: `${ends.length} initial-events-end bookmarks`, at, origins: [] }];
  }
  return [...sequence(view), ...snapshot(view, reference)];
}

function sequence(view: StreamView): Finding[] {
  const found: Finding[] = [];
  let last: { readonly key: string; readonly index: number } | undefined;
  for (const { index, event } of view.initial) {
    if (event.type !== 'ADDED') {
      found.push({ detail: `${eventText(event)} among the initial events`, at: [index], origins: [] });
    }
    if (last !== undefined && event.key <= last.key) {
      const what = event.key === last.key ? 'again' : `after ${last.key}`;
      found.push({ detail: `${eventText(event)} ${what}, not in key order`, at: [last.index, index], origins: [] });
    }
    last = { key: event.key, index };
  }
  return found;
}

/** Compares the initial events with the state at their end. */
function snapshot(view: StreamView, reference: Reference): Finding[] {
  const { start = 0 } = view;
  const state = view.owed.stateAt(start);
  const end = view.liveFrom - 1;
  const given = new Map(view.initial.map((its) => [its.event.key, its]));
  const missing = [...state.values()]
    .filter(({ key }) => !given.has(key))
    .map((event) => ({
      detail: `${eventText({ ...event, type: 'ADDED' })} is not among the initial events at ${start}`,
      at: [end],
      origins: [reference.originOf(event) ?? 0],
    }));
  const wrong = [...given.values()]
    .filter(({ event }) => isObject(event) && view.owed.selector.matches(event))
    .flatMap(({ index, event }) => {
      const right = state.get(event.key);
      if (right?.uid === event.uid && right.rv === event.rv && sameState(right.state, event.state)) return [];
      const instead = right === undefined ? 'where there is none' : `where there is ${right.uid} @${right.rv}`;
      const origin = right === undefined ? reference.originOf(event) : reference.originOf(right);
      const origins = [origin ?? reference.firstAbove(event.rv)];
      return [{ detail: `${eventText(event)} is in the snapshot at ${start}, ${instead}`, at: [index, end], origins }];
    });
  return [...missing, ...wrong];
}

function sameState(a: string | undefined, b: string | undefined): boolean {
  return a === undefined || b === undefined || a === b;
}
