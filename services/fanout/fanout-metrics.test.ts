import { createMetrics } from '@dogwatch/process/metrics.ts';
import { expect, test } from 'vitest';
import { registerFanoutMetrics } from './fanout-metrics.ts';
import type { ApiHandler } from './api-handler.ts';
import type { HttpServer } from './http-server.ts';
import type { Watches } from './watches.ts';

test('the watches of a lane are counted over all its scopes', async () => {
  const lane = { group: '', version: 'v1', resource: 'pods', encoding: 'json', view: 'object' };
  const scopes = [3, 4].map((size) => ({ view: { lane }, size, groupCount: 1 }));
  const watches = Object.assign(scopes, { delivered: 0, ended: new Map(), conflations: 0, stateDiffs: 0 });
  const server = { connectionCount: 0, refusedConnections: 0 };
  const metrics = createMetrics();
  const handler = { answers: {} };
  registerFanoutMetrics(metrics, {
    watches: watches as unknown as Watches,
    server: server as HttpServer,
    handler: handler as ApiHandler,
  });
  const line = 'dogwatch_watches{group_version="v1",resource="pods",encoding="json",view="object"} 7\n';
  expect(await metrics.text()).toContain(line);
  expect(await metrics.text()).toContain(line); // a scrape does not add to the one before
});
