import type { AuditEvent } from '../support/control-plane-users.ts';
import { byResource, type Sample } from '../support/prometheus-text.ts';

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
  /** Milliseconds since 1970, with a fraction. */
  readonly from: number;
  /** The end of a LIST; of a watch-list the start of its answer, for the log says no more. */
  readonly to: number;
}

/** dogwatch's initial reads since `since`, oldest first; field-selector probes that match nothing are not reads. */
export function initialReadsOf(audit: readonly AuditEvent[], since: number): InitialRead[] {
  return audit
    .flatMap((event): InitialRead[] => {
      const url = new URL(event.requestURI, 'https://kube-apiserver');
      const verb = event.verb === 'list' ? 'list' : 'watch-list';
      if (verb === 'watch-list' && url.searchParams.get('sendInitialEvents') !== 'true') return [];
      if (url.searchParams.has('fieldSelector')) return [];
      if (event.stage !== (verb === 'list' ? 'ResponseComplete' : 'ResponseStarted')) return [];
      const [from, to] = [millis(event.requestReceivedTimestamp), millis(event.stageTimestamp)];
      return from < since ? [] : [{ path: url.pathname, verb, from, to }];
    })
    .toSorted((a, b) => a.from - b.from);
}

/** A MicroTime in milliseconds with a fraction; Date alone drops the microseconds. */
function millis(time: string): number {
  const fraction = /\.(\d+)Z$/.exec(time)?.[1] ?? '0';
  return Date.parse(time.replace(/\.\d+Z$/, 'Z')) + Number(`0.${fraction}`) * 1_000;
}

/** Initial reads that began before the one before them had been answered. */
export function overlapping(reads: readonly InitialRead[]): InitialRead[] {
  return reads.filter((read, index) => read.from < (reads[index - 1]?.to ?? 0));
}
