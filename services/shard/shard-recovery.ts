import type { Bus } from '@dogwatch/bus/bus.ts';
import { NoResponder } from '@dogwatch/bus/bus.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { StatusError } from '@dogwatch/kube/status.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import { type Lack, type Recovery, leadsOn } from '@dogwatch/replica/lane-supply.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';

/** What is kept of tracks where no process needs to live. */
export interface TrackArchive {
  /** The newest checkpoint of a track; undefined if there is none. */
  checkpoint(lack: Lack): Promise<TrackState | undefined>;
  /**
   * Hands out what the log has behind `lack.from`, up to what was its end when this began. 'behind': it ends there or
   * before, 'hole': it does not continue it.
   */
  replay(lack: Lack, deliver: (envelope: Envelope) => void): Promise<'replayed' | 'behind' | 'hole'>;
}

/** The log is appended behind the live path, and not at all while JetStream elects a leader: 5 to 9 s. */
const LOG_PATIENCE_MS = 15_000;

export interface ShardRecoveryOptions {
  readonly bus: Bus;
  readonly archive: TrackArchive;
  /** The other shards that hold a track. */
  readonly peersOf: (track: string) => readonly string[];
  /** Names the history of a lane that is published, if that is known. */
  readonly epochOf: (lane: Lane) => number | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/** "It is not held here", which is an answer; anything else may be otherwise in a moment. */
function isNotHeld(error: unknown): boolean {
  return error instanceof NoResponder || (error instanceof StatusError && error.status.code === 410);
}

/**
 * How a shard gets what it lacks, the nearest first. Only if all say that they do not have it (none merely fails to
 * answer) is upstream listed anew: that is the last resort (promise I8).
 */
export class ShardRecovery implements Recovery {
  readonly #options: ShardRecoveryOptions;
  /** By track: since when its log is waited for. */
  readonly #waiting = new Map<string, number>();

  constructor(options: ShardRecoveryOptions) {
    this.#options = options;
  }

  async recover(lack: Lack, deliver: (envelope: Envelope) => void): Promise<TrackState | 'delivered' | 'published'> {
    const { bus, log } = this.#options;
    const { lane, partition } = lack;
    const track = trackOf(lane, partition);
    const found = lack.from === undefined ? await this.#boot(lack) : await this.#catchUp(lack, deliver);
    if (found === undefined) {
      log.warn({ track }, 'nobody holds what is missing of a track: upstream is listed anew');
      await bus.request('repair', { lane });
    }
    this.#waiting.delete(track);
    return found ?? 'published';
  }

  async #boot(lack: Lack): Promise<TrackState | undefined> {
    const near = await this.#fromPeers(lack);
    if (near !== undefined) return near;
    let unread: unknown;
    try {
      const kept = await this.#options.archive.checkpoint(lack);
      // Of a history that is over it would be taken for what there is.
      if (kept !== undefined && kept.epoch >= (this.#options.epochOf(lack.lane) ?? 0)) return kept;
    } catch (error) {
      unread = error;
    }
    const read = await this.#ask(lack, undefined);
    if (read === undefined && unread !== undefined) throw unread;
    return read;
  }

  async #catchUp(lack: Lack, deliver: (envelope: Envelope) => void): Promise<TrackState | 'delivered' | undefined> {
    const near = (await this.#ask(lack, undefined)) ?? (await this.#fromPeers(lack));
    if (near?.kind === 'changes') return near;
    const replayed = await this.#options.archive.replay(lack, deliver);
    if (replayed === 'replayed') return 'delivered';
    if (replayed === 'behind' && near === undefined && this.#mayWait(trackOf(lack.lane, lack.partition))) {
      throw new Error('the log has not got there yet');
    }
    return near;
  }

  #mayWait(track: string): boolean {
    const now = this.#options.clock.now();
    const since = this.#waiting.get(track) ?? now;
    this.#waiting.set(track, since);
    return now - since < LOG_PATIENCE_MS;
  }

  async #fromPeers({ lane, partition, from }: Lack): Promise<TrackState | undefined> {
    for (const peer of this.#options.peersOf(trackOf(lane, partition))) {
      const found = await this.#ask({ lane, partition, from }, peer);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Undefined where it is not held, or not more than `from`. `to` undefined: the ingest that reads the lane. */
  async #ask({ lane, partition, from }: Lack, to: string | undefined): Promise<TrackState | undefined> {
    try {
      const found = await this.#options.bus.request('sync', { lane, partition, from }, to);
      return to === undefined || leadsOn(found, from) ? found : undefined;
    } catch (error) {
      if (isNotHeld(error)) return undefined;
      throw error;
    }
  }
}
