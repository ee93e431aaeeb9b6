import { encodeTrackState } from '@dogwatch/bus/track-state-codec.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { HeldTrack } from './held-track.ts';

/** A window up to this many bytes is written too: then watches resume exactly from before the checkpoint. */
const WINDOW_BYTES_MAX = 8 * 1024 * 1024;
/** A track without a checkpoint gets its first so soon, and one that could not be written is tried again. */
const FIRST_MS = 2_000;

/** Where checkpoints are kept. */
export interface CheckpointStore {
  /**
   * Takes a page when there is room for it. Rejects if it was not stored, and with what `pages` throws; once `signal`
   * aborts nothing is tried again.
   */
  write(track: string, pages: Iterable<Buffer>, signal: AbortSignal): Promise<unknown>;
}

export interface CheckpointerOptions {
  /** Time between two of one track, in ms. */
  readonly intervalMs: number;
  /** The tracks this process writes for. */
  readonly due: () => readonly HeldTrack[];
}

/** What the last one of a track held, and when it was written. */
interface Written {
  readonly epoch: number;
  readonly watermark: ResourceVersion;
  readonly at: number;
}

/** Writes the state of partitions where it outlives every process, one after the other. */
export class Checkpointer {
  readonly #deps: { readonly checkpoints: CheckpointStore; readonly clock: Clock; readonly log: Log };
  readonly #options: CheckpointerOptions;
  /** By track. */
  readonly #written = new Map<string, Written>();

  constructor(
    deps: { readonly checkpoints: CheckpointStore; readonly clock: Clock; readonly log: Log },
    options: CheckpointerOptions,
  ) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Writes until `signal` aborts; one that is being written then is given up. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    while (!signal.aborted) {
      await sleep(clock, Math.min(FIRST_MS, this.#options.intervalMs), signal);
      const due = this.#options.due();
      const tracks = new Set(due.map(({ track }) => track));
      for (const track of this.#written.keys()) if (!tracks.has(track)) this.#written.delete(track);
      for (const held of due) {
        if (!signal.aborted && held.replica.ready && this.#isDue(held)) await this.#write(held, signal);
      }
    }
  }

  #isDue({ track, replica, reached }: HeldTrack): boolean {
    const last = this.#written.get(track);
    if (last === undefined || last.epoch !== replica.epoch) return true;
    return this.#deps.clock.now() - last.at >= this.#options.intervalMs && reached.watermark > last.watermark;
  }

  async #write({ track, replica, reached }: HeldTrack, signal: AbortSignal): Promise<void> {
    const { checkpoints, clock, log } = this.#deps;
    const { cache, facts } = replica;
    const history = cache.window.bytes <= WINDOW_BYTES_MAX ? cache.history() : cache.present();
    const { epoch, watermark } = reached;
    try {
      await checkpoints.write(track, pagesOf({ kind: 'state', ...reached, facts, ...history }, signal), signal);
      this.#written.set(track, { epoch, watermark, at: clock.now() });
      log.debug({ track, watermark }, 'checkpoint written');
    } catch (error) {
      if (signal.aborted) log.debug({ track, err: error }, 'a checkpoint was given up');
      else log.warn({ track, err: error }, 'a checkpoint could not be written, trying again');
    }
  }
}

/** The pages of a checkpoint, made when they are asked for. Throws once `signal` aborts. */
function* pagesOf(state: TrackState, signal: AbortSignal): Generator<Buffer, void> {
  for (const page of encodeTrackState(state)) {
    signal.throwIfAborted();
    yield page;
  }
}
