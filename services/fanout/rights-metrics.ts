import type { Metrics } from '@dogwatch/process/metrics.ts';
import type { AuthenticationCounters } from './authenticate.ts';
import type { AuthorizationCounters } from './authorize.ts';

export function registerRightsMetrics(
  metrics: Metrics,
  tokens: AuthenticationCounters,
  access: AuthorizationCounters,
): void {
  metrics.counter({
    name: 'reviews_total',
    help: 'Questions about who somebody is (token) and what they may do (access), by where the answer came from',
    labels: ['kind', 'result'],
    collect: (family) => {
      const set = (kind: string, result: string, value: number): void => {
        family.labels({ kind, result }).value = value;
      };
      set('token', 'cached', tokens.tokensFromCache);
      set('token', 'asked', tokens.tokensAsked);
      set('token', 'failed', tokens.tokenReviewsFailed);
      set('access', 'cached', access.fromCache);
      set('access', 'asked', access.asked);
      set('access', 'failed', access.failed);
    },
  });
  metrics.counter({
    name: 'tokens_refused_total',
    help: 'Bearer tokens upstream does not know',
    collect: (family) => void (family.labels({}).value = tokens.tokensRefused),
  });
}
