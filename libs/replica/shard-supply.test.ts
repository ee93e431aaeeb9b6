import { describe, expect, test } from 'vitest';
import { NoResponder } from '@dogwatch/bus/bus.ts';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import { StatusError, expired, serviceUnavailable } from '@dogwatch/kube/status.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { ShardSupply } from './shard-supply.ts';
import { PODS, rejection, silent, whole } from './test-ingest.ts';
import { changesTo, stateAt } from './test-shards.ts';

const FROM = { epoch: 1, position: whole(10) };
const NOT_HELD = new StatusError(expired('not here'));

/** What the ingest, and the two shards, say. */
function started(...says: readonly (TrackState | Error)[]) {
  const bus = new MemoryBus();
  const clock = createFakeClock();
  const asked: string[] = [];
  let open: () => Promise<{ partitions: number }> = () => Promise.resolve({ partitions: 4 });
  bus.serve('open', () => (asked.push('open'), open()));
  for (const [at, name] of [undefined, 'shard-0', 'shard-1'].entries()) {
    const answer = says[at] ?? NOT_HELD;
    bus.serve(
      'sync',
      () => {
        asked.push(name ?? 'ingest');
        return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
      },
      name,
    );
  }
  const supply = new ShardSupply({ bus, clock, log: silent, ownersOf: () => ['shard-0', 'shard-1'] });
  const recover = (from: typeof FROM | undefined) => supply.recover({ lane: PODS, partition: 0, from });
  const opens = (as: typeof open): void => {
    open = as;
  };
  return { supply, recover, clock, asked, opens };
}

describe('what a follower lacks', () => {
  test('is asked of the shards that hold it, the first first', async () => {
    const { recover, asked } = started(NOT_HELD, stateAt(10));
    expect(await recover(undefined)).toMatchObject({ kind: 'state' });
    expect(asked).toEqual(['shard-0']);
  });

  test('is asked of the next where one does not have it, or is behind itself; of the ingest at last', async () => {
    const behind = started(NOT_HELD, changesTo(10), changesTo(12));
    expect(await behind.recover(FROM)).toMatchObject({ kind: 'changes', watermark: 12 });
    const old = started(stateAt(20), stateAt(50, [], { epoch: 0 }), NOT_HELD);
    expect(await old.recover(FROM)).toMatchObject({ listing: { rv: 20 } });
    expect(old.asked).toEqual(['shard-0', 'shard-1', 'ingest']);
  });

  test('is asked for again where nobody leads on: upstream is never listed for a fan-out', async () => {
    const { recover } = started(changesTo(10), changesTo(9), NOT_HELD);
    await expect(recover(FROM)).rejects.toThrow('neither the shards');
  });
});

describe('lanes in use', () => {
  test('are kept open, for as many as use them', async () => {
    const { supply, clock, asked } = started();
    const abort = new AbortController();
    const running = supply.run(abort.signal);
    expect([await supply.open(PODS), await supply.open(PODS)]).toEqual([4, 4]);
    await supply.release(PODS);
    await clock.advanceAsync(20_000);
    expect(asked).toHaveLength(3);
    supply.ended(PODS);
    await supply.release(PODS);
    await clock.advanceAsync(60_000);
    expect(asked).toHaveLength(3);
    abort.abort();
    await running;
    expect(clock.pending).toBe(0);
  });

  test('are asked for again where they could not be', async () => {
    const { supply, clock, asked, opens } = started();
    const abort = new AbortController();
    const running = supply.run(abort.signal);
    await supply.open(PODS);
    opens(() => Promise.reject(new Error('away')));
    await clock.advanceAsync(40_000);
    expect(asked).toHaveLength(3);
    abort.abort();
    await running;
  });

  test('cannot be opened while there is no ingest: come again (G11); what upstream says is given on', async () => {
    const { supply, opens } = started();
    for (const error of [new NoResponder('open'), new StatusError(serviceUnavailable('no leader', 1))]) {
      opens(() => Promise.reject(error));
      expect(await rejection(supply.open(PODS))).toMatchObject({ status: { code: 429 } });
    }
    opens(() => Promise.reject(NOT_HELD));
    expect(await rejection(supply.open(PODS))).toBe(NOT_HELD);
  });
});
