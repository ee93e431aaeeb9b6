import type { Lane } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Change, Position } from '@dogwatch/watch/watch-cache.ts';
import type { Envelope } from './envelope.ts';
import type { TrackState } from './track-state.ts';

/** A part of a lane, as the parameters of a LIST name it. */
export interface InventoryScope {
  /** "" for all. */
  readonly namespace: string;
  readonly labelSelector: string;
  readonly fieldSelector: string;
  /** At most so many objects, the first in key order; 0 for all. */
  readonly limit: number;
}

/** Name and version of every object of a lane, or of a part of it, as a consistent list upstream gave them. */
export interface LaneInventory {
  readonly rv: ResourceVersion;
  /** By object key, in upstream's order. */
  readonly objects: ReadonlyMap<string, { readonly uid: string; readonly rv: ResourceVersion }>;
  /** There are more than the limit. */
  readonly more?: true;
}

/** What followers of a lane may ask its ingest, and what they get. Rejections carry a StatusError. */
export interface LaneRequests {
  /**
   * Starts reading the lane if it is not read, and keeps it open for the idle time from now. Replies with the number
   * of its partitions, once there is something published that followers can begin with.
   */
  open: { request: { readonly lane: Lane }; reply: { readonly partitions: number } };
  /** Stops reading the lane. */
  close: { request: { readonly lane: Lane }; reply: void };
  /** Publishes a listing again, because a follower found a gap. */
  repair: { request: { readonly lane: Lane }; reply: void };
  /**
   * Asks upstream for its present version and sees to it that the lane's watermark gets there. With `inventory` the
   * reply says what there is at that version, so that a quiet lane need not wait, and nothing else is seen to.
   */
  fence: {
    request: {
      readonly lane: Lane;
      readonly inventory: boolean;
      /** What the inventory is of. Default: all of the lane. */
      readonly scope?: InventoryScope;
      /** The history the follower holds: of another there is no proof (503). Default: any. */
      readonly epoch?: number;
      /** The lane is on the move: its watermark gets there by itself. Default false. */
      readonly moving?: boolean;
    };
    reply: { readonly rv: ResourceVersion; readonly inventory: LaneInventory | undefined };
  };
  /** Changes in (from, to] from upstream's own window; undefined if upstream says they are gone. */
  backfill: {
    request: { readonly lane: Lane; readonly from: ResourceVersion; readonly to: ResourceVersion };
    reply: readonly Change[] | undefined;
  };
  /**
   * What a follower of one partition lacks: the changes that continue `from` in its history, or, without `from` and
   * where they are not held any more, all there is. Rejects with StatusError where nothing is held.
   */
  sync: {
    request: {
      readonly lane: Lane;
      readonly partition: number;
      readonly from: { readonly epoch: number; readonly position: Position } | undefined;
      /** Only what concerns these, which from now on is put on the link of their follower. */
      readonly link?: LinkRequest;
    };
    reply: TrackState;
  };
  /** Nobody at the follower needs these any more; where nothing is named, nothing of the partition. */
  unlink: {
    request: { readonly lane: Lane; readonly partition: number } & Omit<LinkRequest, 'replace'>;
    reply: void;
  };
  /** What a process has to say of itself, as JSON has it. */
  status: { request: Record<string, never>; reply: Readonly<Record<string, unknown>> };
}

/** What a fan-out node wants of a partition, where it does not want all. */
export interface LinkRequest {
  /** Name of the fan-out node. */
  readonly follower: string;
  /** True: instead of what is on the link; false: beside it. */
  readonly replace: boolean;
  /** Keys of objects. */
  readonly names: readonly string[];
  /** Values of the indexed field. */
  readonly indexed: readonly string[];
}

export type LaneRequestKind = keyof LaneRequests;

/**
 * A log of facts between the parts of dogwatch. Envelopes of one track are delivered in the order published, each to
 * every follower; a follower that is away misses them, and finds out by the chain of positions. What a connection that
 * broke had taken may come late, behind what was published since: by its position a follower sees that it holds it.
 */
export interface Bus {
  /** `term`: the leadership under which this is published; a follower drops what comes of a lower one. Default 0. */
  publish(track: string, envelope: Envelope, term?: number): void;
  /** This process publishes the track no more: another may lead it now. Nothing is told to followers. */
  cease(track: string): void;
  /** Delivers envelopes published from now on; returns how to stop. */
  follow(track: string, onEnvelope: (envelope: Envelope) => void): () => void;
  /**
   * Calls `listener` when the bus is back after it was away: what was published meanwhile, by anybody, may not have
   * come. Followers need nothing of it, for the chain shows them what they missed. Returns how to stop.
   */
  onReconnected(listener: () => void): () => void;
  /** Asks the process named `to`, or any that answers. Rejects with NoResponder, StatusError. */
  request<K extends LaneRequestKind>(
    kind: K,
    request: LaneRequests[K]['request'],
    to?: string,
  ): Promise<LaneRequests[K]['reply']>;
  /** Answers requests of one kind, those to the process named `as` and those to any; returns how to stop. */
  serve<K extends LaneRequestKind>(
    kind: K,
    handler: (request: LaneRequests[K]['request']) => Promise<LaneRequests[K]['reply']>,
    as?: string,
  ): () => void;
}

/** A request of this kind has no server: the part that answers it is not running. */
export class NoResponder extends Error {
  readonly code = 'NoResponder';
  constructor(kind: LaneRequestKind, to?: string) {
    super(
      to === undefined
        ? `nobody on the bus answers "${kind}" requests: is the ingest running?`
        : `${to} does not answer "${kind}" requests: is it running?`,
    );
  }
}
