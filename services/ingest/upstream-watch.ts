import { createFrameScanner } from '@dogwatch/kube/frame-scanner.ts';
import { type Lane, laneAccept, lanePath } from '@dogwatch/kube/lane.ts';
import { decodeStatus } from '@dogwatch/kube/status-decoding.ts';
import type { StatusBody } from '@dogwatch/kube/status.ts';
import { type EventType, parseWatchFrame } from '@dogwatch/kube/watch-event.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { readStatus } from './upstream-status.ts';

/** How a watch on upstream ended. */
export type WatchEnd =
  | { readonly kind: 'eof' }
  /** An ERROR event in the stream. */
  | { readonly kind: 'error'; readonly status: StatusBody }
  /** Refused before it began. */
  | { readonly kind: 'refused'; readonly status: StatusBody };

export interface WatchHandlers {
  onOpen?(warnings: readonly string[]): void;
  /** `frame` and `object` are views: what is kept must be copied. */
  onEvent(type: Exclude<EventType, 'ERROR'>, object: Buffer, frame: Buffer): void;
  /** All events of the bytes read so far were handed out. */
  onPause?(): void;
}

/**
 * Reads one watch of the whole lane until it ends, or `signal` aborts. Rejects with UpstreamUnreachable if it cannot
 * be opened, and with the stream's error if it breaks.
 */
export async function readWatch(
  upstream: Upstream,
  request: { lane: Lane; query: Record<string, string>; signal: AbortSignal },
  handlers: WatchHandlers,
): Promise<WatchEnd> {
  const { lane, signal } = request;
  const query = new URLSearchParams({ watch: 'true', allowWatchBookmarks: 'true', ...request.query });
  const path = `${lanePath(lane)}?${query.toString()}`;
  const response = await upstream.open({ path, headers: { accept: laneAccept(lane, false) }, signal });
  if (response.status !== 200) return { kind: 'refused', status: await readStatus(response) };
  const { warning } = response.headers;
  handlers.onOpen?.(warning === undefined ? [] : [warning].flat());
  const scanner = createFrameScanner(lane.encoding);
  let error: StatusBody | undefined;
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    scanner.push(chunk, (frame) => {
      const { type, object } = parseWatchFrame(lane.encoding, frame);
      if (type === 'ERROR') error ??= decodeStatus(lane.encoding, object);
      else if (error === undefined) handlers.onEvent(type, object, frame);
    });
    handlers.onPause?.();
    if (error !== undefined) return { kind: 'error', status: error };
  }
  return { kind: 'eof' };
}
