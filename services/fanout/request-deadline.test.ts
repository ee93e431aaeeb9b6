import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { expect, test } from 'vitest';
import { RequestDeadline } from './request-deadline.ts';
import { TestExchange } from './test-exchange.ts';

test('L22, G12: what was not begun in time is a 504 that upstream writes without its kind', () => {
  const clock = createFakeClock();
  const exchange = new TestExchange('/api/v1/pods?timeout=1s');
  const deadline = new RequestDeadline(exchange, clock, 1);
  clock.advance(999);
  expect([deadline.passed, exchange.started]).toEqual([false, false]);
  clock.advance(1);
  expect([deadline.passed, exchange.status]).toEqual([true, 504]);
  expect(exchange.answer).toMatchObject({
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-cache, private',
  });
  expect(JSON.parse(exchange.sent)).toEqual({
    metadata: {},
    status: 'Failure',
    message: 'Timeout: request did not complete within the allotted timeout',
    reason: 'Timeout',
    details: {},
    code: 504,
  });
});

test('G12: what was begun is broken off', () => {
  const clock = createFakeClock();
  const exchange = new TestExchange('/api/v1/pods');
  const deadline = new RequestDeadline(exchange, clock, 60);
  exchange.stream(200, {});
  clock.advance(60_000);
  expect([deadline.passed, exchange.client.aborted]).toEqual([true, true]);
});

test('of what is over, or somebody else answers, there is none', () => {
  const clock = createFakeClock();
  const [over, elsewhere] = [new TestExchange('/'), new TestExchange('/')];
  new RequestDeadline(over, clock, 1);
  over.leave();
  new RequestDeadline(elsewhere, clock, 1).cancel();
  expect(clock.pending).toBe(0);
});
