import type { VerifyRequest } from './request.ts';
import type { CacheShare } from './cache-share.ts';
import { curlLine } from './curl.ts';
import type { Finding, Findings } from './findings.ts';
import { ROWS } from './rows.ts';

const CONTEXT_BYTES = 90;

/** One difference, as it is shown. */
export interface ReportedDifference {
  readonly seed: number;
  readonly only: number;
  readonly part: string;
  /** Of the first byte that differs. */
  readonly offset: number;
  readonly upstream: string;
  readonly dogwatch: string;
  readonly curl: { readonly upstream: string; readonly dogwatch: string };
  readonly restless: boolean;
}

/** What `dogwatch verify -o json` prints. */
export interface Report {
  readonly seed: number;
  readonly requests: number;
  readonly byKind: Readonly<Record<string, number>>;
  readonly resources: number;
  readonly refused: number;
  readonly watchesWithEvents: number;
  readonly cache: CacheShare | undefined;
  readonly repeats: number;
  readonly retries: number;
  readonly wanted: Readonly<Record<string, number>>;
  readonly rows: Readonly<Record<string, number>>;
  readonly rowsNotHit: readonly string[];
  readonly differences: readonly ReportedDifference[];
}

export interface Servers {
  readonly upstream: URL;
  readonly dogwatch: URL;
}

export function makeReport(
  findings: Findings,
  {
    seed,
    servers,
    cache,
  }: { readonly seed: number; readonly servers: Servers; readonly cache: CacheShare | undefined },
): Report {
  return {
    seed,
    requests: findings.requests,
    byKind: findings.byKind,
    resources: findings.resources.size,
    refused: findings.refused,
    watchesWithEvents: findings.watchesWithEvents,
    cache,
    repeats: findings.repeats,
    retries: findings.retries,
    wanted: Object.fromEntries(findings.wanted),
    rows: Object.fromEntries(findings.rows),
    rowsNotHit: [...findings.rows].filter(([, count]) => count === 0).map(([id]) => id),
    differences: findings.differences.map((finding) => describe(finding, seed, servers)),
  };
}

/** The difference with what repeats it. Nothing of a Secret is in it, nor any credential. */
export function describe(
  { exchange, difference, restless }: Finding,
  seed: number,
  servers: Servers,
): ReportedDifference {
  const { request } = exchange;
  const { part, upstream, dogwatch } = difference;
  const offset = firstDifference(upstream, dogwatch);
  const show = (bytes: Buffer): string =>
    isSecret(request) && (part === 'body' || part.startsWith('event'))
      ? `${bytes.length} bytes of Secrets, not shown`
      : around(bytes, offset);
  return {
    seed,
    only: request.index,
    part,
    offset,
    upstream: show(upstream),
    dogwatch: show(dogwatch),
    curl: { upstream: curlLine(request, servers.upstream), dogwatch: curlLine(request, servers.dogwatch) },
    restless,
  };
}

export function renderDifference(its: ReportedDifference): string {
  const unsure = its.restless ? ' (the cluster changed each time)' : '';
  return [
    `DIFFERENT --seed ${its.seed} --only ${its.only}: ${its.part}, at byte ${its.offset}${unsure}`,
    `  kube-apiserver: ${its.upstream}`,
    `  dogwatch:       ${its.dogwatch}`,
    `  ${its.curl.upstream}`,
    `  ${its.curl.dogwatch}`,
    '',
    '',
  ].join('\n');
}

/** The counts at the end. */
export function renderSummary(report: Report): string {
  const kinds = Object.entries(report.byKind).map(([kind, count]) => `${count} ${kind}`);
  const share = (count: number): string => `${((100 * count) / Math.max(1, report.requests)).toFixed(1)} %`;
  const wanted = Object.entries(report.wanted).filter(([, count]) => count > 0);
  const lines = [
    `requests             ${report.requests} (${kinds.join(', ')}), seed ${report.seed}, ${report.resources} resources`,
    `refused upstream     ${report.refused} (${share(report.refused)})`,
    `watches with events  ${report.watchesWithEvents}`,
    ...(report.cache === undefined ? [] : [`from the cache       ${cacheText(report.cache)}`]),
    `sent again           ${report.repeats} as the cluster changed, ${report.retries} as a side said so`,
    `forgiven             ${wanted.map(([id, count]) => `${id} ${count}`).join(', ') || 'nothing'}`,
    `rows                 ${ROWS.filter(({ id }) => id in report.rows)
      .map(({ id }) => `${id} ${report.rows[id]}`)
      .join(', ')}`,
    `rows not hit         ${report.rowsNotHit.join(', ') || 'none'}`,
    `differences          ${report.differences.length}`,
  ];
  return `${lines.join('\n')}\n`;
}

function cacheText({ served, forwarded, refused }: CacheShare): string {
  const all = served + forwarded + refused;
  return `${served} of ${all} (${((100 * served) / Math.max(1, all)).toFixed(1)} %)`;
}

function isSecret({ path }: VerifyRequest): boolean {
  return path.includes('secrets');
}

function firstDifference(a: Buffer, b: Buffer): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return i;
  return length;
}

function around(bytes: Buffer, offset: number): string {
  const start = Math.max(0, offset - CONTEXT_BYTES);
  const end = Math.min(bytes.length, offset + CONTEXT_BYTES);
  const text = JSON.stringify(bytes.toString('latin1', start, end))
    .replaceAll('\\"', '"')
    .slice(1, -1);
  return `${start > 0 ? '…' : ''}${text}${end < bytes.length ? '…' : ''} (${bytes.length} bytes)`;
}
