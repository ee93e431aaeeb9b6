import { eventText } from './excerpt.ts';
import type { StreamView } from './stream-view.ts';
import type { Finding } from './violation.ts';

/** I5: a watch ends without an ERROR event, or with one of the allowed codes, behind which nothing comes. */
export function checkEnding(view: StreamView, allowedErrors: readonly number[]): Finding[] {
  const { events } = view.stream;
  const error = events.findIndex(({ type }) => type === 'ERROR');
  const event = events[error];
  if (event?.type !== 'ERROR') return [];
  const found: Finding[] = [];
  if (!allowedErrors.includes(event.code)) found.push({ detail: eventText(event), at: [error], origins: [] });
  const after = events[error + 1];
  if (after !== undefined) {
    found.push({ detail: `${eventText(after)} comes after an ERROR`, at: [error, error + 1], origins: [] });
  }
  return found;
}
