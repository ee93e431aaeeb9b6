/**
 * A copy that owns exactly its memory. Node's pooled buffers share slabs of 64 KiB: one small object that lives long
 * would keep a whole slab from being freed.
 */
export function ownCopy(view: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(view.length);
  view.copy(copy);
  return copy;
}
