import type { Metrics } from '@dogwatch/process/metrics.ts';
import type { IngestCounters } from './counters.ts';

const HELP: Record<keyof IngestCounters, string> = {
  listings: 'LIST or watch-list requests made upstream for the state of a lane',
  events: 'Changes read from upstream',
  repeats: 'Changes a resumed watch sent again, dropped',
  expired: 'Times upstream answered 410 to the watch of a lane',
  fences: 'Requests made upstream to prove a lane fresh',
  verifications: 'Verification watches made upstream to prove a quiet lane fresh',
  backfills: "Reads of upstream's own history for watches older than a lane",
};

export function registerIngestMetrics(metrics: Metrics, counters: IngestCounters, lanes: () => number): void {
  for (const key of Object.keys(HELP) as (keyof IngestCounters)[]) {
    metrics.counter({
      name: `upstream_${key}_total`,
      help: HELP[key],
      collect: (family) => void (family.labels({}).value = counters[key]),
    });
  }
  metrics.gauge({
    name: 'lanes',
    help: 'Lanes read from upstream',
    collect: (family) => void (family.labels({}).value = lanes()),
  });
}
