import { createMetrics } from '@dogwatch/process/metrics.ts';
import { expect, test } from 'vitest';
import { registerRightsMetrics } from './rights-metrics.ts';

test('what is shown is counted at the scrape, not at the start', async () => {
  const tokens = { tokensFromCache: 0, tokensAsked: 0, tokensRefused: 0, tokenReviewsFailed: 0 };
  const access = { fromCache: 0, asked: 0, failed: 0 };
  const metrics = createMetrics();
  // As the authenticator and the authorizer do: a record of its own for each who asks.
  registerRightsMetrics(
    metrics,
    {
      get counters() {
        return { ...tokens };
      },
    },
    {
      get counters() {
        return { ...access };
      },
    },
  );
  tokens.tokensAsked = 3;
  tokens.tokensRefused = 2;
  access.fromCache = 5;
  const text = await metrics.text();
  expect(text).toContain('dogwatch_reviews_total{kind="token",result="asked"} 3\n');
  expect(text).toContain('dogwatch_reviews_total{kind="access",result="cached"} 5\n');
  expect(text).toContain('dogwatch_tokens_refused_total 2\n');
});
