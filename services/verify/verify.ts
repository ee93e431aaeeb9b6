import { randomInt } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { systemClock } from '@dogwatch/process/clock.ts';
import type { ClusterAccess } from '@dogwatch/upstream/cluster-access.ts';
import { loadKubeconfig } from '@dogwatch/upstream/kubeconfig.ts';
import { createUpstream } from '@dogwatch/upstream/upstream-client.ts';
import { readCacheShare, since } from './cache-share.ts';
import { ClusterVersion } from './cluster-version.ts';
import { Findings } from './findings.ts';
import { honoursShards, samplePopulation } from './population.ts';
import { describe, makeReport, renderDifference, renderSummary } from './report.ts';
import { discoverResources, writableResources } from './resources.ts';
import { Run } from './run.ts';
import { ServerSide } from './sides.ts';
import type { VerifyConfig } from './verify-config.ts';
import { DifferencesFound, VerifyError } from './verify-error.ts';

export interface VerifyContext {
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  readonly out: (text: string) => void;
  /** Shows how far it is; undefined where nobody looks. */
  readonly progress: ((text: string) => void) | undefined;
}

/**
 * Sends seeded random requests to kube-apiserver and to a dogwatch and compares the answers. Rejects with
 * DifferencesFound if there are any, else with errors that say what to do.
 */
export async function runVerify(config: VerifyConfig, context: VerifyContext): Promise<void> {
  const { env, signal, out } = context;
  const { kubeconfig, context: name } = config;
  const access = await loadKubeconfig({
    env,
    ...(kubeconfig === undefined ? {} : { path: kubeconfig }),
    ...(name === undefined ? {} : { context: name }),
  });
  const tokens = await readTokens(config.tokensFile);
  const onProblem = (): void => undefined;
  const upstream = new ServerSide({ access, env, tokens, onProblem });
  const dogwatch = new ServerSide({ access: dogwatchAccess(access, config), env, tokens, onProblem });
  const client = createUpstream(access, { env, onProblem });
  try {
    const seed = config.seed ?? randomInt(2 ** 32);
    const resources = await discoverResources(client, signal);
    const population = await samplePopulation(client, resources, signal);
    if (config.o === 'text') out(`seed ${seed}: ${population.populated.length} resources with objects\n\n`);
    const options = {
      upstream,
      dogwatch,
      client,
      clusterVersion: new ClusterVersion(client, signal),
      population,
      users: [...tokens.keys()],
      write: config.write,
      sharded: await honoursShards(client, signal),
      seed,
      clock: systemClock,
      signal,
    };
    const servers = { upstream: upstream.server, dogwatch: dogwatch.server };
    const findings = new Findings();
    const run = new Run({
      ...options,
      config,
      findings,
      writable: config.write ? writableResources(resources, config.writeResources) : [],
      onFinding: (finding) => {
        if (config.o === 'text') out(renderDifference(describe(finding, seed, servers)));
      },
      onProgress: (text) => context.progress?.(text),
    });
    const before = config.adminUrl === undefined ? undefined : await readCacheShare(config.adminUrl, signal);
    await run.all();
    const after = config.adminUrl === undefined ? undefined : await readCacheShare(config.adminUrl, signal);
    const cache = before && after && since(before, after);
    const report = makeReport(findings, { seed, servers, cache });
    out(config.o === 'json' ? `${JSON.stringify(report, undefined, 2)}\n` : renderSummary(report));
    if (report.differences.length > 0) throw new DifferencesFound(report.differences.length);
  } finally {
    upstream.close();
    dogwatch.close();
    client.close();
  }
}

/** The dogwatch, reached with the credential of kube-apiserver. */
export function dogwatchAccess(
  access: ClusterAccess,
  config: Pick<VerifyConfig, 'url' | 'certificateAuthority' | 'insecureSkipTlsVerify'>,
): ClusterAccess {
  const { url, certificateAuthority: path, insecureSkipTlsVerify } = config;
  return {
    ...access,
    source: '--url',
    server: new URL(url),
    tlsServerName: undefined,
    insecureSkipTlsVerify,
    certificateAuthority: path === undefined ? undefined : { kind: 'file', path },
  };
}

async function readTokens(path: string | undefined): Promise<Map<string, string>> {
  if (path === undefined) return new Map();
  const lines = (await readFile(path, 'utf8')).split('\n').map((line) => line.trim());
  return new Map(
    lines
      .filter((line) => line !== '')
      .map((line, i) => {
        const [name, token, ...rest] = line.split(/\s+/);
        if (name === undefined || token === undefined || rest.length > 0) {
          throw new VerifyError('bad_tokens', `line ${i + 1} of ${path} is not NAME TOKEN`);
        }
        return [name, token];
      }),
  );
}
