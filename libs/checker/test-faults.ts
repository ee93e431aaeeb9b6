import { isInitialEventsEnd, isObject, type ObjectEvent, type RecordedStream, type WatchEvent } from './recorded.ts';
import { bookmark, streamOf, type World } from './test-world.ts';
import type { CheckName } from './violation.ts';

/** A wrong that a server could do to a stream. */
export interface Fault {
  readonly what: string;
  /** The check that must name it, */
  readonly check: CheckName;
  /** and those that may complain of its consequences. */
  readonly also: readonly CheckName[];
  /** What the stream becomes; undefined where there is no place for it. `pick` chooses one of several places. */
  plant(stream: RecordedStream, pick: <Item>(items: readonly Item[]) => Item | undefined, world: World): Planted;
}

type Planted = readonly WatchEvent[] | RecordedStream | undefined;

interface Place {
  readonly at: number;
  readonly event: ObjectEvent;
}

const LOSS: readonly CheckName[] = ['resumability', 'reliability', 'bookmarks', 'convergence'];

export const faults: readonly Fault[] = [
  {
    what: 'an event is dropped',
    check: 'reliability',
    also: ['convergence'],
    plant: ({ events, request }, pick) => {
      const places = live(events, request).slice(request.resourceVersion === undefined ? 0 : 1);
      return at(pick(places), (place) => events.toSpliced(place, 1));
    },
  },
  {
    what: 'a delete is missing',
    check: 'reliability',
    also: ['convergence'],
    plant: ({ events, request }, pick) => {
      const places = live(events, request).slice(1);
      return at(pick(places.filter(({ event }) => event.type === 'DELETED')), (place) => events.toSpliced(place, 1));
    },
  },
  {
    what: 'the first event after the version of a resume is dropped',
    check: 'resumability',
    also: ['convergence'],
    plant: ({ events, request }) => {
      if (request.resourceVersion === undefined) return undefined;
      return at(live(events, request)[0], (place) => events.toSpliced(place, 1));
    },
  },
  {
    what: 'an event from before the version of a resume',
    check: 'resumability',
    also: ['convergence'],
    plant: ({ events, request }, pick, world) => {
      const { resourceVersion: start } = request;
      if (start === undefined) return undefined;
      const old = pick(world.liveEvents(request, { after: 0, upTo: start }).filter(isObject));
      return old && [old, ...events];
    },
  },
  {
    what: 'an event twice',
    check: 'unique',
    also: ['convergence'],
    plant: ({ events, request }, pick) =>
      at(pick(live(events, request)), (place, event) => {
        const again = pick(Array.from({ length: events.length - place }, (_, i) => place + 1 + i)) ?? place;
        return events.toSpliced(again, 0, event);
      }),
  },
  {
    what: 'two events swapped',
    check: 'order',
    also: ['convergence'],
    plant: ({ events, request }, pick) => {
      const places = live(events, request).filter((place) => isObject(events[place.at + 1] ?? bookmark(0)));
      return at(pick(places), (place, event) => events.toSpliced(place, 2, events[place + 1]!, event));
    },
  },
  {
    what: 'a wrong version',
    check: 'genuine',
    also: LOSS,
    plant: ({ events, request }, pick, world) =>
      at(pick(live(events, request)), (place, event) => {
        const known = new Set(world.events.filter(({ uid }) => uid === event.uid).map(({ rv }) => rv));
        const start = Math.max(1, event.rv - 3);
        const rv = pick([0, 1, 2, 4, 5, 6].map((step) => start + step).filter((other) => !known.has(other)));
        return rv === undefined ? undefined : events.with(place, { ...event, rv });
      }),
  },
  {
    what: 'a wrong uid',
    check: 'genuine',
    also: LOSS,
    plant: ({ events, request }, pick) =>
      at(pick(live(events, request)), (place, event) => events.with(place, { ...event, uid: 'nobody' })),
  },
  {
    what: 'an object as it never was',
    check: 'genuine',
    also: [],
    plant: ({ events, request }, pick) =>
      at(pick(live(events, request).filter(({ event }) => event.type !== 'DELETED')), (place, event) =>
        events.with(place, { ...event, state: 'torn' }),
      ),
  },
  {
    what: 'an object that never was',
    check: 'genuine',
    also: ['convergence', 'bookmarks', 'filter'],
    plant: ({ events, request }, pick) =>
      at(pick(live(events, request)), (place, event) =>
        events.toSpliced(place + 1, 0, { ...event, type: 'ADDED', uid: 'ghost' }),
      ),
  },
  {
    what: 'ADDED for MODIFIED or the other way round',
    check: 'create',
    also: [],
    plant: ({ events, request }, pick, world) =>
      at(
        pick(live(events, request).filter(({ event }) => event.type !== 'DELETED' && !isTransition(event, world))),
        (place, event) => events.with(place, { ...event, type: event.type === 'ADDED' ? 'MODIFIED' : 'ADDED' }),
      ),
  },
  {
    what: 'coming into a selector as MODIFIED',
    check: 'filter',
    also: [],
    plant: ({ events, request }, pick, world) =>
      at(
        pick(live(events, request).filter(({ event }) => event.type === 'ADDED' && isTransition(event, world))),
        (place, event) => events.with(place, { ...event, type: 'MODIFIED' }),
      ),
  },
  {
    what: 'leaving a selector as MODIFIED',
    check: 'filter',
    also: ['convergence'],
    plant: ({ events, request }, pick, world) =>
      at(
        pick(live(events, request).filter(({ event }) => event.type === 'DELETED' && isTransition(event, world))),
        (place, { uid, rv }) =>
          events.with(
            place,
            world.events.find((event) => event.uid === uid && event.rv === rv)!,
          ),
      ),
  },
  {
    what: 'an object of somebody else',
    check: 'filter',
    also: ['convergence', 'bookmarks', 'resumability'],
    plant: ({ events, request }, pick, world) => {
      const mine = new Set(world.liveEvents(request, { after: 0, upTo: world.rv }).filter(isObject).map(same));
      const foreign = pick(world.events.filter((event) => event.rv > 3 && !mine.has(same(event))));
      if (foreign === undefined) return undefined;
      const after = live(events, request).find(({ event }) => event.rv > foreign.rv)?.at;
      return after === undefined ? [...events, foreign] : events.toSpliced(after, 0, foreign);
    },
  },
  {
    what: 'a DELETED with a state that was not the last',
    check: 'previous',
    also: [],
    plant: ({ events, request }, pick) =>
      at(pick(live(events, request).filter(({ event }) => event.type === 'DELETED')), (place, event) =>
        events.with(
          place,
          pick([
            { ...event, state: 'torn' },
            { ...event, labels: { app: 'other' } },
          ])!,
        ),
      ),
  },
  {
    what: 'a bookmark ahead of events',
    check: 'bookmarks',
    also: [],
    plant: ({ events, request }, pick) => {
      const places = live(events, request);
      return at(pick(places), (place) => {
        const ahead = pick(places.filter((its) => its.at >= place))!.event.rv;
        return events.toSpliced(place, 0, bookmark(ahead));
      });
    },
  },
  {
    what: 'a last bookmark ahead of events that never come',
    check: 'bookmarks',
    also: [],
    plant: (stream, pick) =>
      at(pick(live(stream.events, stream.request)), (place, { rv }) => {
        const events = [...stream.events.slice(0, place), bookmark(rv)];
        return { ...streamOf(stream.request, events), ended: 'clean end' };
      }),
  },
  {
    what: 'a bookmark that falls',
    check: 'bookmarks',
    also: [],
    plant: ({ events, request }, pick) => {
      const places = [...events.keys()].filter(
        (i) => events[i]!.type === 'BOOKMARK' && i >= firstLive(events, request),
      );
      const place = pick(places);
      const event = place === undefined ? undefined : events[place];
      if (place === undefined || event?.type !== 'BOOKMARK') return undefined;
      return events.toSpliced(place + 1, 0, bookmark(event.rv - 1));
    },
  },
  {
    what: 'a bookmark among the initial events',
    check: 'bookmarks',
    also: [],
    plant: ({ events, request }) => (request.resourceVersion === undefined ? [bookmark(1), ...events] : undefined),
  },
  {
    what: 'a stale list under a newer version',
    check: 'initial',
    also: ['convergence'],
    plant: ({ events, request }, pick, world) => {
      const end = events.find(isInitialEventsEnd);
      if (end === undefined) return undefined;
      const now = text(world.initialEvents(end.rv, request).slice(0, -1));
      const older = Array.from({ length: end.rv }, (_, rv) => world.initialEvents(rv, request).slice(0, -1));
      const stale = pick(older.filter((objects) => text(objects) !== now));
      return stale && [...stale, ...events.slice(events.indexOf(end))];
    },
  },
  {
    what: 'an object missing from the initial events',
    check: 'initial',
    also: ['convergence'],
    plant: ({ events, request }, pick) => at(pick(initial(events, request)), (place) => events.toSpliced(place, 1)),
  },
  {
    what: 'initial events out of key order',
    check: 'initial',
    also: [],
    plant: ({ events, request }, pick) =>
      at(pick(initial(events, request).slice(1)), (place, event) =>
        events.toSpliced(place - 1, 2, event, events[place - 1]!),
      ),
  },
  {
    what: 'an initial event twice',
    check: 'initial',
    also: [],
    plant: ({ events, request }, pick) =>
      at(pick(initial(events, request)), (place, event) => events.toSpliced(place, 0, event)),
  },
  {
    what: 'MODIFIED among the initial events',
    check: 'initial',
    also: [],
    plant: ({ events, request }, pick) =>
      at(pick(initial(events, request)), (place, event) => events.with(place, { ...event, type: 'MODIFIED' })),
  },
  {
    what: 'initial events without an end',
    check: 'initial',
    also: ['bookmarks'],
    plant: ({ events, request }) =>
      request.resourceVersion === undefined ? events.filter((event) => !isInitialEventsEnd(event)) : undefined,
  },
  {
    what: 'an end of initial events nobody asked for',
    check: 'initial',
    also: [],
    plant: ({ events, request }) =>
      request.resourceVersion === undefined ? undefined : [bookmark(request.resourceVersion, true), ...events],
  },
  {
    what: 'an ERROR in the middle',
    check: 'ending',
    also: [],
    plant: ({ events, request }, pick) =>
      at(pick(live(events, request)), (place) =>
        events.toSpliced(place, 0, { type: 'ERROR', code: 500, message: 'watch cache' }),
      ),
  },
  {
    what: 'silence from somewhere on',
    check: 'reliability',
    also: ['convergence'],
    plant: ({ events, request }, pick) => at(pick(live(events, request).slice(1)), (place) => events.slice(0, place)),
  },
];

