import { systemClock } from '@dogwatch/process/clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { parseApiRequest } from '@dogwatch/kube/api-request.ts';
import { forbidden, serviceUnavailable, StatusError } from '@dogwatch/kube/status.ts';
import type { Discovery } from '@dogwatch/upstream/discovery.ts';
import { expect, test } from 'vitest';
import { ApiHandler, type ApiHandlerDependencies } from './api-handler.ts';
import { ReviewUnavailable } from './reviewer.ts';
import type { Rights } from './rights.ts';
import { TestExchange } from './test-exchange.ts';
import { TokenBucket } from './token-bucket.ts';
import type { Caller } from './user.ts';
import { Watches } from './watches.ts';

const LIST = '/api/v1/secrets?resourceVersion=0';
const caller: Caller = {
  user: { name: 'jane', uid: '', groups: [], extra: {} },
  credential: { kind: 'bearer', token: 't' },
};

function started(change: { rights?: Partial<Rights>; acquire?: () => never }) {
  const lines: string[] = [];
  const log = createLogger({ level: 'info', pretty: false, destination: { write: (line) => lines.push(line) } });
  const forwarded: string[] = [];
  const rights: Rights = {
    callerToForward: () => Promise.resolve(caller),
    callerToServe: () => Promise.resolve(caller),
    mayRead: () => Promise.resolve({ allowed: true }),
    ...change.rights,
  };
  const info = { watchable: true, local: true, namespaced: true, custom: false };
  const handler = new ApiHandler({
    discovery: { lookup: () => Promise.resolve(info) } as unknown as Discovery,
    rights,
    lanes: { acquire: async () => change.acquire?.() } as unknown as ApiHandlerDependencies['lanes'],
    proxy: {
      proxy: (exchange) => forwarded.push(exchange.url),
      upgrade: () => expect.fail('not part of this test'),
    },
    watches: new Watches(
      { clock: systemClock, log, rights, random: () => 0 },
      { bookmarkIntervalMs: 1, reauthorizeIntervalMs: 1, drainMs: 0 },
    ),
    forwardBucket: new TokenBucket({ perSecond: 1, burst: 1, now: () => 0 }),
    log,
  });
  return { handler, lines, forwarded };
}

test('what dogwatch may not read is passed on, and asked for once, not with every request', async () => {
  let acquired = 0;
  const { handler, lines, forwarded } = started({
    acquire: () => {
      acquired += 1;
      throw new StatusError(forbidden(parseApiRequest('GET', LIST), 'dogwatch', ''));
    },
  });
  for (let request = 0; request < 5; request += 1) await handler.onRequest(new TestExchange(LIST));
  expect(forwarded).toHaveLength(5);
  expect(acquired).toBe(1);
  expect(lines).toHaveLength(1);
});

test('a review that upstream refuses dogwatch is told the operator, with what to do', async () => {
  const { handler, lines } = started({
    rights: {
      callerToServe: () => {
        const cause = new Error('bind dogwatch to the cluster role system:auth-delegator');
        throw new ReviewUnavailable(serviceUnavailable('TokenReview refused'), { cause });
      },
    },
  });
  const exchange = new TestExchange(LIST);
  await handler.onRequest(exchange);
  expect(exchange.status).toBe(503);
  expect(lines).toEqual([expect.stringContaining('system:auth-delegator')]);
});
