import type { Verdict } from '@dogwatch/checker/check.ts';
import type { SpreadInterest } from './watch-interests.ts';
import type { WatchClient } from './watch-client.ts';

export interface WatchedClient extends SpreadInterest {
  readonly client: WatchClient;
}

/** A table of what was watched, by the kind of interest, and each violation with its excerpt. */
export function renderWatchReport(
  clients: readonly WatchedClient[],
  verdict: Verdict,
  reference: { readonly events: number; readonly from: number; readonly upTo: number },
): string {
  const header = ['interest', 'watches', 'streams', 'resumed', 'expired', 'refused', 'events', 'bookmarks', 'broken'];
  const byKind = Map.groupBy(clients, ({ kind }) => kind);
  const rows = [...byKind].map(([kind, its]) => [kind, ...rowOf(its, verdict).map(String)]);
  const all = ['all', ...rowOf(clients, verdict).map(String)];
  const { violations, omitted } = verdict;
  return [
    ...violations.map(({ promise, check, detail, excerpt }) => `BROKEN ${promise} ${check}: ${detail}\n${excerpt}\n`),
    ...(omitted > 0 ? [`and ${omitted} more violations\n`] : []),
    ...table([header, ...rows, all]),
    `reference            ${reference.events} events of versions ${reference.from} to ${reference.upTo}`,
    `violations           ${violations.length + omitted}`,
    '',
  ].join('\n');
}

function rowOf(clients: readonly WatchedClient[], { violations }: Verdict): number[] {
  const streams = clients.flatMap(({ client }) => client.streams);
  const ids = new Set(streams.map(({ id }) => id));
  const events = streams.flatMap((stream) => stream.events);
  const count = (type: string): number => events.filter((event) => event.type === type).length;
  return [
    clients.length,
    streams.length,
    streams.filter(({ request }) => request.resourceVersion !== undefined).length,
    count('ERROR'),
    clients.reduce((sum, { client }) => sum + client.refused, 0),
    events.length - count('BOOKMARK') - count('ERROR'),
    count('BOOKMARK'),
    violations.filter(({ stream }) => stream !== undefined && ids.has(stream)).length,
  ];
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
  );
}
