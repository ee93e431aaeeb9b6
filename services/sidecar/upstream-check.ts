import type { Clock } from '@dogwatch/process/clock.ts';
import type { Check } from '@dogwatch/process/health.ts';
import type { Service } from '@dogwatch/process/lifecycle.ts';
import { requestJson } from '@dogwatch/upstream/request-json.ts';
import type { Upstream } from '@dogwatch/upstream/upstream.ts';

const INTERVAL_MS = 5_000;
const TIMEOUT_MS = 4_000;
/** One lost answer is no reason to send clients elsewhere. */
const FAILURES_MAX = 3;

/** kube-apiserver answers, but not as it must for dogwatch to work. */
export class UpstreamRefused extends Error {
  readonly code = 'UpstreamRefused';
}

/** Asks upstream for its version. Rejects with UpstreamUnreachable or UpstreamRefused, each saying what to do. */
export async function checkUpstream(upstream: Upstream, timeoutMs: number): Promise<string> {
  const signal = AbortSignal.timeout(timeoutMs);
  const { status, body } = await requestJson(upstream, { path: '/version', signal, timeoutMs });
  if (status === 200) return (body as { gitVersion?: string }).gitVersion ?? 'unknown';
  const advice =
    status === 401
      ? 'check the credential in the kubeconfig'
      : status === 403
        ? 'give its user the rights the README lists'
        : 'check that the server in the kubeconfig is a kube-apiserver';
  throw new UpstreamRefused(`${upstream.server.href} answered ${status} to dogwatch's own user; ${advice}`);
}

/** A readiness check that upstream answers, asked now and then in the background. */
export function upstreamCheck(upstream: Upstream, clock: Clock): Check & Service {
  let failures = 0;
  let reason = '';
  const ask = async (): Promise<void> => {
    try {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const { status } = await requestJson(upstream, { path: '/readyz', signal, timeoutMs: TIMEOUT_MS });
      failures = status === 200 ? 0 : failures + 1;
      reason = `upstream answered ${status}`;
    } catch (error) {
      failures++;
      reason = error instanceof Error ? error.message : String(error);
    }
  };
  return {
    name: 'upstream',
    check: () => (failures >= FAILURES_MAX ? reason : undefined),
    async run(signal) {
      const timer = clock.setInterval(() => void ask(), INTERVAL_MS);
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      timer.cancel();
    },
  };
}
