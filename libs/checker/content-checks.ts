import type { ObjectEvent } from './recorded.ts';
import type { Reference } from './reference.ts';
import { eventText } from './excerpt.ts';
import type { Delivered, StreamView } from './stream-view.ts';
import type { Finding } from './violation.ts';

/** I7, protocol row W15: only what the interest selects is delivered, and coming into it and leaving it is told as such. */
export function checkFilter(view: StreamView, reference: Reference): Finding[] {
  const { selector } = view.owed;
  const found: Finding[] = [];
  for (const { index, event } of view.initial) {
    if (!selector.matches(event)) found.push(finding({ index, event }, reference, 'is not selected'));
  }
  for (const delivered of view.live) {
    const { event, owed } = delivered;
    if (owed === undefined) {
      if (!selector.matches(upstreams(event, reference))) found.push(finding(delivered, reference, 'is not selected'));
    } else if (owed.transition && event.type !== owed.event.type && !isLenient(delivered, view)) {
      const way = owed.event.type === 'DELETED' ? 'leaves' : 'comes into';
      found.push(finding(delivered, reference, `${way} the selector, which is ${owed.event.type}`));
    }
  }
  return found;
}

/** I1: what is delivered happened, at that version, and the object is as upstream had it. */
export function checkGenuine(view: StreamView, reference: Reference): Finding[] {
  return view.live.flatMap((delivered) => {
    const { event, owed } = delivered;
    if (owed === undefined) {
      // What the interest does not select is the filter's to tell.
      if (!view.owed.selector.matches(upstreams(event, reference))) return [];
      return [finding(delivered, reference, 'never happened')];
    }
    if (event.type === 'DELETED' || owed.event.type === 'DELETED') return [];
    const wrong = difference(event, owed.event);
    return wrong === undefined ? [] : [finding(delivered, reference, `has ${wrong}`)];
  });
}

/** I1 (etcd's IsCreate): ADDED if and only if the client does not hold the object, DELETED of what it holds. */
export function checkCreate(view: StreamView, reference: Reference): Finding[] {
  return view.live.flatMap((delivered) => {
    const { event, owed, held, again } = delivered;
    if (owed === undefined || again) return [];
    if (!isLenient(delivered, view)) {
      const right = owed.event.type;
      return owed.transition || event.type === right ? [] : [finding(delivered, reference, `must be ${right}`)];
    }
    if (event.type === 'DELETED') {
      return held?.uid === event.uid ? [] : [finding(delivered, reference, 'is not held by the client')];
    }
    if (held !== undefined && held.uid !== event.uid) {
      return [finding(delivered, reference, `comes without a DELETED of ${held.uid}`)];
    }
    const right = held === undefined ? 'ADDED' : 'MODIFIED';
    return event.type === right ? [] : [finding(delivered, reference, `must be ${right}`)];
  });
}

/** I1: DELETED carries the last state; of an object that left a selector the previous one, which was selected. */
export function checkPrevious(view: StreamView, reference: Reference): Finding[] {
  return view.live.flatMap((delivered) => {
    const { event, owed, held } = delivered;
    if (event.type !== 'DELETED' || owed?.event.type !== 'DELETED') return [];
    const wrong = difference(event, owed.event);
    if (wrong === undefined) return [];
    // Of a state that was passed over nobody holds more than the one before.
    if (isLenient(delivered, view) && held?.uid === event.uid && difference(event, held) === undefined) return [];
    return [finding(delivered, reference, `has ${wrong}`)];
  });
}

function isLenient({ owed }: Delivered, view: StreamView): boolean {
  return owed !== undefined && view.leniency.covers(owed.event.rv);
}

/** The event as the reference has it, or as it is if the reference has none. */
function upstreams(event: ObjectEvent, reference: Reference): ObjectEvent {
  const origin = reference.originOf(event);
  return (origin === undefined ? undefined : reference.events[origin]) ?? event;
}

function difference(event: ObjectEvent, right: ObjectEvent): string | undefined {
  if (event.key !== right.key) return `the key ${event.key}, not ${right.key}`;
  if (!sameLabels(event.labels, right.labels)) return `labels ${labelText(event)}, not ${labelText(right)}`;
  if (event.state === undefined || right.state === undefined || event.state === right.state) return undefined;
  return `the state ${event.state}, not ${right.state}`;
}

function sameLabels(a: ObjectEvent['labels'], b: ObjectEvent['labels']): boolean {
  if (a === b) return true;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && a[name] === b[name]);
}

function labelText({ labels }: ObjectEvent): string {
  const entries = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(Object.fromEntries(entries));
}

function finding(
  { index, event, owed }: Pick<Delivered, 'index' | 'event'> & { readonly owed?: Delivered['owed'] },
  reference: Reference,
  what: string,
): Finding {
  const origin = owed?.origin ?? reference.originOf(event);
  return {
    detail: `${eventText(event)} ${what}`,
    at: [index],
    origins: [origin ?? reference.firstAbove(event.rv)],
  };
}
