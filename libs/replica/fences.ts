import type { Bus, LaneRequests } from '@dogwatch/bus/bus.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';

type Fence = LaneRequests['fence']['reply'];

/** Fences of a lane, of one kind. A herd that asks at once costs two: the one under way began before it, the next does. */
export class Fences {
  readonly #ask: () => Promise<Fence>;
  #running: Promise<Fence> | undefined;
  #next: Promise<Fence> | undefined;

  constructor(bus: Bus, lane: Lane, inventory: boolean) {
    this.#ask = () => bus.request('fence', { lane, inventory });
  }

  /** Resolves with one that began after this call. Rejects with StatusError. */
  raise(): Promise<Fence> {
    if (this.#running === undefined) return this.#start();
    const start = (): Promise<Fence> => {
      this.#next = undefined;
      return this.#start();
    };
    return (this.#next ??= this.#running.then(start, start));
  }

  #start(): Promise<Fence> {
    const running = this.#ask().finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }
}
