import { runAll } from '@dogwatch/process/lifecycle.ts';
import { withCluster } from '@dogwatch/sidecar/cluster-connection.ts';
import { createEdge } from '@dogwatch/sidecar/edge.ts';
import { upstreamCheck } from '@dogwatch/sidecar/upstream-check.ts';
import { createAdmin } from './admin.ts';
import type { FanoutProcessConfig } from './fanout-config.ts';
import { createFanoutLanes } from './fanout-lanes.ts';
import { memberLog, withMember } from './member.ts';

/** Watches of a node that goes move to the others over this time. */
const DRAIN_MS = 5_000;

/** A fan-out as a process of its own. Resolves when it has drained after `signal`; rejects with what says what to do. */
export async function runFanout(config: FanoutProcessConfig, signal: AbortSignal): Promise<void> {
  const log = memberLog(config);
  await withCluster(config, log, (cluster) =>
    withMember('fanout', { config, log }, async (member) => {
      const from = createFanoutLanes(config, { member, cluster });
      const edge = await createEdge(config, { ...member, cluster, lanes: from.lanes, drainMs: DRAIN_MS });
      const answers = upstreamCheck(cluster.upstream, member.clock);
      const { admin, announcement } = createAdmin(config, member, {
        checks: [answers],
        announce: (its) => edge.announcement(its),
      });
      const status = member.statusOf(from, edge.fanout);
      const ranks = [[edge.fanout, announcement], ...from.ranks, [member.membership, status, answers], [admin]];
      await runAll(ranks, signal);
    }),
  );
  log.info('stopped');
}
