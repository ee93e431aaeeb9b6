import { createHash } from 'node:crypto';
import type { WatchEvent } from '@dogwatch/checker/recorded.ts';

interface WireObject {
  readonly code?: number;
  readonly message?: string;
  readonly metadata?: {
    readonly name?: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
  };
}

/** Different frames that are remembered; all are forgotten at the bound. */
const REMEMBERED_MAX = 100_000;

/** Frames of JSON watches as the checker takes them. Many streams carry the same bytes: those share one event. */
export class WatchFrames {
  readonly #events = new Map<string, WatchEvent>();

  /** What is no watch event becomes an ERROR of code 0: no server may send it. Of objects only digests are kept. */
  read(frame: Buffer): WatchEvent {
    const digest = createHash('sha1').update(frame).digest('base64');
    let event = this.#events.get(digest);
    if (event === undefined) {
      event = parse(frame);
      if (this.#events.size >= REMEMBERED_MAX) this.#events.clear();
      this.#events.set(digest, event);
    }
    return event;
  }
}

function parse(frame: Buffer): WatchEvent {
  let wire: { readonly type?: unknown; readonly object?: WireObject };
  try {
    wire = JSON.parse(frame.toString()) as typeof wire;
  } catch {
    // The cause would quote the frame, which may be a Secret.
    return noEvent(frame);
  }
  const { type, object } = wire;
  if (type === 'ERROR') return { type, code: object?.code ?? 0, message: object?.message ?? '' };
  const { metadata, ...rest } = object ?? {};
  const { resourceVersion, ...others } = metadata ?? {};
  const rv = /^\d+$/.test(resourceVersion ?? '') ? Number(resourceVersion) : undefined;
  if (rv === undefined) return noEvent(frame);
  const { name = '', namespace, uid = '', labels = {}, annotations = {} } = others;
  if (type === 'BOOKMARK') return { type, rv, initialEventsEnd: annotations['k8s.io/initial-events-end'] === 'true' };
  if (type !== 'ADDED' && type !== 'MODIFIED' && type !== 'DELETED') return noEvent(frame);
  const state = createHash('sha256')
    .update(JSON.stringify([rest, others]))
    .digest('base64url')
    .slice(0, 16);
  return { type, key: namespace === undefined ? name : `${namespace}/${name}`, uid, rv, labels, state };
}

function noEvent(frame: Buffer): WatchEvent {
  return { type: 'ERROR', code: 0, message: `${frame.length} bytes that are no watch event` };
}