function at(place: Place | undefined, change: (place: number, event: ObjectEvent) => Planted): Planted {
  return place && change(place.at, place.event);
}

function firstLive(events: readonly WatchEvent[], { resourceVersion }: RecordedStream['request']): number {
  return resourceVersion === undefined ? events.findIndex(isInitialEventsEnd) + 1 : 0;
}

function objects(events: readonly WatchEvent[]): Place[] {
  return [...events.entries()].flatMap(([index, event]) => (isObject(event) ? [{ at: index, event }] : []));
}

function live(events: readonly WatchEvent[], request: RecordedStream['request']): Place[] {
  return objects(events).filter((place) => place.at >= firstLive(events, request));
}

function initial(events: readonly WatchEvent[], request: RecordedStream['request']): Place[] {
  return objects(events).filter((place) => place.at < firstLive(events, request));
}

function isTransition(event: ObjectEvent, world: World): boolean {
  return world.events.find(({ uid, rv }) => uid === event.uid && rv === event.rv)?.type !== event.type;
}

function same({ uid, rv }: ObjectEvent): string {
  return `${uid} ${rv}`;
}

function text(events: readonly WatchEvent[]): string {
  return JSON.stringify(events.map((event) => ('uid' in event ? [event.uid, event.rv] : [])));
}
