import type { NatsCheckpoints } from '@dogwatch/bus/nats-checkpoints.ts';
import type { NatsLog } from '@dogwatch/bus/nats-log.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { TrackStateReader } from '@dogwatch/bus/track-state-codec.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { Lack } from '@dogwatch/replica/lane-supply.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { WHOLE_VERSION } from '@dogwatch/watch/watch-cache.ts';
import type { TrackArchive } from './shard-recovery.ts';

/** Checkpoints and logs in JetStream. */
export class NatsArchive implements TrackArchive {
  readonly #checkpoints: NatsCheckpoints;
  readonly #logOf: (lane: Lane) => NatsLog;

  constructor(options: { checkpoints: NatsCheckpoints; logOf: (lane: Lane) => NatsLog }) {
    this.#checkpoints = options.checkpoints;
    this.#logOf = options.logOf;
  }

  async checkpoint({ lane, partition }: Lack): Promise<TrackState | undefined> {
    const checkpoint = await this.#checkpoints.read(trackOf(lane, partition));
    if (checkpoint === undefined) return undefined;
    const reader = new TrackStateReader();
    for await (const page of checkpoint.pages()) {
      const state = reader.add(page);
      if (state !== undefined) return state;
    }
    return undefined;
  }

  async replay(
    { lane, partition, from }: Lack,
    deliver: (envelope: Envelope) => void,
  ): Promise<'replayed' | 'behind' | 'hole'> {
    if (from === undefined) return 'hole';
    const track = trackOf(lane, partition);
    const log = this.#logOf(lane);
    const end = await log.end(track);
    const { rv, index } = from.position;
    if (end === undefined || end.rv <= rv) return 'behind';
    const ended = Promise.withResolvers<'replayed' | 'hole'>();
    const reader = log.read(track, {
      // Of a version that is held in part, the rest may be in an envelope of its own.
      from: { rv: index < WHOLE_VERSION ? rv - 1 : rv },
      onEnvelope: (envelope, sequence) => {
        try {
          deliver(envelope);
        } catch {
          // It does not continue what is held: the log has a hole here.
          ended.resolve('hole');
          return;
        }
        if (sequence >= end.sequence) ended.resolve('replayed');
      },
      onLost: () => ended.resolve('hole'),
    });
    try {
      return await ended.promise;
    } finally {
      reader.stop();
    }
  }
}
