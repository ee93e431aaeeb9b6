import type { LaneRequests, LinkRequest } from '@dogwatch/bus/bus.ts';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import { linkTrack } from '@dogwatch/bus/link-track.ts';
import type { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import { trackOf } from '@dogwatch/watch/partition.ts';
import type { Change, Position, Tombstone } from '@dogwatch/watch/watch-cache.ts';
import { FACTS, PODS, whole } from './test-ingest.ts';
import type { WholeState } from './track-feed.ts';

export const FOLLOWER = 'fanout-0';

type SyncRequest = LaneRequests['sync']['request'];

interface Asked {
  readonly request: SyncRequest & { readonly link: LinkRequest };
  resolve(state: TrackState): void;
  reject(error: Error): void;
}

/** All there is at `rv`. */
export function stateAt(
  rv: number,
  objects: readonly KubeObject[] = [],
  parts: Partial<Pick<WholeState, 'epoch' | 'tombstones' | 'horizon' | 'position' | 'watermark'>> = {},
): WholeState {
  return {
    kind: 'state',
    epoch: 1,
    facts: FACTS,
    listing: { rv, objects },
    tombstones: [] as readonly Tombstone[],
    horizon: rv,
    changes: [],
    position: whole(rv),
    watermark: rv,
    ...parts,
  };
}

export function changesTo(rv: number, ...changes: readonly Change[]): TrackState {
  return { kind: 'changes', epoch: 1, changes, position: whole(rv), watermark: rv };
}

/** A shard by hand: the test says what it answers and when, and what it puts on links. */
export class TestShard {
  readonly name: string;
  /** Requests that are not answered yet, the oldest first. */
  readonly asked: Asked[] = [];
  /** `PARTITION names;values` of each unlink. */
  readonly unlinked: string[] = [];
  readonly #bus: MemoryBus;

  constructor(bus: MemoryBus, name: string) {
    this.name = name;
    this.#bus = bus;
    bus.serve(
      'sync',
      (request) => new Promise((resolve, reject) => this.asked.push({ request: request as never, resolve, reject })),
      name,
    );
    bus.serve(
      'unlink',
      async ({ partition, names, indexed }) =>
        void this.unlinked.push(`${partition} ${names.join()};${indexed.join()}`),
      name,
    );
  }

  /** What the oldest open request named, `=` before it where that is all of the link; undefined if there is none. */
  get next(): string | undefined {
    const link = this.asked[0]?.request.link;
    return link && `${link.replace ? '=' : '+'}${[...link.names, ...link.indexed].join()}`;
  }

  /** Answers the oldest request. */
  async answer(with_: TrackState | Error): Promise<void> {
    const asked = this.asked.shift()!;
    if (with_ instanceof Error) asked.reject(with_);
    else asked.resolve(with_);
    await turn();
  }

  /** Answers the oldest request about a partition. */
  async answerOf(partition: number, state: TrackState): Promise<void> {
    const at = this.asked.findIndex(({ request }) => request.partition === partition);
    this.asked.splice(at, 1)[0]!.resolve(state);
    await turn();
  }

  put(envelope: Envelope, partition = 0): void {
    this.#bus.publish(linkTrack(FOLLOWER, this.name, trackOf(PODS, partition)), envelope);
  }

  batch(previous: Position, changes: readonly Change[], partition = 0): void {
    this.put({ kind: 'batch', epoch: 1, batch: { previous, changes } }, partition);
  }

  watermark(previous: Position, rv: number, partition = 0): void {
    this.put({ kind: 'watermark', epoch: 1, previous, rv }, partition);
  }
}

/** One turn of the event loop: every promise that can settle has. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
