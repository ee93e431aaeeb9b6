import { NatsLog } from '@dogwatch/bus/nats-log.ts';
import { Ingest } from '@dogwatch/ingest/ingest.ts';
import { LeasedReigns } from '@dogwatch/ingest/leased-reigns.ts';
import { slabCopier } from '@dogwatch/kube/slab-copier.ts';
import { runAll } from '@dogwatch/process/lifecycle.ts';
import { withCluster } from '@dogwatch/sidecar/cluster-connection.ts';
import { upstreamCheck } from '@dogwatch/sidecar/upstream-check.ts';
import { createAdmin } from './admin.ts';
import type { IngestProcessConfig } from './ingest-config.ts';
import { type Member, memberLog, withMember } from './member.ts';
import { groupResource } from './partition-option.ts';

/** A listing too large for the live path is kept so long for shards, which ask for it at once. */
const RETAIN_LISTING_MS = 60_000;
/** Longest wait of an event for those that come right after it: a tenth of what delivery may take. */
const GATHER_MS = 10;
/** The log is read after losses, when this much more is missing. */
const LOG_GATHER_MS = 50;

/** An ingest as a process of its own. Resolves when it has drained after `signal`; rejects with what says what to do. */
export async function runIngest(config: IngestProcessConfig, signal: AbortSignal): Promise<void> {
  const log = memberLog(config);
  await withCluster(config, log, (cluster) =>
    withMember('ingest', { config, log }, async (member) => {
      const reigns = createReigns(config, member);
      const ingest = new Ingest(
        { ...member, ...cluster, reigns },
        {
          maxLanes: config.maxLanes,
          laneIdleMs: config.laneIdleTimeout,
          partitions: (lane) => config.partitions.get(groupResource(lane)) ?? 1,
          ringBytesMax: config.ringBytes,
          retainListingMs: RETAIN_LISTING_MS,
          gatherMs: GATHER_MS,
          logGatherMs: LOG_GATHER_MS,
          // Nothing but the ring keeps what was read, and it forgets in order.
          copier: slabCopier,
        },
      );
      const answers = upstreamCheck(cluster.upstream, member.clock);
      const { admin, announcement } = createAdmin(config, member, { checks: [answers] });
      const ranks = [[ingest, announcement], [member.membership, member.statusOf(ingest), answers], [admin]];
      await runAll(ranks, signal);
    }),
  );
  log.info('stopped');
}

function createReigns(config: IngestProcessConfig, member: Member): LeasedReigns {
  const { port, clock, log, membership } = member;
  const stored = {
    prefix: config.natsPrefix,
    replicas: config.natsReplicas,
    storage: config.logStorage,
    maxBytes: config.logBytes,
    maxAgeMs: config.logAge,
  };
  return new LeasedReigns({
    ...member,
    name: config.name,
    members: membership,
    logs: (resource) => new NatsLog({ port, clock, log, resource, ...stored }),
  });
}
