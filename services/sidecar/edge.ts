import { type Fanout, type FanoutDependencies, createFanout } from '@dogwatch/fanout/fanout.ts';
import { loadServingCertificate } from '@dogwatch/fanout/serving-certificate.ts';
import { createAnnouncement } from '@dogwatch/process/announcement.ts';
import type { AdminServer } from '@dogwatch/process/admin-server.ts';
import type { Check } from '@dogwatch/process/health.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import { writeKubeconfig } from '@dogwatch/upstream/write-kubeconfig.ts';
import { findClientCa } from './client-ca.ts';
import type { ClusterConnection } from './cluster-connection.ts';
import type { EdgeConfig } from './edge-options.ts';
import { present } from './present.ts';

export interface EdgeDependencies extends Omit<FanoutDependencies, keyof ClusterConnection> {
  readonly cluster: ClusterConnection;
  /** See WatchesConfig. */
  readonly drainMs: number;
}

export interface Edge {
  readonly fanout: Fanout;
  /** Tells where the API is served, once it and `admin` listen, and writes the kubeconfig that leads there. */
  announcement(admin: AdminServer): Service & Check;
}

/** The API edge as the command line asks for it. Nothing listens yet. */
export async function createEdge(config: EdgeConfig, deps: EdgeDependencies): Promise<Edge> {
  const { cluster, drainMs, log } = deps;
  const certificate = await loadServingCertificate(
    present({
      certFile: config.tlsCertFile,
      keyFile: config.tlsPrivateKeyFile,
      certDir: config.certDir,
      names: [config.bindAddress, ...config.tlsSan],
      now: deps.clock.wall(),
    }),
  );
  const fanout = await createFanout(
    { ...deps, ...cluster },
    {
      address: config.bindAddress,
      port: config.securePort,
      certificate,
      clientCaFile: config.clientCaFile ?? (await findClientCa(cluster.upstream, config.certDir, log)),
      maxConnections: config.maxConnections,
      goawayChance: config.goawayChance,
      bookmarkIntervalMs: config.bookmarkInterval,
      reauthorizeIntervalMs: config.reauthorizeInterval,
      reviewCacheTtlMs: config.reviewCacheTtl,
      drainMs,
    },
  );
  return {
    fanout,
    announcement: (admin) =>
      createAnnouncement(log, async () => {
        const listening = await Promise.all([fanout.listening, admin.listening]).catch(() => undefined);
        if (listening === undefined) return undefined;
        const [{ address, port }, { port: adminPort }] = listening;
        const server = `https://${reachable(address)}:${port}`;
        const path = config.writeKubeconfig;
        if (path !== undefined) {
          const { access } = cluster;
          await writeKubeconfig({ path, access, server, certificateAuthorityData: certificate.ca });
          log.info({ path }, 'kubeconfig written');
        }
        return { address, port, adminPort, server };
      }),
  };
}

/** An address clients on this machine can use, for one that is all addresses. */
function reachable(address: string): string {
  if (address === '0.0.0.0' || address === '::') return '127.0.0.1';
  return address.includes(':') ? `[${address}]` : address;
}
