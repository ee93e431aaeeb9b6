import { setImmediate } from 'node:timers/promises';
import type { Bus } from '@dogwatch/bus/bus.ts';
import { type Lane, isCachedUpstream } from '@dogwatch/kube/lane.ts';
import type { Clock } from '@dogwatch/process/clock.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Extent } from '@dogwatch/watch/lane-view.ts';
import { Stretch } from './stretch.ts';
import { Inventory, InventorySizes, WHOLE_LANE, extentKey, inventoryScope } from './inventory.ts';

/**
 * Objects of an inventory. Up to here one costs upstream less than half of the request it stands for, and the event loop
 * a few ms; beyond, the lane is verified, which takes 0.5 to 1.9 s whatever its size.
 */
const INVENTORY_OBJECTS_MAX = 20_000;

/** Who asks waits for others so long, each turn a ms or two while there is much to do. */
const GATHER_TURNS_MAX = 20;

/** What one request has doubts about. */
export interface Doubt {
  /** The history that is held. */
  readonly epoch: number;
  readonly extent: Extent;
  /** Objects of the extent. */
  readonly objects: number;
  /** Objects of the lane; Infinity where only a part of it is held. */
  readonly laneObjects: number;
  /** The lane is on the move. */
  readonly moving: boolean;
  /** Fences that have proved nothing to it. */
  readonly failed: number;
}

/** What is known of upstream at a moment. */
export interface Fence {
  readonly epoch: number;
  readonly rv: ResourceVersion;
  readonly inventory: Inventory | undefined;
  /** The lane is made to get there, which is to be waited for. */
  readonly verified: boolean;
}

/** What upstream is asked. `probe`: its version; `verify`: that, and to make the lane get there. */
type Question = 'probe' | 'verify' | Extent;

interface Waiting {
  readonly doubt: Doubt;
  readonly resolve: (fence: Fence) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Fences of a lane, one at a time. All who ask while one is under way share the next, whatever they ask about: a herd
 * costs upstream two requests, the one that had left before it came and the one that serves it.
 */
export class Fences {
  readonly #bus: Bus;
  readonly #lane: Lane;
  /** Of inventories, for those who ask. */
  readonly sizes = new InventorySizes(INVENTORY_OBJECTS_MAX);
  /** Passed by those who make their answers of one fence. */
  readonly stretch: Stretch;
  #waiting: Waiting[] = [];
  #asking = false;

  constructor({ bus, lane, clock }: { readonly bus: Bus; readonly lane: Lane; readonly clock: Clock }) {
    this.#bus = bus;
    this.#lane = lane;
    this.stretch = new Stretch(clock);
  }

  /** True if there is nothing but inventories to tell. */
  get inventoriesOnly(): boolean {
    return !isCachedUpstream(this.#lane);
  }

  /** Resolves with one that began after this call. Rejects with StatusError. */
  raise(doubt: Doubt): Promise<Fence> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ doubt, resolve, reject });
      if (!this.#asking) void this.#askForAll();
    });
  }

  async #askForAll(): Promise<void> {
    this.#asking = true;
    while (this.#waiting.length > 0) {
      await this.#gather();
      const served = this.#waiting;
      this.#waiting = [];
      try {
        const fence = await this.#ask(served.map(({ doubt }) => doubt));
        for (const { resolve } of served) resolve(fence);
      } catch (error) {
        for (const { reject } of served) reject(error);
      }
    }
    this.#asking = false;
  }

  /** A herd comes in more than one turn of the event loop: while more come in each, none leaves. */
  async #gather(): Promise<void> {
    for (let turns = 0, count = 0; count < this.#waiting.length && turns < GATHER_TURNS_MAX; turns++) {
      count = this.#waiting.length;
      await setImmediate();
    }
  }

  async #ask(doubts: readonly Doubt[]): Promise<Fence> {
    const question = this.#question(doubts);
    const epoch = doubts.reduce((highest, doubt) => Math.max(highest, doubt.epoch), 0);
    const common = { lane: this.#lane, epoch };
    if (question === 'probe' || question === 'verify') {
      const { rv } = await this.#bus.request('fence', { ...common, inventory: false, moving: question === 'probe' });
      return { epoch, rv, inventory: undefined, verified: question === 'verify' };
    }
    const scope = inventoryScope(question);
    const { rv, inventory } = await this.#bus.request('fence', { ...common, inventory: true, scope });
    return { epoch, rv, inventory: inventory && new Inventory(inventory, question), verified: false };
  }

  /** The cheapest that can serve all. */
  #question(doubts: readonly Doubt[]): Question {
    const [first] = doubts;
    if (first === undefined) throw new Error('nobody has asked');
    if (doubts.every(({ moving, failed }) => moving && failed === 0)) return 'probe';
    const alike = doubts.every(({ extent }) => extentKey(extent) === extentKey(first.extent));
    const extent = alike ? first.extent : WHOLE_LANE;
    if (this.inventoriesOnly) return extent;
    if (doubts.some(({ failed }) => failed > 1)) return 'verify';
    const objects = Math.max(...doubts.map((doubt) => (alike ? doubt.objects : doubt.laneObjects)));
    return objects <= INVENTORY_OBJECTS_MAX ? extent : 'verify';
  }
}
