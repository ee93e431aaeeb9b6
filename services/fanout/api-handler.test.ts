import { systemClock } from '@dogwatch/process/clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { parseApiRequest } from '@dogwatch/kube/api-request.ts';
import { forbidden, notFound, serviceUnavailable, StatusError } from '@dogwatch/kube/status.ts';
import type { Discovery } from '@dogwatch/upstream/discovery.ts';
import { pod } from '@dogwatch/watch/test-objects.ts';
import { expect, test } from 'vitest';
import { ApiHandler, type ApiHandlerDependencies } from './api-handler.ts';
import { ReviewUnavailable } from './reviewer.ts';
import type { Rights } from './rights.ts';
import { TestExchange } from './test-exchange.ts';
import { PODS, TestLaneView } from './test-lane-view.ts';
import { knowingShards } from './test-upstream.ts';
import { TokenBucket } from './token-bucket.ts';
import type { Caller } from './user.ts';
import { Watches } from './watches.ts';

const LIST = '/api/v1/secrets?resourceVersion=0';
const caller: Caller = {
  user: { name: 'jane', uid: '', groups: [], extra: {} },
  credential: { kind: 'bearer', token: 't' },
};

interface Change {
  readonly rights?: Partial<Rights>;
  readonly acquire?: () => Promise<unknown>;
  /** Whether the lane is open or being opened; it is if nothing is said. */
  readonly isOpen?: () => boolean;
  readonly info?: object;
}

