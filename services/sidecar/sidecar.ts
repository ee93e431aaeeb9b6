import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import { Ingest } from '@dogwatch/ingest/ingest.ts';
import { SoloReigns } from '@dogwatch/ingest/reigns.ts';
import { createAdminServer } from '@dogwatch/process/admin-server.ts';
import { systemClock } from '@dogwatch/process/clock.ts';
import type { Check } from '@dogwatch/process/health.ts';
import { type Service, runAll } from '@dogwatch/process/lifecycle.ts';
import { type Log, createLogger, isPretty, levelOfVerbosity } from '@dogwatch/process/log.ts';
import { createMetrics } from '@dogwatch/process/metrics.ts';
import { Copies } from '@dogwatch/replica/copies.ts';
import { createIngestSupply } from '@dogwatch/replica/ingest-supply.ts';
import { registerReplicaMetrics } from '@dogwatch/replica/replica-metrics.ts';
import { type ClusterConnection, withCluster } from './cluster-connection.ts';
import type { SidecarConfig } from './config.ts';
import { createEdge } from './edge.ts';
import { LANE_OPEN_TIMEOUT_MS } from './edge-options.ts';
import { upstreamCheck } from './upstream-check.ts';

/**
 * Everything in one process in front of one kube-apiserver: ingest, shard and fan-out over a bus in memory. Resolves
 * when it has drained after `signal`; rejects with an error whose message says what to do.
 */
export async function runSidecar(config: SidecarConfig, signal: AbortSignal): Promise<void> {
  const log = createLogger({
    level: levelOfVerbosity(config.v),
    pretty: isPretty(config.logFormat, process.stderr.isTTY),
  });
  await withCluster(config, log, async (cluster) => {
    await runAll(await compose(config, cluster, log), signal);
    log.info('stopped');
  });
}

/** The services of the sidecar in ranks: edge first, then what feeds it. Nothing runs yet. */
async function compose(config: SidecarConfig, cluster: ClusterConnection, log: Log): Promise<Service[][]> {
  const clock = systemClock;
  const metrics = createMetrics();
  const bus = new MemoryBus();
  const base = { ...cluster, bus, clock, log, metrics, random: Math.random };
  const ingest = new Ingest({ ...base, reigns: new SoloReigns() }, { maxLanes: config.maxLanes });
  const lanes = new Copies(
    { ...base, supply: createIngestSupply(bus) },
    {
      windowBytesMax: config.windowBytes,
      tombstoneBytesMax: config.tombstoneBytes,
      laneIdleMs: config.laneIdleTimeout,
      openTimeoutMs: LANE_OPEN_TIMEOUT_MS,
    },
  );
  registerReplicaMetrics(metrics, () => lanes.replicas);
  // Its clients have nowhere else to go: the sooner it is back the better.
  const edge = await createEdge(config, { ...base, cluster, lanes, drainMs: 0 });
  const answers = upstreamCheck(cluster.upstream, clock);
  const checks: Check[] = [answers];
  const admin = createAdminServer({ address: config.adminAddress, port: config.adminPort, checks, metrics, log });
  const announcement = edge.announcement(admin);
  checks.unshift(announcement);
  return [[edge.fanout, announcement], [lanes], [ingest, answers], [admin]];
}
