import type { Metrics } from '@dogwatch/process/metrics.ts';
import type { Authenticator } from './authenticate.ts';
import type { Authorizer } from './authorize.ts';

export function registerRightsMetrics(
  metrics: Metrics,
  authenticator: Pick<Authenticator, 'counters'>,
  authorizer: Pick<Authorizer, 'counters'>,
): void {
  metrics.counter({
    name: 'reviews_total',
    help: 'Questions about who somebody is (token) and what they may do (access), by where the answer came from',
    labels: ['kind', 'result'],
    collect: (family) => {
      const { counters: tokens } = authenticator;
      const { counters: access } = authorizer;
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
    collect: (family) => void (family.labels({}).value = authenticator.counters.tokensRefused),
  });
}
