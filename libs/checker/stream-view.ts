import { Leniency } from './passed-over.ts';
import { isInitialEventsEnd, isObject, type ObjectEvent, type PassedOver, type RecordedStream } from './recorded.ts';
import type { Owed, OwedEvent } from './reference.ts';

/** An object event of a stream, with what it stands for. */
export interface Delivered {
  /** In the stream's events. */
  readonly index: number;
  readonly event: ObjectEvent;
  /** What was owed and this tells; undefined: nothing. */
  readonly owed: OwedEvent | undefined;
  /** A departure at another version than upstream's, as a repair may tell it. */
  readonly moved: boolean;
  /** The same was delivered before. */
  readonly again: boolean;
  /** What the stream had told of this key before. */
  readonly held: ObjectEvent | undefined;
}

export interface ViewOptions {
  /** Every owed event up to this version is owed to streams that are open. */
  readonly upTo: number;
  readonly passedOver: readonly PassedOver[];
}

/** One stream laid beside what its interest is owed; the checks read it. */
export class StreamView {
  readonly stream: RecordedStream;
  readonly owed: Owed;
  readonly leniency: Leniency;
  readonly upTo: number;
  /** Index of the first event after the initial ones; the length if they have not ended. */
  readonly liveFrom: number;
  /** All up to this version was known or initial; undefined: the initial events never ended. */
  readonly start: number | undefined;
  /** Object events after the initial ones. */
  readonly live: readonly Delivered[];
  /** The initial ones. */
  readonly initial: readonly { readonly index: number; readonly event: ObjectEvent }[];
  /** Highest version of a bookmark; 0 if there was none. */
  readonly bookmark: number;
  /** Place of the furthest owed event that was told; -1 if none was. */
  readonly lastPlace: number;

  constructor(stream: RecordedStream, owed: Owed, { upTo, passedOver }: ViewOptions) {
    this.stream = stream;
    this.owed = owed;
    this.upTo = upTo;
    this.leniency = new Leniency(passedOver, stream.id);
    const { events, request } = stream;
    const end = events.findIndex(isInitialEventsEnd);
    const close = events[end];
    const initial = request.resourceVersion === undefined;
    this.liveFrom = initial ? (end < 0 ? events.length : end + 1) : 0;
    this.start = request.resourceVersion ?? (close === undefined || !isInitialEventsEnd(close) ? undefined : close.rv);
    const objects = [...events.entries()].flatMap(([index, event]) => (isObject(event) ? [{ index, event }] : []));
    this.initial = objects.filter(({ index }) => index < this.liveFrom);
    this.live = this.#deliver(objects.filter(({ index }) => index >= this.liveFrom));
    this.bookmark = events.reduce((rv, event) => (event.type === 'BOOKMARK' ? Math.max(rv, event.rv) : rv), 0);
    this.lastPlace = this.live.reduce(
      (last, { owed: its, moved }) => Math.max(last, moved ? -1 : (its?.place ?? -1)),
      -1,
    );
  }

  /** True if the stream must have told of it: something behind it was told, or it was open to the end. */
  isDue({ place, event }: OwedEvent): boolean {
    if (place <= this.lastPlace) return true;
    return this.stream.ended === undefined && event.rv <= Math.max(this.upTo, this.bookmark);
  }

  #deliver(objects: StreamView['initial']): Delivered[] {
    const { owed, leniency } = this;
    const held = this.start === undefined ? new Map<string, ObjectEvent>() : owed.stateAt(this.start);
    const seen = new Set<string>();
    return objects.map(({ index, event }) => {
      const exact = owed.find(event);
      const departure = exact === undefined ? leniency.departure(event, owed) : undefined;
      const found = exact ?? departure ?? owed.find({ ...event, type: event.type === 'DELETED' ? 'ADDED' : 'DELETED' });
      const what = found === undefined ? `${event.type} ${event.uid} ${event.rv}` : String(found.place);
      const delivered: Delivered = {
        index,
        event,
        owed: found,
        moved: departure !== undefined,
        again: seen.has(what),
        held: held.get(event.key),
      };
      seen.add(what);
      if (event.type === 'DELETED') held.delete(event.key);
      else held.set(event.key, event);
      return delivered;
    });
  }
}
