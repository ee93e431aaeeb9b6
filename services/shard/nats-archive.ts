import type { NatsCheckpoints } from '@dogwatch/bus/nats-checkpoints.ts';
import type { NatsLog } from '@dogwatch/bus/nats-log.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { TrackStateReader } from '@dogwatch/bus/track-state-codec.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { Clock, Timer } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { Lack } from '@dogwatch/replica/lane-supply.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { ChainGap, WHOLE_VERSION } from '@dogwatch/watch/watch-cache.ts';
import type { TrackArchive } from './shard-recovery.ts';

/** A log of which nothing comes for so long, though it has more, is given up for now. */
const SILENCE_MS = 15_000;

export interface NatsArchiveOptions {
  readonly checkpoints: Pick<NatsCheckpoints, 'read'>;
  readonly logOf: (lane: Lane) => Pick<NatsLog, 'end' | 'read'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Checkpoints and logs in JetStream. */
export class NatsArchive implements TrackArchive {
  readonly #options: NatsArchiveOptions;

  constructor(options: NatsArchiveOptions) {
    this.#options = options;
  }

  async checkpoint({ lane, partition }: Lack): Promise<TrackState | undefined> {
    const track = trackOf(lane, partition);
    const checkpoint = await this.#options.checkpoints.read(track);
    if (checkpoint === undefined) return undefined;
    const reader = new TrackStateReader();
    for await (const page of checkpoint.pages()) {
      const state = this.#read(reader, page, track);
      if (state === 'unreadable') return undefined;
      if (state !== undefined) return state;
    }
    this.#options.log.error({ track }, 'a checkpoint ends before its end, it is not used');
    return undefined;
  }

  async replay(
    { lane, partition, from }: Lack,
    deliver: (envelope: Envelope) => void,
  ): Promise<'replayed' | 'behind' | 'hole'> {
    if (from === undefined) return 'hole';
    const track = trackOf(lane, partition);
    const log = this.#options.logOf(lane);
    const end = await log.end(track);
    const { rv, index } = from.position;
    if (end === undefined || end.rv <= rv) return 'behind';
    const ended = Promise.withResolvers<'replayed' | 'hole'>();
    const silence = this.#silence(() => ended.reject(new Error(`nothing comes of the log of track ${track}`)));
    const reader = log.read(track, {
      // Of a version that is held in part, the rest may be in an envelope of its own.
      from: { rv: index < WHOLE_VERSION ? rv - 1 : rv },
      onEnvelope: (envelope, sequence) => {
        silence.heard();
        try {
          deliver(envelope);
        } catch (error) {
          if (error instanceof ChainGap) ended.resolve('hole');
          else ended.reject(error);
          return;
        }
        if (sequence >= end.sequence) ended.resolve('replayed');
      },
      onLost: () => ended.resolve('hole'),
    });
    try {
      return await ended.promise;
    } finally {
      silence.stop();
      reader.stop();
    }
  }

  /** A checkpoint that cannot be read would be there for ever: it counts as none. */
  #read(reader: TrackStateReader, page: Buffer, track: string): TrackState | 'unreadable' | undefined {
    try {
      return reader.add(page);
    } catch (error) {
      this.#options.log.error({ track, err: error }, 'a checkpoint cannot be read, it is not used');
      return 'unreadable';
    }
  }

  #silence(onSilent: () => void): { heard(): void; stop(): void } {
    const { clock } = this.#options;
    let timer: Timer = clock.setTimeout(onSilent, SILENCE_MS);
    return {
      heard: () => {
        timer.cancel();
        timer = clock.setTimeout(onSilent, SILENCE_MS);
      },
      stop: () => timer.cancel(),
    };
  }
}
