import { type ObjectSchema, kubeObject } from '@dogwatch/kube/kube-object.ts';
import { ownCopy } from '@dogwatch/kube/own-copy.ts';
import type { Change } from '@dogwatch/watch/watch-cache.ts';

/**
 * A change that owns its bytes. `frame` and the `object` within it are views of a chunk, which is much larger and goes
 * with the next read: the lane keeps this copy, the only one. Throws MalformedFrame if the object is none.
 */
export function ownChange(schema: ObjectSchema, type: Change['type'], object: Buffer, frame: Buffer): Change {
  const kept = ownCopy(frame);
  const offset = object.byteOffset - frame.byteOffset;
  return { type, object: kubeObject(schema, kept.subarray(offset, offset + object.length)), frame: kept };
}
