import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import { type Fanout, type FanoutConfig, createFanout } from '@dogwatch/fanout/fanout.ts';
import { type ServingCertificate, loadServingCertificate } from '@dogwatch/fanout/serving-certificate.ts';
import { Ingest } from '@dogwatch/ingest/ingest.ts';
import { type AdminServer, createAdminServer } from '@dogwatch/process/admin-server.ts';
import { systemClock } from '@dogwatch/process/clock.ts';
import { type Service, runAll } from '@dogwatch/process/lifecycle.ts';
import { type Log, createLogger, isPretty, levelOfVerbosity } from '@dogwatch/process/log.ts';
import { createMetrics } from '@dogwatch/process/metrics.ts';
import { Copies } from '@dogwatch/replica/copies.ts';
import type { ClusterAccess } from '@dogwatch/upstream/cluster-access.ts';
import { Discovery } from '@dogwatch/upstream/discovery.ts';
import { loadKubeconfig } from '@dogwatch/upstream/kubeconfig.ts';
import { createUpstream } from '@dogwatch/upstream/upstream-client.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import { writeKubeconfig } from '@dogwatch/upstream/write-kubeconfig.ts';
import { findClientCa } from './client-ca.ts';
import type { SidecarConfig } from './config.ts';
import { checkUpstream, upstreamCheck } from './upstream-check.ts';

/** How long a request waits for a lane to open, before it is told to come again. */
const LANE_OPEN_TIMEOUT_MS = 10_000;

/**
 * Everything in one process in front of one kube-apiserver: ingest, shard and fan-out over a bus in memory. Resolves
 * when it has drained after `signal`; rejects with an error whose message says what to do.
 */
export async function runSidecar(config: SidecarConfig, signal: AbortSignal): Promise<void> {
  const log = createLogger({
    level: levelOfVerbosity(config.v),
    pretty: isPretty(config.logFormat, process.stderr.isTTY),
  });
  const access = await loadKubeconfig(present({ path: config.kubeconfig, context: config.context, env: process.env }));
  const upstream = createUpstream(access, {
    env: process.env,
    connectTimeoutMs: config.upstreamTimeout,
    onProblem: (problem) => log.warn({ err: problem }, 'trouble on the way to upstream'),
  });
  try {
    const version = await checkUpstream(upstream, config.upstreamTimeout);
    log.info({ upstream: upstream.server.href, version, source: access.source }, 'upstream answers');
    await runAll(await compose(config, { upstream, access, log }), signal);
    log.info('stopped');
  } finally {
    upstream.close();
  }
}

/** The services of the sidecar in ranks: edge first, then what feeds it. Nothing runs yet. */
async function compose(
  config: SidecarConfig,
  { upstream, access, log }: { upstream: Upstream; access: ClusterAccess; log: Log },
): Promise<Service[][]> {
  const clock = systemClock;
  const metrics = createMetrics();
  const bus = new MemoryBus();
  const discovery = new Discovery(upstream, () => clock.now());
  await discovery.refresh();
  const base = { bus, upstream, discovery, clock, log, metrics, random: Math.random };
  const ingest = new Ingest(base, { maxLanes: config.maxLanes });
  const copies = new Copies(base, {
    windowBytesMax: config.windowBytes,
    laneIdleMs: config.laneIdleTimeout,
    openTimeoutMs: LANE_OPEN_TIMEOUT_MS,
  });
  const certificate = await servingCertificate(config, clock.wall());
  const clientCaFile = config.clientCaFile ?? (await findClientCa(upstream, config.certDir, log));
  const fanout = await createFanout({ ...base, lanes: copies }, fanoutConfig(config, certificate, clientCaFile));
  let serving = false;
  const ready = { name: 'serving', check: () => (serving ? undefined : 'not listening yet') };
  const answers = upstreamCheck(upstream, clock);
  const admin = createAdminServer({
    address: config.adminAddress,
    port: config.adminPort,
    checks: [ready, answers],
    metrics,
    log,
  });
  const onServing = (): boolean => (serving = true);
  const announce = announcement(config, { fanout, admin, access, ca: certificate.ca, log, onServing });
  return [[fanout, announce], [copies], [ingest, answers], [admin]];
}

function servingCertificate(config: SidecarConfig, now: number): Promise<ServingCertificate> {
  return loadServingCertificate(
    present({
      certFile: config.tlsCertFile,
      keyFile: config.tlsPrivateKeyFile,
      certDir: config.certDir,
      names: [config.bindAddress, ...config.tlsSan],
      now,
    }),
  );
}

function fanoutConfig(
  config: SidecarConfig,
  certificate: ServingCertificate,
  clientCaFile: string | undefined,
): FanoutConfig {
  return {
    address: config.bindAddress,
    port: config.securePort,
    certificate,
    clientCaFile,
    maxConnections: config.maxConnections,
    bookmarkIntervalMs: config.bookmarkInterval,
    reauthorizeIntervalMs: config.reauthorizeInterval,
    reviewCacheTtlMs: config.reviewCacheTtl,
  };
}

/** Tells where dogwatch listens, once it does, and writes the kubeconfig that leads there. */
function announcement(
  config: SidecarConfig,
  of: {
    fanout: Fanout;
    admin: AdminServer;
    access: ClusterAccess;
    ca: Buffer;
    log: Log;
    onServing: () => void;
  },
): { run(): Promise<void> } {
  return {
    async run() {
      const listening = await Promise.all([of.fanout.listening, of.admin.listening]).catch(() => undefined);
      // The one that does not listen says why.
      if (listening === undefined) return;
      const [{ address, port }, admin] = listening;
      const server = `https://${reachable(address)}:${port}`;
      if (config.writeKubeconfig !== undefined) {
        const { access, ca } = of;
        await writeKubeconfig({ path: config.writeKubeconfig, access, server, certificateAuthorityData: ca });
        of.log.info({ path: config.writeKubeconfig }, 'kubeconfig written');
      }
      of.onServing();
      of.log.info({ address, port, adminPort: admin.port, server }, 'serving');
    },
  };
}

/** An address clients on this machine can use, for one that is all addresses. */
function reachable(address: string): string {
  if (address === '0.0.0.0' || address === '::') return '127.0.0.1';
  return address.includes(':') ? `[${address}]` : address;
}

type Present<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** `object` without the keys whose value is undefined. */
function present<T extends object>(object: T): Present<T> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Present<T>;
}
