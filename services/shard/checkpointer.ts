import { encodeTrackState } from '@dogwatch/bus/track-state-codec.ts';
import { type Clock, sleep } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { HeldTrack } from './held-track.ts';

/** A window up to this many bytes is written too: then watches resume exactly from before the checkpoint. */
const WINDOW_BYTES_MAX = 8 * 1024 * 1024;
/** A track without a checkpoint gets its first so soon. */
const FIRST_MS = 2_000;

/** Where checkpoints are kept. */
export interface CheckpointStore {
  write(track: string, pages: Iterable<Buffer>): Promise<unknown>;
  /** Facts of the newest whole checkpoint; undefined if there is none. */
  latest(track: string): Promise<{ readonly id: string } | undefined>;
}

/** Writes the state of partitions where it outlives every process, one after the other. */
export class Checkpointer {
  readonly #deps: { readonly checkpoints: CheckpointStore; readonly clock: Clock; readonly log: Log };
  readonly #options: { readonly intervalMs: number; readonly due: () => readonly HeldTrack[] };
  /** By track: what the last one written held, and when. */
  readonly #written = new Map<string, { readonly watermark: ResourceVersion; readonly at: number }>();

  constructor(
    deps: { readonly checkpoints: CheckpointStore; readonly clock: Clock; readonly log: Log },
    options: { readonly intervalMs: number; readonly due: () => readonly HeldTrack[] },
  ) {
    this.#deps = deps;
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    while (!signal.aborted) {
      await sleep(clock, Math.min(FIRST_MS, this.#options.intervalMs), signal);
      for (const held of this.#options.due()) {
        if (!signal.aborted && held.replica.ready && this.#isDue(held)) await this.#write(held);
      }
    }
  }

  #isDue({ track, replica }: HeldTrack): boolean {
    const last = this.#written.get(track);
    if (last === undefined) return true;
    if (this.#deps.clock.now() - last.at < this.#options.intervalMs) return false;
    return replica.cache.watermark > last.watermark;
  }

  async #write({ track, replica }: HeldTrack): Promise<void> {
    const { checkpoints, clock, log } = this.#deps;
    const { cache, facts, epoch } = replica;
    const { watermark, position } = cache;
    const history = cache.window.bytes <= WINDOW_BYTES_MAX ? cache.history() : cache.present();
    try {
      await checkpoints.write(
        track,
        encodeTrackState({ kind: 'state', epoch, facts, position, watermark, ...history }),
      );
      this.#written.set(track, { watermark, at: clock.now() });
      log.debug({ track, watermark }, 'checkpoint written');
    } catch (error) {
      log.warn({ track, err: error }, 'a checkpoint could not be written, trying again');
    }
  }
}
