import type { LaneEntry } from '@dogwatch/bus/lane-directory.ts';
import type { NatsAppender } from '@dogwatch/bus/nats-appender.ts';
import type { LogResource } from '@dogwatch/bus/nats-subject.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';

/** One leadership over one track of the log; see NatsAppender. */
export type TrackAppender = Pick<NatsAppender, 'term' | 'head' | 'append' | 'close'>;

/** The right to publish one track. */
export interface TrackGrant {
  readonly track: string;
  readonly term: number;
  /** Everything up to here was published before; undefined: nothing was. */
  readonly from: ResourceVersion | undefined;
  /** Where the track is appended behind the live path; undefined: there is no log. */
  readonly appender: TrackAppender | undefined;
}

/** The right to publish one lane, partition by partition. */
export interface LaneGrant {
  /** Names the history that goes on; 0: there is none, or none that can. */
  readonly epoch: number;
  readonly tracks: readonly TrackGrant[];
  /** Aborts when the right ends. */
  readonly signal: AbortSignal;
  /** True: it goes on, but a part of it was never published, so that it has to be listed. */
  readonly listing: boolean;
}

/** What an ingest does as its reigns tell it. */
export interface ReignedLanes {
  /** Somebody else leads the resource, or nobody: exactly these of its lanes are read, and none is published. */
  standBy(resource: LogResource, lanes: readonly LaneEntry[]): void;
  /** Publishes the lane from now on, going on where `grant` says; it is opened if it is not. */
  lead(lane: Lane, entry: LaneEntry, grant: LaneGrant): Promise<void>;
  /** What the directory says of a lane; undefined if it has not been published, or is not any more. */
  entryOf(lane: Lane): LaneEntry | undefined;
}

/** Who may publish a resource's lanes, and where their log is. */
export interface Reigns {
  /** The name requests can be addressed to; undefined where there is but one ingest. */
  readonly name: string | undefined;
  /** Tells `lanes` what to read and what to publish until `signal` aborts. */
  run(lanes: ReignedLanes, signal: AbortSignal): Promise<void>;
  /** Resolves once this ingest leads the resource. Rejects with StatusError (503) that names who does. */
  claim(resource: LogResource): Promise<void>;
  /** The right to publish a lane of a resource that is led, which is opened anew. Rejects with StatusError. */
  grant(lane: Lane, partitions: number): Promise<LaneGrant>;
  /** The right to go on with a track whose log was lost, or another way to append to it. Rejects with Deposed. */
  renew(lane: Lane, track: string): Promise<TrackAppender>;
  /** Epoch of the next history of a lane. */
  nextEpoch(after: number): number;
  /**
   * Makes a lane's new history known to other ingests, before it is published. Undefined if there is nobody to tell.
   * Rejects with StatusError if somebody else leads by then.
   */
  declare(lane: Lane, entry: LaneEntry): Promise<void> | undefined;
  /** The lane is closed; whoever leads next need not open it. */
  forget(lane: Lane): void;
  /** The log says that somebody else leads a track of this resource. */
  deposed(resource: LogResource): void;
}

const FOR_EVER = new AbortController().signal;

/** The only ingest there is: it leads everything from the start, and there is no log. */
export class SoloReigns implements Reigns {
  readonly name = undefined;

  run(): Promise<void> {
    return Promise.resolve();
  }

  claim(): Promise<void> {
    return Promise.resolve();
  }

  grant(lane: Lane, partitions: number): Promise<LaneGrant> {
    const tracks = Array.from({ length: partitions }, (_, partition) => {
      return { track: trackOf(lane, partition), term: 0, from: undefined, appender: undefined };
    });
    return Promise.resolve({ epoch: 0, tracks, signal: FOR_EVER, listing: true });
  }

  renew(): Promise<TrackAppender> {
    return Promise.reject(new Error('there is no log to append to'));
  }

  nextEpoch(after: number): number {
    return after + 1;
  }

  declare(): undefined {}

  forget(): void {}

  deposed(): void {}
}
