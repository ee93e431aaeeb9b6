import type { LaneRequests } from '@dogwatch/bus/bus.ts';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import { StatusError, serviceUnavailable } from '@dogwatch/kube/status.ts';
import type { Faults } from './faults.ts';
import type { History } from './history.ts';
import type { SimIngest } from './ingest.ts';
import type { Random } from './random.ts';

export interface SimFenceOptions {
  readonly ingest: SimIngest;
  readonly history: History;
  readonly random: Random;
  readonly faults: Faults;
}

type Request = LaneRequests['fence']['request'];
type Reply = LaneRequests['fence']['reply'];

/** What followers ask for proof, as an ingest answers it: as things are at some moment after the question, or not at all. */
export class SimFence {
  readonly bus = new MemoryBus();
  readonly #options: SimFenceOptions;
  readonly #waiting: (() => void)[] = [];

  constructor(options: SimFenceOptions) {
    this.#options = options;
    this.bus.serve('fence', (request) => this.#ask(request));
  }

  /** Answers one question; false if there is none. */
  step(): boolean {
    const { random } = this.#options;
    if (this.#waiting.length === 0) return false;
    this.#waiting.splice(random.below(this.#waiting.length), 1)[0]!();
    return true;
  }

  /** Upstream answers at a moment of its own, and the answer is under way for a while. */
  #ask(request: Request): Promise<Reply> {
    const { random, faults } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    this.#waiting.push(() => {
      if (random.chance(faults.away)) return reject(new StatusError(serviceUnavailable('upstream is away', 1)));
      const epoch = this.#options.ingest.epoch;
      const reply = this.#answer(request);
      this.#waiting.push(() => {
        if (request.epoch === epoch && this.#options.ingest.epoch === epoch) return resolve(reply);
        reject(new StatusError(serviceUnavailable('the history has changed', 1)));
      });
    });
    return promise;
  }

  #answer({ inventory, moving = false }: Request): Reply {
    const { history, ingest } = this.#options;
    const { rv } = history;
    if (!inventory && !moving) ingest.watermark();
    const held = [...history.objectsAt(rv)].toSorted(([left], [right]) => (left < right ? -1 : 1));
    const objects = new Map(held.map(([key, { uid, rv: version }]) => [key, { uid, rv: version }]));
    return { rv, inventory: inventory ? { rv, objects } : undefined };
  }
}
