import { describe, expect, test } from 'vitest';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { StatusError, expired, serviceUnavailable } from '@dogwatch/kube/status.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { LeaderBus } from './leader-bus.ts';
import { MemoryBus } from './memory-bus.ts';

const PODS: Lane = { group: '', version: 'v1', resource: 'pods', encoding: 'json', view: 'object' };
const OPEN = { lane: PODS };

function started() {
  const inner = new MemoryBus();
  const clock = createFakeClock();
  const asked: string[] = [];
  const says = new Map<string, () => Promise<{ partitions: number }>>();
  for (const name of ['ingest-0', 'ingest-1']) {
    inner.serve(
      'open',
      () => (asked.push(name), (says.get(name) ?? (() => Promise.resolve({ partitions: 4 })))()),
      name,
    );
  }
  let leader: string | undefined = 'ingest-1';
  const bus = new LeaderBus(inner, { clock, leaderOf: () => leader });
  const lead = (name: string | undefined): void => {
    leader = name;
  };
  return { inner, bus, clock, asked, says, lead };
}

const AWAY = (): Promise<never> => Promise.reject(new StatusError(serviceUnavailable('not the leader', 1)));

describe('a request about a lane', () => {
  test('goes to who leads it', async () => {
    const { bus, asked } = started();
    expect(await bus.request('open', OPEN)).toEqual({ partitions: 4 });
    expect(asked).toEqual(['ingest-1']);
  });

  test('goes to who it is addressed to', async () => {
    const { bus, asked } = started();
    await bus.request('open', OPEN, 'ingest-0');
    expect(asked).toEqual(['ingest-0']);
  });

  test('goes to any ingest where nobody leads yet, which will', async () => {
    const { bus, asked, lead } = started();
    lead(undefined);
    await bus.request('open', OPEN);
    expect(asked).toEqual(['ingest-0']);
  });

  test('waits for the next leader where the last has gone', async () => {
    const { bus, clock, says, asked, lead } = started();
    says.set('ingest-1', AWAY);
    const opened = bus.request('open', OPEN);
    await clock.advanceAsync(1_000);
    lead('ingest-2');
    await clock.advanceAsync(1_000);
    lead('ingest-0');
    await clock.advanceAsync(200);
    expect(await opened).toEqual({ partitions: 4 });
    expect([asked.at(-1), clock.pending]).toEqual(['ingest-0', 0]);
  });

  test('is unavailable where none comes: nobody there is no answer', async () => {
    const { bus, clock, lead } = started();
    lead('ingest-2');
    const rejected = bus.request('open', OPEN).catch((error: unknown) => error);
    await clock.advanceAsync(6_200);
    expect(await rejected).toMatchObject({ status: { code: 503 } });
    expect(clock.pending).toBe(0);
  });

  test('is not tried again where it was answered', async () => {
    const { bus, asked, says } = started();
    says.set('ingest-1', () => Promise.reject(new StatusError(expired('gone'))));
    await expect(bus.request('open', OPEN)).rejects.toMatchObject({ status: { code: 410 } });
    expect(asked).toEqual(['ingest-1']);
  });

  test('for a state waits for a leader: a shard, which answers those too, would say that it has none', async () => {
    const { inner, bus, clock, lead } = started();
    const asked: string[] = [];
    inner.serve('sync', () => (asked.push('shard'), Promise.reject(new StatusError(expired('not held')))), 'shard-0');
    inner.serve('sync', () => (asked.push('ingest'), Promise.reject(new StatusError(expired('not held')))), 'ingest-0');
    lead(undefined);
    const rejected = bus
      .request('sync', { lane: PODS, partition: 0, from: undefined })
      .catch((error: unknown) => error);
    await clock.advanceAsync(1_000);
    expect(asked).toEqual([]);
    lead('ingest-0');
    await clock.advanceAsync(200);
    expect(await rejected).toMatchObject({ status: { code: 410 } });
    expect(asked).toEqual(['ingest']);
  });
});

test('all else is the bus as it is', async () => {
  const { inner, bus } = started();
  bus.serve('status', () => Promise.resolve({ role: 'shard' }), 'shard-0');
  expect(await bus.request('status', {})).toEqual({ role: 'shard' });
  const heard: string[] = [];
  const stop = bus.follow('track', ({ kind }) => heard.push(kind));
  bus.publish('track', { kind: 'end', epoch: 1, end: 'ended' });
  stop();
  inner.publish('track', { kind: 'end', epoch: 1, end: 'ended' });
  bus.cease('track');
  bus.onReconnected(() => undefined)();
  expect(heard).toEqual(['end']);
});