function started(change: Change) {
  const lines: string[] = [];
  const log = createLogger({ level: 'info', pretty: false, destination: { write: (line) => lines.push(line) } });
  const forwarded: string[] = [];
  const rights: Rights = {
    callerToForward: () => Promise.resolve(caller),
    callerToServe: () => Promise.resolve(caller),
    mayRead: () => Promise.resolve({ allowed: true }),
    ...change.rights,
  };
  const info = { watchable: true, local: true, namespaced: true, custom: false, ...change.info };
  const doubted: boolean[] = [];
  const discovery = { lookup: () => Promise.resolve(info), doubt: () => doubted.push(true) };
  const handler = new ApiHandler({
    discovery: discovery as unknown as Discovery,
    rights,
    lanes: {
      isOpen: change.isOpen ?? (() => true),
      acquire: async () => await change.acquire?.(),
    } as unknown as ApiHandlerDependencies['lanes'],
    proxy: {
      proxy: (exchange) => forwarded.push(exchange.url),
      upgrade: () => expect.fail('not part of this test'),
    },
    watches: new Watches(
      { clock: systemClock, log, rights, random: () => 0 },
      { bookmarkIntervalMs: 1, reauthorizeIntervalMs: 1, drainMs: 0 },
    ),
    forwardBucket: new TokenBucket({ perSecond: 1, burst: 1, now: () => 0 }),
    upstreamShards: knowingShards(false),
    clock: systemClock,
    log,
  });
  return { handler, lines, forwarded, doubted };
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

test('L23: a page is asked of upstream while the lane is cold, and the lane is opened for whoever comes later', async () => {
  const opened = Promise.withResolvers<unknown>();
  const { handler, forwarded } = started({ acquire: () => opened.promise });
  await handler.onRequest(new TestExchange('/api/v1/secrets?limit=5'));
  expect(forwarded).toHaveLength(1);
  const view = new TestLaneView(10, [pod('a', 3)]);
  opened.resolve(view.acquired());
  await new Promise(setImmediate);
  expect(view.released).toBe(1);
  const exchange = new TestExchange('/api/v1/secrets?limit=5');
  await handler.onRequest(exchange);
  expect([forwarded.length, exchange.status]).toEqual([1, 200]);
});

test('one look at a lane that is not open is for upstream, the next opens it, and the rest of a herd waits for it', async () => {
  const opened = Promise.withResolvers<unknown>();
  let acquired = 0;
  const { handler, forwarded } = started({
    isOpen: () => acquired > 0,
    acquire: () => (acquired++, opened.promise),
  });
  const [first, ...others] = Array.from({ length: 1_000 }, () => new TestExchange('/api/v1/secrets'));
  await handler.onRequest(first!);
  expect([forwarded.length, acquired, handler.answers]).toEqual([1, 0, { served: 0, forwarded: 1, refused: 0 }]);
  const answered = others.map((exchange) => handler.onRequest(exchange));
  opened.resolve(new TestLaneView(10).acquired());
  await Promise.all(answered);
  expect(handler.answers).toEqual({ served: 999, forwarded: 1, refused: 0 });
});

test('a look that dogwatch itself has refused does not count', async () => {
  let allowed = false;
  const { handler, forwarded } = started({
    isOpen: () => false,
    acquire: () => expect.fail('it was opened'),
    rights: { mayRead: () => Promise.resolve(allowed ? { allowed } : { allowed, reason: 'no' }) },
  });
  for (let request = 0; request < 3; request += 1) await handler.onRequest(new TestExchange('/api/v1/secrets'));
  expect(handler.answers.refused).toBe(3);
  allowed = true;
  await handler.onRequest(new TestExchange('/api/v1/secrets'));
  expect(forwarded).toHaveLength(1);
});

test('a list that a watch follows, and a watch, open the lane at once', async () => {
  let acquired = 0;
  const acquire = () => (acquired++, Promise.resolve(new TestLaneView(10).acquired()));
  const { handler } = started({ isOpen: () => false, acquire });
  await handler.onRequest(new TestExchange(LIST));
  await handler.onRequest(new TestExchange('/api/v1/secrets?watch=1&resourceVersion=10&timeoutSeconds=1'));
  expect(acquired).toBe(2);
  expect(handler.answers).toEqual({ served: 2, forwarded: 0, refused: 0 });
});

test('L23, G11: everything else waits for the lane', async () => {
  const opened = Promise.withResolvers<unknown>();
  const { handler, forwarded } = started({ acquire: () => opened.promise });
  const exchanges = ['', '?resourceVersion=0&limit=5', '?limit=5&labelSelector=a'].map(
    (query) => new TestExchange(`/api/v1/secrets${query}`),
  );
  const answered = exchanges.map((exchange) => handler.onRequest(exchange));
  await new Promise(setImmediate);
  expect([forwarded.length, exchanges.some(({ started: any }) => any)]).toEqual([0, false]);
  opened.resolve(new TestLaneView(10).acquired());
  await Promise.all(answered);
  expect(exchanges.map(({ status }) => status)).toEqual([200, 200, 200]);
});

test('L22: a lane that does not open in the time a request has is a 504', async () => {
  const { handler, forwarded } = started({ acquire: () => Promise.withResolvers<unknown>().promise });
  const exchange = new TestExchange('/api/v1/secrets?timeout=1ms');
  const done = Promise.withResolvers<void>();
  exchange.respond = (status) => {
    exchange.status = status;
    done.resolve();
  };
  void handler.onRequest(exchange);
  await done.promise;
  expect([exchange.status, forwarded.length]).toEqual([504, 0]);
});

test.each([
  ['W19: a custom resource of another scope than discovery told is for upstream, and discovery is asked again', false],
  ['a custom resource of the scope that discovery told is served', true],
])('%s', async (_, namespaced) => {
  let released = 0;
  const view = new TestLaneView(10, [pod('a', 5)]);
  const at = started({
    info: { custom: true, namespaced },
    acquire: () => Promise.resolve({ view, release: () => released++ }),
  });
  const exchange = new TestExchange('/apis/example.com/v1/widgets?resourceVersion=0');
  await at.handler.onRequest(exchange);
  expect(at.forwarded).toHaveLength(namespaced ? 0 : 1);
  expect(at.doubted).toHaveLength(namespaced ? 0 : 1);
  expect(released).toBe(1);
});

test.each(['resourceVersion=', 'watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan'])(
  'W19: once a proof (%s) has shown that the resource is gone, upstream answers whatever is asked of it',
  async (query) => {
    let acquired = 0;
    const view = new TestLaneView(10, [pod('a', 3)]);
    view.proof = Promise.reject(new StatusError(notFound(PODS, '')));
    const { handler, forwarded } = started({
      acquire: () => {
        acquired += 1;
        return Promise.resolve(view.acquired());
      },
    });
    for (const each of [query, 'resourceVersion=0', query]) {
      await handler.onRequest(new TestExchange(`/api/v1/pods?${each}`));
    }
    expect(forwarded).toHaveLength(3);
    expect(acquired).toBe(1);
    expect(handler.answers).toEqual({ served: 0, forwarded: 3, refused: 0 });
  },
);
