import type { Lane } from '@dogwatch/kube/lane.ts';
import type { Interest } from '@dogwatch/watch/interest.ts';
import type { LaneSource, LaneView } from '@dogwatch/watch/lane-view.ts';

/** Secrets are neither on the bus nor in a checkpoint, whole or in part. */
export function isUnshared({ group, resource }: Pick<Lane, 'group' | 'resource'>): boolean {
  return group === '' && resource === 'secrets';
}

/**
 * Lanes of the whole dogwatch, but those that must not leave a process: they come from `own`, which reads them upstream
 * once for all clients of this process.
 */
export class UnsharedLanes implements LaneSource {
  readonly #shared: LaneSource;
  readonly #own: LaneSource;

  constructor(lanes: { readonly shared: LaneSource; readonly own: LaneSource }) {
    this.#shared = lanes.shared;
    this.#own = lanes.own;
  }

  isOpen(lane: Lane, interest: Interest): boolean {
    return this.#sourceOf(lane).isOpen(lane, interest);
  }

  acquire(lane: Lane, interest: Interest): Promise<{ readonly view: LaneView; release(): void }> {
    return this.#sourceOf(lane).acquire(lane, interest);
  }

  #sourceOf(lane: Lane): LaneSource {
    return isUnshared(lane) ? this.#own : this.#shared;
  }
}
