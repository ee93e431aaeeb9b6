import type { Metrics } from '@dogwatch/process/metrics.ts';
import type { IngestCounters } from './counters.ts';
import type { LaneIngest } from './lane-ingest.ts';

const COUNTERS: Record<keyof IngestCounters, readonly [name: string, help: string]> = {
  listings: ['upstream_listings', 'LIST or watch-list requests made upstream for the state of a lane'],
  events: ['upstream_events', 'Changes read from upstream'],
  repeats: ['upstream_repeats', 'Changes a resumed watch sent again, dropped'],
  expired: ['upstream_expired', 'Times upstream answered 410 to the watch of a lane'],
  losses: ['upstream_losses', 'Times what was read could not be published, and the lane was listed anew'],
  fences: ['upstream_fences', 'Requests made upstream to prove a lane fresh'],
  verifications: ['upstream_verifications', 'Verification watches made upstream to prove a quiet lane fresh'],
  backfills: ['upstream_backfills', "Reads of upstream's own history for watches older than a lane"],
  appends: ['log_appends', 'Envelopes stored in the log'],
  holes: ['log_holes', 'Times changes were let go of that the log had not taken yet'],
  takeovers: ['takeovers', 'Times this ingest began to publish a lane that had been published before'],
};

export function registerIngestMetrics(
  metrics: Metrics,
  counters: IngestCounters,
  lanes: () => readonly LaneIngest[],
): void {
  for (const [key, [name, help]] of Object.entries(COUNTERS)) {
    metrics.counter({
      name: `${name}_total`,
      help,
      collect: (family) => void (family.labels({}).value = counters[key as keyof IngestCounters]),
    });
  }
  const gauge = (name: string, help: string, value: () => number): void => {
    metrics.gauge({ name, help, collect: (family) => void (family.labels({}).value = value()) });
  };
  const sum = (of: (lane: LaneIngest) => number): number => lanes().reduce((total, lane) => total + of(lane), 0);
  gauge('lanes', 'Lanes read from upstream', () => lanes().length);
  gauge('lanes_led', 'Lanes this ingest publishes', () => sum(({ publisher }) => (publisher.leads ? 1 : 0)));
  gauge('ring_bytes', 'Bytes of the changes kept for takeovers, the log and followers', () =>
    sum(({ publisher }) => publisher.ring.bytes),
  );
  gauge('log_backlog_bytes', 'Bytes published and not stored in the log yet', () =>
    sum(({ publisher }) => publisher.logTails.reduce((bytes, tail) => bytes + tail.backlogBytes, 0)),
  );
}
