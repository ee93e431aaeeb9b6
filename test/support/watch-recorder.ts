import { expectedEvents, type Interest, interestKey, matches, stateAt } from './watch-model.ts';

/** An object's part in a watch event; DELETED carries the last (or previous) labels and the event's own RV. */
export interface ObjectEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  /** namespace/name, or name. */
  readonly key: string;
  readonly uid: string;
  readonly rv: number;
  readonly labels: Readonly<Record<string, string>>;
}

export interface BookmarkEvent {
  readonly type: 'BOOKMARK';
  readonly rv: number;
  /** Annotated k8s.io/initial-events-end. */
  readonly initialEventsEnd: boolean;
}

export interface ErrorEvent {
  readonly type: 'ERROR';
  readonly code: number;
  readonly message: string;
}

export type WatchEvent = ObjectEvent | BookmarkEvent | ErrorEvent;

/** What a client asked for. */
export interface WatchRequest extends Interest {
  /** Path of the collection, as `/api/v1/configmaps` or `/api/v1/namespaces/a/configmaps`. */
  readonly path: string;
  /** Pods of this node only; `check` does not know which those are. */
  readonly node?: string;
  /** Where to start; undefined asks for initial events (sendInitialEvents, RV ""). */
  readonly resourceVersion?: number;
}

/** One stream as its client saw it. Events are shared between the streams that saw the same bytes. */
export class RecordedStream {
  readonly id: number;
  readonly request: WatchRequest;
  readonly events: WatchEvent[] = [];
  /** performance.now() of each event. */
  readonly times: number[] = [];
  /** How the stream ended, or undefined while it is open. */
  ended: string | undefined;
  #position: number;
  #initial: boolean;

  constructor(id: number, request: WatchRequest) {
    this.id = id;
    this.request = request;
    this.#position = request.resourceVersion ?? 0;
    this.#initial = request.resourceVersion === undefined;
  }

  record(event: WatchEvent, time: number): void {
    this.events.push(event);
    this.times.push(time);
    if (event.type === 'ERROR') return;
    if (event.type === 'BOOKMARK' && event.initialEventsEnd) this.#initial = false;
    if (!this.#initial) this.#position = Math.max(this.#position, event.rv);
  }

