import type { RecordedStream, WatchEvent, WatchRequest } from './recorded.ts';
import type { Reference } from './reference.ts';

/** What shows a finding. */
export interface Shown {
  /** Indices of events of the stream. */
  readonly at: readonly number[];
  /** Indices of events of the reference. */
  readonly origins: readonly number[];
}

/** Events of either side that are pointed at; more of them show nothing more. */
const POINTED_MAX = 4;
/** Characters shown of labels. */
const LABELS_MAX = 120;

/** One line of an event: `MODIFIED ns/a uid-a @14`. */
export function eventText(event: WatchEvent): string {
  if (event.type === 'ERROR') return `ERROR ${event.code} ${event.message}`;
  if (event.type === 'BOOKMARK') return `BOOKMARK @${event.rv}${event.initialEventsEnd ? ' initial-events-end' : ''}`;
  return `${event.type} ${event.key} ${event.uid} @${event.rv}`;
}

/** One line of what was asked. */
export function requestText({ path, resourceVersion, ...interest }: WatchRequest): string {
  const { namespace, name, labelSelector, fieldSelector } = interest;
  const parts = Object.entries({ namespace, name, labelSelector, fieldSelector })
    .filter(([, value]) => value !== undefined)
    .map(([what, value]) => ` ${what}=${value}`);
  return `${path}${parts.join('')} from ${resourceVersion ?? 'initial events'}`;
}

/** What is pointed at with the event before and behind it, of the stream and of the reference. */
export function excerpt(stream: RecordedStream, reference: Reference, { at, origins }: Shown): string {
  return [
    `stream ${stream.id}: ${requestText(stream.request)}`,
    ...lines(stream.events, at, stream.ended),
    'reference:',
    ...lines(reference.events, origins, undefined),
  ].join('\n');
}

function lines(events: readonly WatchEvent[], pointed: readonly number[], ended: string | undefined): string[] {
  const marked = new Set(pointed.slice(0, POINTED_MAX));
  const shown = [...new Set([...marked].flatMap((index) => [index - 1, index, index + 1]))]
    .filter((index) => index >= 0 && index <= events.length)
    .toSorted((a, b) => a - b);
  const text: string[] = [];
  let before = -1;
  for (const index of shown) {
    const event = events[index];
    if (index > before + 1) text.push('    ...');
    before = index;
    const mark = marked.has(index) ? '>' : ' ';
    if (event !== undefined) text.push(`  ${mark} ${withLabels(event)}`);
    else text.push(`  ${mark} (${ended === undefined ? 'nothing more' : `ended: ${ended}`})`);
  }
  return text.length === 0 ? ['    (nothing)'] : text;
}

function withLabels(event: WatchEvent): string {
  if (event.type === 'ERROR' || event.type === 'BOOKMARK') return eventText(event);
  const labels = Object.entries(event.labels).map(([label, value]) => `${label}=${value}`);
  return labels.length === 0 ? eventText(event) : `${eventText(event)} ${labels.join(',').slice(0, LABELS_MAX)}`;
}
