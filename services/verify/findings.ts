import { parseApiRequest } from '@dogwatch/kube/api-request.ts';
import type { Compared } from './comparisons.ts';
import type { Difference } from './compare.ts';
import type { Exchange } from './exchange.ts';
import { ROWS, rowsHit } from './rows.ts';
import { WANTED, type WantedId } from './wanted.ts';

/** One request whose answers differ. */
export interface Finding {
  readonly exchange: Exchange;
  readonly difference: Difference;
  /** The cluster changed each time it was sent. */
  readonly restless: boolean;
}

/** What a request was, for the counts. */
export type Kind = 'list' | 'watch' | 'get' | 'other';

/** What was seen so far. */
export class Findings {
  readonly differences: Finding[] = [];
  readonly byKind: Record<Kind, number> = { list: 0, watch: 0, get: 0, other: 0 };
  readonly resources = new Set<string>();
  requests = 0;
  /** Refused by upstream: status 400 and above, or an ERROR event. */
  refused = 0;
  watchesWithEvents = 0;
  /** Sent again because the cluster changed meanwhile; because a side said so; given up on. */
  repeats = 0;
  retries = 0;
  restless = 0;
  readonly wanted = new Map<WantedId, number>(Object.keys(WANTED).map((id) => [id as WantedId, 0]));
  readonly rows = new Map<string, number>(ROWS.filter(({ hit }) => hit !== undefined).map(({ id }) => [id, 0]));

  /** Counts it, and returns what is to be told. */
  add({ exchange, comparison, repeats, retries, restless }: Compared): Finding | undefined {
    const { request, upstream } = exchange;
    const api = parseApiRequest(request.method, request.path);
    this.requests++;
    this.byKind[kindOf(api.verb)]++;
    if (api.isResourceRequest && upstream.status === 200) this.resources.add(`${api.group}/${api.resource}`);
    if (upstream.status >= 400 || upstream.frames?.some((frame) => frame.includes('ERROR')) === true) this.refused++;
    if ((upstream.frames?.length ?? 0) > 0) this.watchesWithEvents++;
    this.repeats += repeats;
    this.retries += retries;
    for (const id of comparison.wanted) this.wanted.set(id, (this.wanted.get(id) ?? 0) + 1);
    if (retries > 0) this.wanted.set('try again', (this.wanted.get('try again') ?? 0) + 1);
    for (const row of rowsHit(exchange)) this.rows.set(row, (this.rows.get(row) ?? 0) + 1);
    if (comparison.difference === undefined) return undefined;
    if (restless) this.restless++;
    const finding = { exchange, difference: comparison.difference, restless };
    this.differences.push(finding);
    return finding;
  }
}

function kindOf(verb: string): Kind {
  return verb === 'list' || verb === 'watch' || verb === 'get' ? verb : 'other';
}
