import { ownCopy } from './own-copy.ts';

const SLAB_BYTES = 64 * 1024;
/** What is longer has a copy of its own: at most an eighth of a slab is left unused. */
const LONGEST_BYTES = SLAB_BYTES / 8;

/** Copies the bytes of a view that is about to go. */
export type CopyBytes = (view: Buffer) => Buffer;

/**
 * Copies stand one behind the other in slabs, which cost a hundredth of as many buffers. A slab is freed once all of its
 * copies are: only for what is let go in the order it came, or one small copy that lives long would keep 64 KiB.
 */
export function slabCopier(): CopyBytes {
  let slab = Buffer.alloc(0);
  let used = 0;
  return (view) => {
    if (view.length > LONGEST_BYTES) return ownCopy(view);
    if (used + view.length > slab.length) {
      slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      used = 0;
    }
    const copy = slab.subarray(used, used + view.length);
    used += view.copy(slab, used);
    return copy;
  };
}
