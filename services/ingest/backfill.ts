import type { ObjectSchema } from '@dogwatch/kube/kube-object.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { scanObject } from '@dogwatch/kube/object-scanner.ts';
import { ownCopy } from '@dogwatch/kube/own-copy.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { StatusError, serviceUnavailable } from '@dogwatch/kube/status.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import type { Change } from '@dogwatch/watch/watch-cache.ts';
import { ownChange } from './own-change.ts';
import { type WatchEnd, readWatch } from './upstream-watch.ts';

/** Upstream bookmarks a watch of this length before it ends, which proves a quiet interval complete. */
const SECONDS = '3';
const ATTEMPTS = 3;
const TIMEOUT_MS = 10_000;
/** Upstream's own window holds 102,400 events of a resource at most. */
const CHANGES_MAX = 102_400;

/**
 * Reads the changes in (from, to] from upstream's own window by a watch that begins there. Undefined if upstream
 * answers that they are gone. Rejects with StatusError if they cannot be read whole.
 */
export async function readBackfill(
  upstream: Upstream,
  request: { lane: Lane; schema: ObjectSchema; from: ResourceVersion; to: ResourceVersion; signal: AbortSignal },
): Promise<readonly Change[] | undefined> {
  const changes: Change[] = [];
  let read = request.from;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const { end, reached } = await readOnce(upstream, request, read, changes);
    if (reached) return changes;
    if (end?.kind === 'error' || end?.kind === 'refused') {
      if (end.status.code === 410) return undefined;
      throw new StatusError(end.status);
    }
    if (changes.length > CHANGES_MAX) return undefined;
    const last = changes.at(-1);
    if (last === undefined) continue;
    // The last version may carry more events than were read.
    read = last.object.rv - 1;
    while (changes.at(-1)?.object.rv === last.object.rv) changes.pop();
  }
  throw new StatusError(serviceUnavailable('upstream did not give its history within the time allowed'));
}

async function readOnce(
  upstream: Upstream,
  request: { lane: Lane; schema: ObjectSchema; to: ResourceVersion; signal: AbortSignal },
  from: ResourceVersion,
  changes: Change[],
): Promise<{ end: WatchEnd | undefined; reached: boolean }> {
  const { lane, schema, to, signal } = request;
  const abort = new AbortController();
  let reached = false;
  const onEvent = (type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK', object: Buffer, frame: Buffer): void => {
    if (reached) return;
    if (scanObject(lane.encoding, object).resourceVersion > to || (type === 'BOOKMARK' && isAt(lane, object, to))) {
      reached = true;
    } else if (type !== 'BOOKMARK') {
      changes.push(ownChange(schema, { type, object, frame }, ownCopy));
    }
    if (reached || changes.length > CHANGES_MAX) abort.abort();
  };
  try {
    const query = { resourceVersion: String(from), timeoutSeconds: SECONDS };
    const signals = AbortSignal.any([signal, abort.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    return { end: await readWatch(upstream, { lane, query, signal: signals }, { onEvent }), reached };
  } catch (error) {
    if (abort.signal.aborted) return { end: undefined, reached };
    throw error;
  }
}

function isAt(lane: Lane, bookmark: Buffer, rv: ResourceVersion): boolean {
  return scanObject(lane.encoding, bookmark).resourceVersion >= rv;
}