  /** The highest RV seen after the initial events, bookmarks included. */
  get position(): number {
    return this.#position;
  }
}

export type Rule = 'error' | 'filter' | 'initial' | 'order' | 'unique' | 'bookmark' | 'resume' | 'complete';

/** One promise that one stream broke. */
export interface Violation {
  readonly rule: Rule;
  readonly stream: number;
  readonly detail: string;
}

/**
 * An interval (after, upTo] that upstream could only repair by a LIST: intermediate states may be missing, and deletes
 * carry an RV from `after` on. Every object's final state and every deletion are still owed, once.
 */
export interface Repair {
  readonly after: number;
  readonly upTo: number;
}

export interface CheckOptions {
  /** Every matching reference event up to this RV is owed to every stream. */
  readonly upTo: number;
  readonly repair?: Repair;
}

/** What one interest owes, with the place of each event in the order. */
interface Expected {
  readonly events: readonly ObjectEvent[];
  readonly places: ReadonlyMap<string, number>;
}

/** Checks recorded streams against all events of a direct reference (unfiltered, in order, from before every start). */
export function check(
  streams: readonly RecordedStream[],
  reference: readonly ObjectEvent[],
  options: CheckOptions,
): Violation[] {
  const byInterest = new Map<string, Expected>();
  return streams.flatMap((stream) => {
    const key = interestKey(stream.request);
    let expected = byInterest.get(key);
    if (expected === undefined) {
      const events = expectedEvents(reference, stream.request);
      expected = { events, places: new Map(events.map((event, place) => [identity(event), place])) };
      byInterest.set(key, expected);
    }
    return [
      ...checkErrors(stream),
      ...checkFilter(stream),
      ...checkInitial(stream),
      ...checkOrder(stream, expected),
      ...checkUnique(stream),
      ...checkBookmarks(stream, options.repair),
      ...checkResume(stream),
      ...checkComplete(stream, expected, options),
    ];
  });
}

/** For a failing test: which streams have ended and how, counted by what they asked for. */
export function endings(streams: readonly RecordedStream[]): string[] {
  const ended = streams.filter((stream) => stream.ended !== undefined);
  const alike = Map.groupBy(ended, ({ request, ended: how }) => `${request.path} ${interestKey(request)}: ${how}`);
  return [...alike].map(([what, { length }]) => `${length} x ${what}`);
}

/** For a failing test: how many violations of each rule, and of each the first three with what their stream asked for. */
export function summarise(violations: readonly Violation[], streams: readonly RecordedStream[]): string[] {
  const byRule = Map.groupBy(violations, ({ rule }) => rule);
  return [...byRule].flatMap(([rule, found]) => [
    `${rule}: ${found.length} violations in ${new Set(found.map(({ stream }) => stream)).size} of ${streams.length} streams`,
    ...found
      .slice(0, 3)
      .map(
        ({ stream, detail }) =>
          `  stream ${stream} ${JSON.stringify(streams.find(({ id }) => id === stream)?.request)}: ${detail}`,
      ),
  ]);
}

function identity({ uid, rv, type }: ObjectEvent): string {
  return `${uid} ${rv} ${type}`;
}

function violation(stream: RecordedStream, rule: Rule, detail: string): Violation {
  return { rule, stream: stream.id, detail };
}

function text(event: WatchEvent): string {
  if (event.type === 'ERROR') return `ERROR ${event.code} ${event.message}`;
  return event.type === 'BOOKMARK' ? `BOOKMARK ${event.rv}` : `${event.type} ${event.key} ${event.uid} ${event.rv}`;
}

function isObject(event: WatchEvent): event is ObjectEvent {
  return event.type !== 'ERROR' && event.type !== 'BOOKMARK';
}

function isInitialEventsEnd(event: WatchEvent): event is BookmarkEvent {
  return event.type === 'BOOKMARK' && event.initialEventsEnd;
}

/** Index of the first event after the initial ones; the length if they have not ended. */
function liveFrom(stream: RecordedStream): number {
  if (stream.request.resourceVersion !== undefined) return 0;
  const end = stream.events.findIndex(isInitialEventsEnd);
  return end < 0 ? stream.events.length : end + 1;
}

function checkErrors(stream: RecordedStream): Violation[] {
  return stream.events
    .filter((event) => event.type === 'ERROR')
    .map((event) => violation(stream, 'error', text(event)));
}

/** W15: what is delivered matches, and a DELETED shows the last state that matched. */
function checkFilter(stream: RecordedStream): Violation[] {
  return stream.events
    .filter((event) => isObject(event) && !matches(stream.request, event))
    .map((event) => violation(stream, 'filter', text(event)));
}

/** L15, W4: initial events are ADDED in key order, each object once, closed by exactly one annotated bookmark. */
function checkInitial(stream: RecordedStream): Violation[] {
  const ends = stream.events.filter(isInitialEventsEnd).length;
  if (stream.request.resourceVersion !== undefined) {
    return ends === 0 ? [] : [violation(stream, 'initial', 'initial-events-end on a stream that asked for none')];
  }
  if (ends !== 1) return [violation(stream, 'initial', `${ends} initial-events-end bookmarks`)];
  const found: Violation[] = [];
  let last = '';
  for (const event of stream.events.slice(0, liveFrom(stream) - 1)) {
    if (event.type === 'BOOKMARK') continue; // checkBookmarks says so
    if (event.type !== 'ADDED') found.push(violation(stream, 'initial', `${text(event)} among the initial events`));
    else if (event.key <= last) found.push(violation(stream, 'initial', `${event.key} after ${last}`));
    if (isObject(event)) last = event.key;
  }
  return found;
}

/** W17: RVs never decrease, and events stand in the order of the reference. */
function checkOrder(stream: RecordedStream, { places }: Expected): Violation[] {
  const found: Violation[] = [];
  let rv = 0;
  let place = 0;
  for (const event of stream.events.slice(liveFrom(stream)).filter(isObject)) {
    const at = places.get(identity(event)) ?? place;
    if (event.rv < rv) found.push(violation(stream, 'order', `${text(event)} after ${rv}`));
    else if (at < place) found.push(violation(stream, 'order', `${text(event)} stands earlier in the reference`));
    rv = Math.max(rv, event.rv);
    place = Math.max(place, at);
  }
  return found;
}

function checkUnique(stream: RecordedStream): Violation[] {
  const seen = new Set<string>();
  const found: Violation[] = [];
  for (const event of stream.events.filter(isObject)) {
    if (seen.has(identity(event))) found.push(violation(stream, 'unique', text(event)));
    seen.add(identity(event));
  }
  return found;
}

/** I3: nothing at or below a bookmark follows it, and bookmarks do not decrease. Repair deletes may stand at the bookmark. */
function checkBookmarks(stream: RecordedStream, repair: Repair | undefined): Violation[] {
  const found: Violation[] = [];
  const from = liveFrom(stream);
  let bookmark = 0;
  for (const [index, event] of stream.events.entries()) {
    if (event.type === 'ERROR') continue;
    if (event.type === 'BOOKMARK') {
      if (index < from - 1) found.push(violation(stream, 'bookmark', `${text(event)} before the initial events end`));
      if (event.rv < bookmark)
        found.push(violation(stream, 'bookmark', `${text(event)} after a bookmark at ${bookmark}`));
      bookmark = Math.max(bookmark, event.rv);
    } else if (index >= from && event.rv <= bookmark) {
      const repaired =
        event.type === 'DELETED' && repair !== undefined && event.rv >= repair.after && event.rv <= repair.upTo;
      if (!repaired || event.rv < bookmark)
        found.push(violation(stream, 'bookmark', `${text(event)} after a bookmark at ${bookmark}`));
    }
  }
  return found;
}

/** W7: strictly after the RV that was asked for. */
function checkResume(stream: RecordedStream): Violation[] {
  const start = stream.request.resourceVersion ?? 0;
  return stream.events
    .slice(liveFrom(stream))
    .filter((event) => event.type !== 'ERROR' && event.rv <= start)
    .map((event) => violation(stream, 'resume', `${text(event)} on a stream from ${start}`));
}

/** I4, I5: the snapshot at the start and every event since, all of them and nothing the reference does not have. */
function checkComplete(stream: RecordedStream, expected: Expected, { upTo, repair }: CheckOptions): Violation[] {
  const from = liveFrom(stream);
  const end = from > 0 ? stream.events[from - 1] : undefined;
  const start = stream.request.resourceVersion ?? (end !== undefined && isInitialEventsEnd(end) ? end.rv : undefined);
  if (start === undefined) return []; // no initial-events-end: checkInitial has said so
  const owed = expected.events.filter(({ rv }) => rv > start && rv <= upTo);
  const live = stream.events
    .slice(from)
    .filter(isObject)
    .filter(({ rv }) => rv > start && rv <= upTo);
  const strict = (event: ObjectEvent): boolean =>
    repair === undefined || event.rv <= repair.after || event.rv > repair.upTo;
  const known = (event: ObjectEvent): boolean =>
    expected.places.has(identity(event)) || !matches(stream.request, event);
  const repairDelete = (event: ObjectEvent): boolean =>
    repair !== undefined && event.type === 'DELETED' && event.rv === repair.after && !known(event);
  const delivered = new Set(live.map(identity));
  const found = [
    ...(end === undefined ? [] : compareInitial(stream, stateAt(expected.events, start))),
    ...owed
      .filter((event) => strict(event) && !delivered.has(identity(event)))
      .map((event) => `${text(event)} is missing`),
    ...live
      .filter((event) => strict(event) && !repairDelete(event) && !known(event))
      .map((event) => `${text(event)} is not in the reference`),
  ].map((detail) => violation(stream, 'complete', detail));
  if (repair === undefined) return found;
  const repaired = live.filter((event) => !strict(event) || repairDelete(event));
  return [...found, ...checkRepaired(stream, repaired, expected.events, repair)];
}

function compareInitial(stream: RecordedStream, snapshot: ReadonlyMap<string, ObjectEvent>): string[] {
  const initial = new Map(
    stream.events
      .slice(0, liveFrom(stream))
      .filter(isObject)
      .map((event) => [event.key, event]),
  );
  const same = (a: ObjectEvent, b: ObjectEvent | undefined): boolean => a.uid === b?.uid && a.rv === b.rv;
  return [
    ...[...snapshot.values()]
      .filter((event) => !same(event, initial.get(event.key)))
      .map((event) => `${text(event)} is not in the initial events`),
    ...[...initial.values()]
      .filter((event) => !same(event, snapshot.get(event.key)))
      .map((event) => `${text(event)} is not in the reference at the start`),
  ];
}

/** Applies what was delivered of a repaired interval to the state before it; the result must be the state after it. */
function checkRepaired(
  stream: RecordedStream,
  delivered: readonly ObjectEvent[],
  expected: readonly ObjectEvent[],
  { after, upTo }: Repair,
): Violation[] {
  const state = new Map([...stateAt(expected, after)].map(([key, { uid, rv }]) => [key, { uid, rv }]));
  const known = new Set(expected.map(({ uid, rv }) => `${uid} ${rv}`));
  const found: Violation[] = [];
  for (const event of delivered) {
    const held = state.get(event.key);
    if (event.type === 'DELETED') {
      if (held?.uid !== event.uid)
        found.push(violation(stream, 'complete', `${text(event)}, which the client does not hold`));
      state.delete(event.key);
    } else {
      if (!known.has(`${event.uid} ${event.rv}`))
        found.push(violation(stream, 'complete', `${text(event)}, which never was`));
      if (held !== undefined && held.uid !== event.uid) {
        found.push(violation(stream, 'complete', `${text(event)} without a DELETED of ${held.uid}`));
      }
      state.set(event.key, { uid: event.uid, rv: event.rv });
    }
  }
  const wanted = stateAt(expected, upTo);
  for (const [key, { uid, rv }] of wanted) {
    const held = state.get(key);
    if (held?.uid !== uid || held.rv !== rv) {
      found.push(
        violation(stream, 'complete', `${key} is ${held?.uid} ${held?.rv} after the repair, want ${uid} ${rv}`),
      );
    }
  }
  for (const key of state.keys()) {
    if (!wanted.has(key)) found.push(violation(stream, 'complete', `${key} is still held after the repair`));
  }
  return found;
}
