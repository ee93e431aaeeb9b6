import { laneKey } from '@dogwatch/kube/lane.ts';
import type { LaneReplica } from './lane-replica.ts';

/** What `dogwatch status` shows of a replica. */
export function replicaStatus(replica: LaneReplica): Readonly<Record<string, unknown>> {
  const { lane, epoch, gaps, ready } = replica;
  const common = { lane: laneKey(lane), epoch, gaps, ready };
  if (!ready) return common;
  const { watermark, size, bytes, window } = replica.cache;
  return { ...common, watermark, objects: size, bytes, windowEvents: window.size, windowStart: window.start };
}
