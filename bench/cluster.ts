import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Credential } from '@dogwatch/upstream/credential.ts';
import { loadKubeconfig } from '@dogwatch/upstream/kubeconfig.ts';
import { requestJson } from '@dogwatch/upstream/request-json.ts';
import { createUpstream } from '@dogwatch/upstream/upstream-client.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';
import type { LoadTarget } from './load-connection.ts';

/** The server and credential of a kubeconfig, for the load client. Throws KubeconfigError. */
export async function loadTarget(
  kubeconfig: string,
): Promise<{ target: LoadTarget; authorization: string | undefined }> {
  const access = await loadKubeconfig({ path: kubeconfig, env: process.env });
  const credential = new Credential({ access, env: process.env, onProblem: () => undefined });
  const [headers, certificate] = await Promise.all([credential.headers(), credential.certificate(0)]);
  const authority = access.certificateAuthority;
  const ca = authority?.kind === 'data' ? authority.pem.toString() : undefined;
  return {
    target: {
      server: access.server.origin,
      ...(ca === undefined ? {} : { ca }),
      ...(certificate === undefined
        ? {}
        : { cert: certificate.certificate.toString(), key: certificate.key.toString() }),
      insecure: access.insecureSkipTlsVerify,
    },
    authorization: headers['authorization'],
  };
}

/** A cluster of the user's own, or why it cannot be used. */
export type FoundCluster =
  | { readonly found: true; readonly nodes: readonly string[]; readonly server: string }
  | { readonly found: false; readonly reason: string };

const PROBE_MS = 5_000;

/** Asks $KUBECONFIG's cluster for its nodes: shows that it is reachable and that the user may read it. */
export async function findCluster(): Promise<FoundCluster> {
  let upstream: Upstream | undefined;
  try {
    const access = await loadKubeconfig({ env: process.env });
    upstream = createUpstream(access, { env: process.env, onProblem: () => undefined, connectTimeoutMs: PROBE_MS });
    const signal = AbortSignal.timeout(PROBE_MS);
    const { status, body } = await requestJson(upstream, {
      path: '/api/v1/nodes?limit=200',
      signal,
      timeoutMs: PROBE_MS,
    });
    if (status !== 200) return { found: false, reason: `it answers ${status} to a list of nodes` };
    const { items } = body as { items: { metadata: { name: string } }[] };
    return { found: true, nodes: items.map(({ metadata }) => metadata.name), server: access.server.origin };
  } catch (error) {
    return { found: false, reason: error instanceof Error ? error.message : String(error) };
  } finally {
    upstream?.close();
  }
}

/** A directory of this run's own. */
export function temporaryDirectory(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'dogwatch-bench-'));
}
