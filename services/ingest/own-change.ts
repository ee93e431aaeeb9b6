import { type ObjectSchema, kubeObject } from '@dogwatch/kube/kube-object.ts';
import type { CopyBytes } from '@dogwatch/kube/slab-copier.ts';
import type { Change } from '@dogwatch/watch/watch-cache.ts';

/** An event as read: views of a chunk, which is much larger and goes with the next read. */
export interface ReadEvent {
  readonly type: Change['type'];
  /** Within `frame`. */
  readonly object: Buffer;
  readonly frame: Buffer;
}

/** The change an event tells, on the only copy of its bytes there is. Throws MalformedFrame if the object is none. */
export function ownChange(schema: ObjectSchema, { type, object, frame }: ReadEvent, copyBytes: CopyBytes): Change {
  const kept = copyBytes(frame);
  const offset = object.byteOffset - frame.byteOffset;
  return { type, object: kubeObject(schema, kept.subarray(offset, offset + object.length)), frame: kept };
}
