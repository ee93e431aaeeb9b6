import type { WatchEvent } from './watch-recorder.ts';

interface WireEvent {
  readonly type: string;
  readonly object: {
    readonly kind?: string;
    readonly code?: number;
    readonly message?: string;
    readonly metadata?: {
      readonly name?: string;
      readonly namespace?: string;
      readonly uid?: string;
      readonly resourceVersion?: string;
      readonly labels?: Record<string, string>;
      readonly annotations?: Record<string, string>;
    };
  };
}

const MAX_CACHED = 20_000;
const cache = new Map<string, WatchEvent>();

/**
 * One line of a JSON watch. Many streams carry the same bytes, so equal lines are parsed once and share one event
 * (the last 20,000 or so lines). Throws on anything that is not a watch event.
 */
export function parseWatchEvent(line: string): WatchEvent {
  let event = cache.get(line);
  if (event === undefined) {
    event = parse(line);
    if (cache.size >= MAX_CACHED) cache.clear();
    cache.set(line, event);
  }
  return event;
}

function parse(line: string): WatchEvent {
  const { type, object } = JSON.parse(line) as WireEvent;
  if (type === 'ERROR') return { type, code: object.code ?? 0, message: object.message ?? '' };
  const { name, namespace, uid, resourceVersion, labels = {}, annotations = {} } = object.metadata ?? {};
  const rv = Number(resourceVersion);
  if (!Number.isSafeInteger(rv)) throw new Error(`a watch event without resourceVersion: ${line.slice(0, 200)}`);
  if (type === 'BOOKMARK') return { type, rv, initialEventsEnd: annotations['k8s.io/initial-events-end'] === 'true' };
  if (type !== 'ADDED' && type !== 'MODIFIED' && type !== 'DELETED')
    throw new Error(`unknown watch event type ${type}`);
  return { type, key: namespace === undefined ? `${name}` : `${namespace}/${name}`, uid: uid ?? '', rv, labels };
}
