import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import { ownersOf } from '@dogwatch/bus/ownership.ts';
import { Ingest } from '@dogwatch/ingest/ingest.ts';
import { SoloReigns } from '@dogwatch/ingest/reigns.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import { Copies } from '@dogwatch/replica/copies.ts';
import { createIngestSupply } from '@dogwatch/replica/ingest-supply.ts';
import { registerReplicaMetrics } from '@dogwatch/replica/replica-metrics.ts';
import { ScopedCopies } from '@dogwatch/replica/scoped-copies.ts';
import { ShardSupply } from '@dogwatch/replica/shard-supply.ts';
import type { ClusterConnection } from '@dogwatch/sidecar/cluster-connection.ts';
import { LANE_OPEN_TIMEOUT_MS } from '@dogwatch/sidecar/edge-options.ts';
import type { LaneSource } from '@dogwatch/watch/lane-view.ts';
import type { FanoutProcessConfig } from './fanout-config.ts';
import type { Member } from './member.ts';
import { UnsharedLanes } from './unshared-lanes.ts';

/** Lanes a fan-out reads for itself: those of Secrets in every version, encoding and view. */
const OWN_LANES_MAX = 16;

/** Where a fan-out has its lanes from, and what must run for it: `ranks` stop in their order. */
export interface FanoutLanes {
  readonly lanes: LaneSource;
  readonly ranks: readonly (readonly Service[])[];
  status(): Readonly<Record<string, unknown>>;
}

/** Lanes from shards, and those that must not leave a process from an ingest of this one's own. Nothing runs yet. */
export function createFanoutLanes(
  config: FanoutProcessConfig,
  { member, cluster }: { readonly member: Member; readonly cluster: ClusterConnection },
): FanoutLanes {
  const { membership, metrics } = member;
  const limits = {
    windowBytesMax: config.windowBytes,
    tombstoneBytesMax: config.tombstoneBytes,
    laneIdleMs: config.laneIdleTimeout,
    openTimeoutMs: LANE_OPEN_TIMEOUT_MS,
  };
  const owners = (track: string): readonly string[] => ownersOf(track, membership.alive('shard'));
  const supply = new ShardSupply({ ...member, ownersOf: owners });
  const whole = new Copies({ ...member, supply }, limits);
  const scoped = new ScopedCopies({ ...member, whole, supply, follower: config.name, ownersOf: owners }, limits);

  const ownBus = new MemoryBus();
  const ownMember = { ...member, bus: ownBus };
  const ingest = new Ingest({ ...ownMember, ...cluster, reigns: new SoloReigns() }, { maxLanes: OWN_LANES_MAX });
  const own = new Copies({ ...ownMember, supply: createIngestSupply(ownBus) }, limits);

  registerReplicaMetrics(metrics, () => [...whole.replicas, ...own.replicas]);
  return {
    lanes: new UnsharedLanes({ shared: scoped, own }),
    ranks: [[scoped], [whole, own], [supply, ingest]],
    status: () => ({ ...whole.status(), ...scoped.status() }),
  };
}
