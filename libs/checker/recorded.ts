import type { Interest } from './interest.ts';

/** An object's part in a watch event. DELETED carries the last (or, of an object that left, the previous) state. */
export interface ObjectEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  /** namespace/name, or name. */
  readonly key: string;
  readonly uid: string;
  /** Version of the event, also of a DELETED. */
  readonly rv: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Values of selectable fields but metadata.name and metadata.namespace, which are in the key. */
  readonly fields?: Readonly<Record<string, string>>;
  /** Digest of the object without its resource version; compared where both sides have it. */
  readonly state?: string;
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
  /** Path of the collection, as `/api/v1/configmaps`. */
  readonly path: string;
  /** Where to start; undefined asks for initial events (sendInitialEvents, RV ""). */
  readonly resourceVersion?: number;
}

/** One watch as its client saw it. Times are milliseconds of any one clock, the reference's too. */
export interface RecordedStream {
  readonly id: number;
  readonly request: WatchRequest;
  readonly events: readonly WatchEvent[];
  /** When each event arrived. */
  readonly times: readonly number[];
  /** How it ended; undefined if it was open when the recording stopped: then everything is owed to it. */
  readonly ended: string | undefined;
  /** When the request was sent. */
  readonly opened?: number;
  /** Streams of one client follow each other in the recording: what it holds is carried from one to the next. */
  readonly client?: string;
  /** As whom it asked. */
  readonly identity?: string;
  /** Who answered; a client that went on at kube-apiserver tests I10. Default: dogwatch. */
  readonly server?: 'dogwatch' | 'kube-apiserver';
}

/** A LIST (without a key) or GET that was answered with success, or a GET answered with 404. */
export interface RecordedRead {
  readonly client: string;
  /** Which process answered, to be shown. */
  readonly server: string;
  readonly key?: string;
  /** Resource version asked for; '' is the most recent, 0 is any. Of an exact LIST nothing is recorded here. */
  readonly asked: number | '';
  readonly sent: number;
  readonly answered: number;
  /** Of the list, or of the object; undefined: there is none. */
  readonly rv: number | undefined;
}

/** A write that was answered with success. */
export interface RecordedWrite {
  readonly key: string;
  /** Version of the object, or of its delete. */
  readonly rv: number;
  readonly answered: number;
}

/** An identity may read what is named, from a moment to another. */
export interface Grant {
  readonly identity: string;
  /** Undefined: of all namespaces. */
  readonly namespace?: string;
  /** Undefined: of all names. */
  readonly name?: string;
  readonly from: number;
  /** Infinity while it holds. */
  readonly to: number;
}

/**
 * Versions (after, upTo] of which not every state need be told: each object's newest state and each departure are owed
 * still, once. An exception from the promises must be named to be allowed.
 */
export interface PassedOver {
  /**
   * repair: upstream could only give a list; a delete may stand at any version from `after` on. conflation: a slow
   * watch went on with the newest states. state-diff: a resume from below the event window.
   */
  readonly why: 'repair' | 'conflation' | 'state-diff';
  readonly after: number;
  readonly upTo: number;
  /** The one stream it is of; undefined: all. */
  readonly stream?: number;
}

export interface Recording {
  readonly streams: readonly RecordedStream[];
  readonly reads?: readonly RecordedRead[];
  readonly writes?: readonly RecordedWrite[];
}

export function isObject(event: WatchEvent): event is ObjectEvent {
  return event.type !== 'ERROR' && event.type !== 'BOOKMARK';
}

export function isInitialEventsEnd(event: WatchEvent): event is BookmarkEvent {
  return event.type === 'BOOKMARK' && event.initialEventsEnd;
}
