import { CheckError } from './check-error.ts';
import { eventText } from './excerpt.ts';
import type { RecordedRead, RecordedWrite } from './recorded.ts';
import type { Reference, ReferenceEvent } from './reference.ts';
import type { StreamView } from './stream-view.ts';
import { PROMISES, type Finding, type Violation } from './violation.ts';

/**
 * I6: an answer to resource version r is not older than r, one to "" not older than the request, and what one client is
 * answered never falls, whichever process answers. A request for 0 takes anything.
 */
export function checkFloor(reads: readonly RecordedRead[], reference: Reference): Violation[] {
  const before = new Map<string, RecordedRead[]>();
  return reads
    .toSorted((a, b) => a.answered - b.answered)
    .flatMap((read) => {
      const { client, key = '', asked } = read;
      if (asked === 0) return [];
      const its = before.get(client) ?? [];
      before.set(client, [...its.slice(1 - READS_REMEMBERED), read]);
      const detail = belowAsked(read, reference) ?? belowRequest(read, reference) ?? belowEarlier(read, its, reference);
      if (detail === undefined) return [];
      const shown = read.rv === undefined ? reference.lastOf(key, Number.POSITIVE_INFINITY) : undefined;
      return [
        staleRead(
          read,
          detail,
          [its.at(-1), read].filter((one) => one !== undefined),
          shown,
        ),
      ];
    });
}

/** I6: initial events of resource version "" are not older than the request. */
export function checkFreshness(view: StreamView, reference: Reference): Finding[] {
  const { opened, request } = view.stream;
  if (opened === undefined || request.resourceVersion !== undefined || view.start === undefined) return [];
  const newest = reference.newestBy(opened);
  if (newest === undefined || newest.rv <= view.start) return [];
  return [
    {
      detail: `initial events of ${view.start} to a request that came after ${eventText(newest)}`,
      at: [view.liveFrom - 1],
      origins: [reference.originOf(newest) ?? 0],
    },
  ];
}

/**
 * I6: initial events from below the reference, to a request that came when it had begun. Throws CheckError if the
 * stream may as well be right: then nothing is known of what it is owed.
 */
export function checkBeginning({ stream, start, liveFrom }: StreamView, reference: Reference): Finding[] {
  const { from, fromTime = Number.POSITIVE_INFINITY } = reference;
  const { opened = Number.NEGATIVE_INFINITY, request } = stream;
  if (request.resourceVersion !== undefined || opened < fromTime) {
    throw new CheckError(
      'reference_too_short',
      `stream ${stream.id} begins at ${start}, the reference at ${from}; read it from before the streams`,
    );
  }
  const detail = `initial events of ${start} to a request that came when upstream was at ${from}`;
  return [{ detail, at: [liveFrom - 1], origins: [] }];
}

/** I6: what was written is on every open watch that is owed it within `withinMs` of the answer to the writer. */
export function checkVisibility(
  view: StreamView,
  writes: readonly RecordedWrite[],
  { withinMs, until }: { readonly withinMs: number; readonly until: number },
): Finding[] {
  const { stream, start } = view;
  if (start === undefined) return [];
  const arrival = new Map(view.live.map(({ owed, index }) => [owed, index]));
  return writes.flatMap((write) => {
    const due = write.answered + withinMs;
    const closed = stream.ended !== undefined && (stream.times.at(-1) ?? 0) <= due;
    if (write.rv <= start || due > until || closed || (stream.opened ?? 0) > write.answered) return [];
    const owed = view.owed.between(write.rv - 1, write.rv).find(({ event }) => event.key === write.key);
    if (owed === undefined || view.leniency.covers(write.rv)) return [];
    const index = arrival.get(owed);
    // What never comes is a gap, and told as that.
    const late = index === undefined ? undefined : (stream.times[index] ?? due) - write.answered;
    if (index === undefined || late === undefined || late <= withinMs) return [];
    const detail = `${eventText(owed.event)} came ${Math.round(late)} ms after the write was answered, not within ${withinMs}`;
    return [{ detail, at: [index], origins: [owed.origin] }];
  });
}

/** Reads of one client that a later one is compared with; older ones cannot be newer than all of these. */
const READS_REMEMBERED = 256;

function belowAsked(read: RecordedRead, reference: Reference): string | undefined {
  if (read.asked === '') return undefined;
  if (read.key === undefined) return below(read, read.asked, `resource version ${read.asked}`);
  const state = reference.lastOf(read.key, read.asked);
  return state && belowState(read, state, reference);
}

function belowRequest(read: RecordedRead, reference: Reference): string | undefined {
  if (read.asked !== '') return undefined;
  const newest = reference.newestBy(read.sent, read.key);
  if (newest === undefined) return undefined;
  if (read.key === undefined) return below(read, newest.rv, `after ${eventText(newest)}`);
  return belowState(read, newest, reference);
}

function belowEarlier(read: RecordedRead, earlier: readonly RecordedRead[], reference: Reference): string | undefined {
  for (const other of earlier) {
    if (other.answered > read.sent || other.rv === undefined) continue;
    const from = `${other.server} answered ${other.rv} before`;
    if (read.key === undefined && other.key === undefined) {
      const detail = below(read, other.rv, from);
      if (detail !== undefined) return detail;
    } else if (read.key !== undefined && (other.key === undefined || other.key === read.key)) {
      const state = reference.lastOf(read.key, other.rv);
      const detail = state && belowState(read, state, reference);
      if (detail !== undefined) return `${detail}; ${from}`;
    }
  }
  return undefined;
}

function below({ rv = 0 }: RecordedRead, floor: number, why: string): string | undefined {
  return rv < floor ? `a list of ${rv} is below ${floor}: ${why}` : undefined;
}

/** A GET shows a state that was already over at `state`, or no object where there was one and still is. */
function belowState({ rv }: RecordedRead, state: ReferenceEvent, reference: Reference): string | undefined {
  const { key } = state;
  if (rv === undefined) {
    const isThere = state.type !== 'DELETED' && !reference.events.some((event) => isDeleteAfter(event, state));
    return isThere ? `${key} is not found after ${eventText(state)}` : undefined;
  }
  return rv < state.rv ? `${key} @${rv} is below ${eventText(state)}` : undefined;
}

function isDeleteAfter({ type, key, rv }: ReferenceEvent, state: ReferenceEvent): boolean {
  return type === 'DELETED' && key === state.key && rv > state.rv;
}

function staleRead(
  read: RecordedRead,
  detail: string,
  reads: readonly RecordedRead[],
  shown: ReferenceEvent | undefined,
): Violation {
  const line = ({ client, server, key, asked, rv, sent, answered }: RecordedRead): string =>
    `    ${client} at ${server}: ${key === undefined ? 'LIST' : `GET ${key}`} from ${JSON.stringify(asked)}, ` +
    `sent ${Math.round(sent)}, answered ${Math.round(answered)}: ${rv ?? 'not found'}`;
  const lines = [`reads of ${read.client}:`, ...reads.map(line)];
  if (shown !== undefined) lines.push('reference:', `    ${eventText(shown)}`);
  return { check: 'floor', promise: PROMISES.floor, stream: undefined, detail, excerpt: lines.join('\n') };
}
