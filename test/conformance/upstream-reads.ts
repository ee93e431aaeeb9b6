import type { AuditEvent } from '../support/control-plane-users.ts';
import { byResource, type Sample, sumOf } from '../support/prometheus-text.ts';

/** Open watches of kube-apiserver by `group/resource`, as it counts them itself. */
export function openWatches(samples: readonly Sample[]): ReadonlyMap<string, number> {
  return byResource(samples, 'apiserver_longrunning_requests', { verb: 'WATCH' });
}

/** LISTs and finished watch-lists of kube-apiserver by `group/resource` since it started. */
export function initialReads(samples: readonly Sample[]): ReadonlyMap<string, number> {
  const reads = new Map(byResource(samples, 'apiserver_request_total', { verb: 'LIST', scope: 'cluster' }));
  for (const [resource, count] of byResource(samples, 'apiserver_watch_list_duration_seconds_count', {
    scope: 'cluster',
  })) {
    reads.set(resource, (reads.get(resource) ?? 0) + count);
  }
  return reads;
}

/** What `after` has more than `before`; nothing where they are equal. */
export function growth(
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): Record<string, number> {
  const grown: Record<string, number> = {};
  for (const resource of new Set([...before.keys(), ...after.keys()])) {
    const more = (after.get(resource) ?? 0) - (before.get(resource) ?? 0);
    if (more !== 0) grown[resource] = more;
  }
  return grown;
}

/** A LIST, or a watch with initial events, that dogwatch asked upstream for. */
export interface InitialRead {
  readonly path: string;
  readonly verb: 'list' | 'watch-list';
  /** Milliseconds since 1970, with a fraction; the end of a watch-list's initial events is not in the log. */
  readonly from: number;
  readonly to: number | undefined;
}

/** dogwatch's initial reads since `since`, oldest first; field-selector probes that match nothing are not reads. */
export function initialReadsOf(audit: readonly AuditEvent[], since: number): InitialRead[] {
  const reads = new Map<string, InitialRead>();
  for (const event of audit) {
    const url = new URL(event.requestURI, 'https://kube-apiserver');
    const verb = event.verb === 'list' ? 'list' : 'watch-list';
    if (verb === 'watch-list' && url.searchParams.get('sendInitialEvents') !== 'true') continue;
    if (url.searchParams.has('fieldSelector')) continue;
    const from = micros(event.requestReceivedTimestamp);
    if (from < since) continue;
    const to = verb === 'list' && event.stage === 'ResponseComplete' ? micros(event.stageTimestamp) : undefined;
    reads.set(event.auditID, { path: url.pathname, verb, from, to: to ?? reads.get(event.auditID)?.to });
  }
  return [...reads.values()].toSorted((a, b) => a.from - b.from);
}

/** A MicroTime in milliseconds with a fraction; Date alone drops the microseconds. */
function micros(time: string): number {
  const fraction = /\.(\d+)Z$/.exec(time)?.[1] ?? '0';
  return Date.parse(time.replace(/\.\d+Z$/, 'Z')) + Number(`0.${fraction}`) * 1_000;
}

/** Initial reads that began before the one before them had ended: a LIST by its log entry, a watch-list by its mean time. */
export function overlapping(reads: readonly InitialRead[], samples: readonly Sample[]): InitialRead[] {
  const count = sumOf(samples, 'apiserver_watch_list_duration_seconds_count');
  const mean = count === 0 ? 0 : (sumOf(samples, 'apiserver_watch_list_duration_seconds_sum') / count) * 1_000;
  return reads.filter((read, index) => {
    const previous = reads[index - 1];
    return previous !== undefined && read.from < (previous.to ?? previous.from + mean / 2);
  });
}
