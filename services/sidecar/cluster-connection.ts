import { systemClock } from '@dogwatch/process/clock.ts';
import type { Log } from '@dogwatch/process/log.ts';
import type { ClusterAccess } from '@dogwatch/upstream/cluster-access.ts';
import { Discovery } from '@dogwatch/upstream/discovery.ts';
import { loadKubeconfig } from '@dogwatch/upstream/kubeconfig.ts';
import { createUpstream } from '@dogwatch/upstream/upstream-client.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import type { UpstreamConfig } from './edge-options.ts';
import { present } from './present.ts';
import { checkUpstream } from './upstream-check.ts';

/** The cluster dogwatch stands in front of, found to answer. */
export interface ClusterConnection {
  readonly upstream: Upstream;
  readonly access: ClusterAccess;
  readonly discovery: Discovery;
}

/** Connects to kube-apiserver for as long as `use` takes. Rejects with errors whose message says what to do. */
export async function withCluster(
  config: UpstreamConfig,
  log: Log,
  use: (cluster: ClusterConnection) => Promise<void>,
): Promise<void> {
  const access = await loadKubeconfig(present({ path: config.kubeconfig, context: config.context, env: process.env }));
  const upstream = createUpstream(access, {
    env: process.env,
    connectTimeoutMs: config.upstreamTimeout,
    onProblem: (problem) => log.warn({ err: problem }, 'trouble on the way to upstream'),
  });
  try {
    const version = await checkUpstream(upstream, config.upstreamTimeout);
    log.info({ upstream: upstream.server.href, version, source: access.source }, 'upstream answers');
    const discovery = new Discovery(upstream, () => systemClock.now());
    await discovery.refresh();
    await use({ upstream, access, discovery });
  } finally {
    upstream.close();
  }
}
