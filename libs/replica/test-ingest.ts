import type { Bus, LaneInventory, LaneRequests } from '@dogwatch/bus/bus.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import type { FakeClock } from '@dogwatch/process/fake-clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import type { LaneFacts } from '@dogwatch/watch/lane-view.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import { podSchema } from '@dogwatch/watch/test-objects.ts';
import { type Change, type Position, WHOLE_VERSION } from '@dogwatch/watch/watch-cache.ts';

export const PODS: Lane = { group: '', version: 'v1', resource: 'pods', encoding: 'json', view: 'object' };
export const silent = createLogger({ level: 'error', pretty: false, destination: { write: () => {} } });

export const FACTS: LaneFacts = {
  schema: podSchema,
  kind: 'Pod',
  apiVersion: 'v1',
  listKind: 'PodList',
  layout: 'typed',
  bookmark: undefined,
  warnings: [],
};

const WHOLE = { namespace: '', labelSelector: '', fieldSelector: '', limit: 0 };

export function whole(rv: number): Position {
  return { rv, index: WHOLE_VERSION };
}

export function inventoryOf(rv: number, ...objects: readonly KubeObject[]): LaneInventory {
  return { rv, objects: new Map(objects.map((object) => [object.key, object])) };
}

/** An ingest by hand: the test says what it publishes and how it answers. */
export class TestIngest {
  readonly bus: Bus = new MemoryBus();
  /** What was asked, in order. */
  readonly asked: string[] = [];
  open: () => Promise<void> = () => Promise.resolve();
  /** Partitions of the lane. */
  partitions = 1;
  close: () => Promise<void> = () => Promise.resolve();
  repair: () => Promise<void> = () => Promise.resolve();
  fence: (request: LaneRequests['fence']['request']) => Promise<LaneRequests['fence']['reply']> = () =>
    Promise.reject(new Error('no fence'));
  backfill: (request: LaneRequests['backfill']['request']) => Promise<readonly Change[] | undefined> = () =>
    Promise.resolve(undefined);

  constructor() {
    const { bus, asked } = this;
    const note = (what: string): void => void asked.push(what);
    bus.serve('open', async () => {
      note('open');
      await this.open();
      return { partitions: this.partitions };
    });
    bus.serve('close', async () => (note('close'), await this.close()));
    bus.serve('repair', async () => (note('repair'), await this.repair()));
    bus.serve('fence', async (request) => {
      const { inventory, moving, scope } = request;
      const { namespace, labelSelector, fieldSelector, limit } = scope ?? WHOLE;
      const part = [namespace, labelSelector, fieldSelector, limit === 0 ? '' : `first ${limit}`];
      note(inventory ? ['inventory', ...part.filter((text) => text !== '')].join(' ') : moving ? 'probe' : 'verify');
      return await this.fence(request);
    });
    bus.serve(
      'backfill',
      async (request) => (note(`backfill ${request.from}..${request.to}`), await this.backfill(request)),
    );
  }

  publish(envelope: Envelope, lane = PODS): void {
    this.bus.publish(trackOf(lane), envelope);
  }

  listing(rv: number, objects: readonly KubeObject[], epoch = 1): void {
    this.publish({ kind: 'listing', epoch, facts: FACTS, listing: { rv, objects } });
  }

  batch(previous: Position, ...changes: readonly Change[]): void {
    this.publish({ kind: 'batch', epoch: 1, batch: { previous, changes } });
  }

  watermark(previous: Position, rv: number): void {
    this.publish({ kind: 'watermark', epoch: 1, previous, rv });
  }
}

/** One turn of the event loop: every promise that can settle without I/O has. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Moves time on in steps, so that what is asked for again in between is. */
export async function pass(clock: FakeClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 10) {
    await clock.advanceAsync(Math.min(10, ms - passed));
    await turn();
  }
}

/** What `promise` rejects with; watched from now on, so that it may reject before it is looked at. */
export function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'it did not reject',
    (error: unknown) => error,
  );
}
