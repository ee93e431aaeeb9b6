import { eventText } from './excerpt.ts';
import type { Reference } from './reference.ts';
import type { StreamView } from './stream-view.ts';
import type { Finding } from './violation.ts';

/**
 * I3: nothing at or below a bookmark follows it, but the deletes of a repair, at it; bookmarks never fall, and none
 * comes before the initial events have ended.
 */
export function checkBookmarks(view: StreamView, reference: Reference): Finding[] {
  const found: Finding[] = [];
  const moved = new Set(view.live.filter((delivered) => delivered.moved).map(({ index }) => index));
  const again = new Set(view.live.filter((delivered) => delivered.again).map(({ index }) => index));
  let bookmark = view.stream.request.resourceVersion ?? 0;
  let at: number | undefined;
  for (const [index, event] of view.stream.events.entries()) {
    if (event.type === 'ERROR') continue;
    const origins = [reference.originOf({ uid: '', ...event }) ?? reference.firstAbove(event.rv - 1)];
    const behind = (what: string): void => {
      found.push({ detail: `${eventText(event)} ${what}`, at: [...(at === undefined ? [] : [at]), index], origins });
    };
    if (event.type === 'BOOKMARK') {
      if (index < view.liveFrom - 1) behind('comes before the initial events have ended');
      else if (event.rv < bookmark) behind(`comes after version ${bookmark}, which all was told up to`);
      if (event.rv >= bookmark) [bookmark, at] = [event.rv, index];
    } else if (at !== undefined && index >= view.liveFrom && event.rv <= bookmark && !again.has(index)) {
      if (!moved.has(index) || event.rv < bookmark) behind(`comes after a bookmark at ${bookmark}`);
    }
  }
  return [...found, ...ahead(view)];
}

/** A stream that has ended below its last bookmark: who goes on from the bookmark misses the rest. */
function ahead(view: StreamView): Finding[] {
  const { live, stream, start } = view;
  if (stream.ended === undefined || start === undefined) return [];
  const told = new Set(live.map(({ owed }) => owed));
  const excused = view.leniency.intermediate(view.owed, start);
  const at = stream.events.findLastIndex((event) => event.type === 'BOOKMARK');
  return view.owed
    .between(start, view.bookmark)
    .filter((owed) => owed.place > view.lastPlace && !told.has(owed) && !excused.has(owed))
    .map(({ event, origin }) => ({
      detail: `the bookmark at ${view.bookmark} is ahead of ${eventText(event)}, which was not told`,
      at: [at],
      origins: [origin],
    }));
}
