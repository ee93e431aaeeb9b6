import type { KubeObject } from '@dogwatch/kube/kube-object.ts';
import type { ResourceVersion } from '@dogwatch/kube/resource-version.ts';
import type { Change, Listing, Tombstone } from './watch-cache.ts';

/** All there is of one partition: its objects at one version, and what has changed since. */
export interface PartitionState {
  readonly listing: Listing;
  /** Above `listing.rv`, in the order of the partition. */
  readonly changes: readonly Change[];
  /** Everything up to here is included. */
  readonly watermark: ResourceVersion;
  /** Deletes at or below `listing.rv`, ascending. */
  readonly tombstones: readonly Tombstone[];
  /** Every delete above this version is in `tombstones` or `changes`. */
  readonly horizon: ResourceVersion;
}

/** One consistent moment of a whole lane, out of partitions that were each read at a moment of their own. */
export interface LaneCut {
  readonly kind: 'cut';
  /** The objects of all partitions at the version of the cut, in no particular order. */
  readonly listing: Listing;
  /** Deletes at or below `listing.rv`, ascending. */
  readonly tombstones: readonly Tombstone[];
  /** Every delete above this version is in `tombstones` or `rest`. */
  readonly horizon: ResourceVersion;
  /** By partition, the changes above `listing.rv`. */
  readonly rest: readonly (readonly Change[])[];
}

/** These partitions do not reach `rv` yet: the cut can be made once they do, with their states as they are then. */
export interface PartitionsBehind {
  readonly kind: 'behind';
  readonly rv: ResourceVersion;
  readonly partitions: readonly number[];
}

/**
 * Cuts a lane at the highest version any of its partitions was listed at, or at `atLeast` where that is higher: the
 * watermark of a cache that is to be repaired, which a cut below it could not. All partitions are advanced to it by
 * their own changes, so that nothing above is needed of any and no change is lost or doubled. `states` by partition,
 * at least one. A partition that is not complete up to there is no error but a matter of waiting, so it is answered.
 */
export function cutOf(states: readonly PartitionState[], atLeast: ResourceVersion = 0): LaneCut | PartitionsBehind {
  const rv = states.reduce((highest, { listing }) => Math.max(highest, listing.rv), atLeast);
  const behind = [...states.keys()].filter((partition) => states[partition]!.watermark < rv);
  if (behind.length > 0) return { kind: 'behind', rv, partitions: behind };
  const advanced = states.map((state) => advance(state, rv));
  return {
    kind: 'cut',
    listing: { rv, objects: advanced.flatMap(({ objects }) => objects) },
    tombstones: advanced.flatMap(({ tombstones }) => tombstones).toSorted((a, b) => a.object.rv - b.object.rv),
    horizon: states.reduce((highest, { horizon }) => Math.max(highest, horizon), 0),
    rest: advanced.map(({ rest }) => rest),
  };
}

interface Advanced {
  readonly objects: readonly KubeObject[];
  readonly tombstones: readonly Tombstone[];
  readonly rest: readonly Change[];
}

/** One partition at `rv`, which its changes reach. */
function advance({ listing, changes, tombstones }: PartitionState, rv: ResourceVersion): Advanced {
  const firstAbove = changes.findIndex(({ object }) => object.rv > rv);
  const count = firstAbove === -1 ? changes.length : firstAbove;
  if (count === 0) return { objects: listing.objects, tombstones, rest: changes };
  const objects = new Map(listing.objects.map((object) => [object.key, object]));
  const born = new Map<string, ResourceVersion>();
  const deleted: Tombstone[] = [];
  for (const { type, object } of changes.slice(0, count)) {
    if (type === 'DELETED') {
      objects.delete(object.key);
      deleted.push({ object, born: born.get(object.uid) ?? 0 });
    } else {
      objects.set(object.key, object);
      if (type === 'ADDED') born.set(object.uid, object.rv);
    }
  }
  return { objects: [...objects.values()], tombstones: [...tombstones, ...deleted], rest: changes.slice(count) };
}
