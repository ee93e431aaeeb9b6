import type { Envelope } from '@dogwatch/bus/envelope.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { LaneFacts } from '@dogwatch/watch/lane-view.ts';
import { partitionOf } from '@dogwatch/watch/partition.ts';
import { podSchema } from '@dogwatch/watch/test-objects.ts';
import { type Change, type Position, WHOLE_VERSION, comparePositions } from '@dogwatch/watch/watch-cache.ts';
import type { History } from './history.ts';
import type { Random } from './random.ts';

const FACTS: LaneFacts = {
  schema: podSchema,
  kind: 'Pod',
  apiVersion: 'v1',
  listKind: 'PodList',
  layout: 'typed',
  bookmark: undefined,
  warnings: [],
};

/** True if something of the version `base` may be missing at `position`. */
function isBefore(position: Position, base: ResourceVersion): boolean {
  return comparePositions(position, { rv: base, index: WHOLE_VERSION }) < 0;
}

/** What was published of one track since its last listing. */
interface Track {
  /** Version of that listing. */
  base: ResourceVersion;
  /** Behind the last envelope. */
  position: Position;
  changes: { readonly change: Change; readonly place: Position }[];
  pending: Change[];
  /** Each with the position behind it; the first is the listing. */
  envelopes: { readonly envelope: Envelope; readonly behind: Position }[];
}

export interface IngestOptions {
  readonly history: History;
  readonly partitions: number;
  readonly random: Random;
  readonly publish: (partition: number, envelope: Envelope) => void;
}

/** Reads the history as far as it likes and publishes it by partition; remembers what it published, as a peer would. */
export class SimIngest {
  readonly #options: IngestOptions;
  readonly #tracks: Track[];
  #read = 0;
  /** Version of the last change read. */
  #readRv: ResourceVersion = 0;
  epoch = 0;
  listings = 0;

  constructor(options: IngestOptions) {
    this.#options = options;
    this.#tracks = Array.from({ length: options.partitions }, () => ({
      base: 0,
      position: { rv: 0, index: 0 },
      changes: [],
      pending: [],
      envelopes: [],
    }));
    this.list(true);
  }

  /** Reads at most `count` changes and publishes them, in the middle of a version, too. */
  advance(count: number): void {
    const { history, random, partitions } = this.#options;
    for (const change of history.changes.slice(this.#read, this.#read + count)) {
      this.#trackOf(change.object).pending.push(change);
      this.#readRv = change.object.rv;
      this.#read++;
    }
    const idle = this.#tracks.filter(({ pending }) => pending.length === 0);
    this.#flush();
    // At most every so often: not with every flush.
    if (partitions > 1 && random.chance(0.7)) for (const track of idle) this.#vouch(track, this.#readRv);
  }

  /** Upstream vouches for what was read, up to the next change. */
  watermark(): void {
    const unread = this.#options.history.changes[this.#read];
    const rv = unread === undefined ? this.#options.history.rv : unread.object.rv - 1;
    for (const track of this.#tracks) this.#vouch(track, rv);
  }

  /** What was not read is passed over: all objects are published again. `newEpoch`: as if nothing continued. */
  list(newEpoch: boolean): void {
    const { history } = this.#options;
    const { rv } = history;
    if (newEpoch && this.epoch > 0) {
      for (const track of this.#tracks) this.#publish(track, { kind: 'end', epoch: this.epoch, end: 'expired' });
    }
    if (newEpoch) this.epoch++;
    this.#read = history.changes.length;
    this.#readRv = rv;
    this.listings++;
    for (const track of this.#tracks) {
      Object.assign(track, { base: rv, position: { rv, index: WHOLE_VERSION }, changes: [], envelopes: [] });
      const listing = { rv, objects: this.#objectsAt(rv, this.#tracks.indexOf(track)) };
      this.#publish(track, { kind: 'listing', epoch: this.epoch, facts: FACTS, listing });
    }
  }

  /** What a peer answers that holds everything published; `short`: it has forgotten what led to what it holds. */
  stateOf(partition: number, from: { epoch: number; position: Position } | undefined, short: boolean): TrackState {
    const { random } = this.#options;
    const track = this.#tracks[partition]!;
    const { base, position } = track;
    const watermark = position.index === WHOLE_VERSION || this.#tracks.length > 1 ? position.rv : position.rv - 1;
    const common = { epoch: this.epoch, position, watermark: Math.max(watermark, base) };
    const continues = from !== undefined && from.epoch === this.epoch && !isBefore(from.position, base);
    if (continues && (!short || from.position.rv >= common.watermark)) {
      const changes = track.changes.filter(({ place }) => comparePositions(place, from.position) > 0);
      return { kind: 'changes', ...common, changes: changes.map(({ change }) => change) };
    }
    const lowest = short && continues ? from.position.rv + 1 : base;
    // Rather an old listing and many changes than the other way round, as of a peer that has been there for a while.
    const rv = lowest + random.below(1 + random.below(common.watermark - lowest + 1));
    const changes = track.changes.map(({ change }) => change);
    return {
      kind: 'state',
      ...common,
      facts: FACTS,
      listing: { rv, objects: this.#objectsAt(rv, partition) },
      changes: changes.filter(({ object }) => object.rv > rv),
      tombstones: changes
        .filter(({ type, object }) => type === 'DELETED' && object.rv <= rv)
        .map(({ object }) => ({ object, born: 0 })),
      horizon: base,
    };
  }

  /** The log of a track behind `from`, from its listing on where that does not continue it; with some before it. */
  logOf(partition: number, from: { epoch: number; position: Position } | undefined): Envelope[] {
    const { envelopes, base } = this.#tracks[partition]!;
    const continues = from !== undefined && from.epoch === this.epoch && !isBefore(from.position, base);
    const first = continues ? envelopes.findIndex(({ behind }) => comparePositions(behind, from.position) > 0) : 0;
    if (first === -1) return [];
    const start = continues ? Math.max(1, first - this.#options.random.below(3)) : 0;
    return envelopes.slice(start).map(({ envelope }) => envelope);
  }

  #trackOf({ namespace, name }: KubeObject): Track {
    return this.#tracks[partitionOf(namespace, name, this.#tracks.length)]!;
  }

  #objectsAt(rv: ResourceVersion, partition: number): KubeObject[] {
    return [...this.#options.history.objectsAt(rv).values()].filter(
      ({ namespace, name }) => partitionOf(namespace, name, this.#tracks.length) === partition,
    );
  }

  #flush(): void {
    for (const track of this.#tracks) {
      if (track.pending.length === 0) continue;
      const { pending, position: previous } = track;
      track.pending = [];
      for (const change of pending) {
        const { rv } = change.object;
        const { position } = track;
        track.position = rv === position.rv ? { rv, index: position.index + 1 } : { rv, index: 0 };
        track.changes.push({ change, place: track.position });
      }
      this.#publish(track, { kind: 'batch', epoch: this.epoch, batch: { previous, changes: pending } });
    }
  }

  #vouch(track: Track, rv: ResourceVersion): void {
    const reached = { rv, index: WHOLE_VERSION };
    if (comparePositions(reached, track.position) <= 0) return;
    const { position: previous } = track;
    track.position = reached;
    this.#publish(track, { kind: 'watermark', epoch: this.epoch, previous, rv });
  }

  #publish(track: Track, envelope: Envelope): void {
    if (envelope.kind !== 'end') track.envelopes.push({ envelope, behind: track.position });
    this.#options.publish(this.#tracks.indexOf(track), envelope);
  }
}
