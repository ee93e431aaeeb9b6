import { apiVersionOf } from '@dogwatch/kube/group-resource.ts';
import type { Metrics } from '@dogwatch/process/metrics.ts';
import type { LaneReplica } from './lane-replica.ts';

const LABELS = ['group_version', 'resource', 'encoding', 'view'] as const;

type ReadLane = (replica: LaneReplica) => number;

export function registerReplicaMetrics(metrics: Metrics, replicas: () => readonly LaneReplica[]): void {
  const gauge = (name: string, help: string, read: ReadLane): void => {
    metrics.gauge({
      name,
      help,
      labels: LABELS,
      collect: (family) => {
        for (const replica of replicas()) {
          if (!replica.ready) continue;
          const { lane } = replica;
          const labels = { group_version: apiVersionOf(lane), resource: lane.resource, encoding: lane.encoding };
          family.labels({ ...labels, view: lane.view }).value = read(replica);
        }
      },
    });
  };
  gauge('cache_objects', 'Objects in the watch cache', ({ cache }) => cache.size);
  gauge('cache_bytes', 'Bytes of objects and window in the watch cache', ({ cache }) => cache.bytes);
  gauge('cache_window_events', 'Events in the window', ({ cache }) => cache.window.size);
  gauge('cache_resource_version', 'Version up to which the lane is complete', ({ cache }) => cache.watermark);
  gauge('cache_gaps', 'Times a part of the lane was missing', ({ gaps }) => gaps);
}
