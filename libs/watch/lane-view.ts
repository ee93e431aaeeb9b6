import type { JsonLayout } from '@dogwatch/kube/json-layout.ts';
import type { ObjectSchema } from '@dogwatch/kube/kube-object.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { BookmarkTemplate } from '@dogwatch/kube/event-framer.ts';
import type { Interest } from './interest.ts';
import type { WatchCache } from './watch-cache.ts';

/** Why a lane's open watches must end. `expired`: with an in-stream 410, for history was lost; `ended`: cleanly. */
export type LaneEnd = 'expired' | 'ended';

/** What must be known of a lane beside its objects. */
export interface LaneFacts {
  readonly schema: ObjectSchema;
  /** Of the objects as they are served: PartialObjectMetadata of meta.k8s.io/v1 in a metadata view. */
  readonly kind: string;
  readonly apiVersion: string;
  /** Of a LIST of them. */
  readonly listKind: string;
  readonly layout: JsonLayout;
  /** Object bytes of a bookmark upstream sent, if it has sent one. */
  readonly bookmark: Buffer | undefined;
  /** Warning headers upstream gives for this resource, to be given on. */
  readonly warnings: readonly string[];
}

/** What of a lane an answer is made of. */
export interface Extent {
  readonly interest: Interest;
  /** At most so many objects, the first in key order; 0 for all. */
  readonly limit: number;
}

/** One lane as the API edge sees it, wherever its cache is fed from. */
export interface LaneView {
  readonly lane: Lane;
  /** Names what the view holds: the lane's key, or with the part of it behind. */
  readonly key: string;
  readonly facts: LaneFacts;
  /** Replaced by a new one when history is lost (a new epoch); see `onEnd`. */
  readonly cache: WatchCache;
  readonly bookmark: BookmarkTemplate;
  /** Monotonic time in ms at which a change was last applied. */
  readonly appliedAt: number;
  /**
   * Calls `use` at a moment at which the lane is proved to hold everything upstream had when this was called (promise
   * I6), with the version it is proved for, and resolves with what `use` gives. That version may be above the
   * watermark: then the objects are those of that version all the same, and a stream that begins with them hides what
   * comes at or below it. One proof is shared by all who asked before it began. `use` may read no more than `extent`,
   * for the proof may be of that alone. Rejects with StatusError if there is none within `timeoutMs`.
   */
  fresh<T>(timeoutMs: number, use: (rv: ResourceVersion) => T, extent: Extent): Promise<T>;
  /** Ms since `rv`, or a version above it, was first heard of; Infinity where that is not remembered (two minutes are). */
  ageOf(rv: ResourceVersion): number;
  /** Resolves true once the lane holds everything up to `rv`, false if it does not within `timeoutMs`. */
  reached(rv: ResourceVersion, timeoutMs: number): Promise<boolean>;
  /**
   * Fills the window from upstream's own history down to `rv`. False if upstream says that is gone (410).
   */
  backfill(rv: ResourceVersion): Promise<boolean>;
  /** Called when open watches must end, before `cache` is replaced. Returns how to stop listening. */
  onEnd(listener: (end: LaneEnd) => void): () => void;
}

/** Where the API edge gets lanes from. */
export interface LaneSource {
  /** Whether what `interest` selects is read from a lane that is open or being opened: to use it costs upstream nothing. */
  isOpen(lane: Lane, interest: Interest): boolean;
  /**
   * A view that holds at least all of the lane that `interest` can select, opened if it is not. It stays open at least until `release` and the idle time after it.
   * Rejects with StatusError where it cannot be opened: upstream's own answer, or 429 while upstream is away.
   */
  acquire(lane: Lane, interest: Interest): Promise<{ readonly view: LaneView; release(): void }>;
}
