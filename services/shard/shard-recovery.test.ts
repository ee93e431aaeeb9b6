import { describe, expect, test } from 'vitest';
import { NoResponder } from '@dogwatch/bus/bus.ts';
import { MemoryBus } from '@dogwatch/bus/memory-bus.ts';
import type { TrackState } from '@dogwatch/bus/track-state.ts';
import type { Lane } from '@dogwatch/kube/lane.ts';
import { StatusError, expired, serviceUnavailable } from '@dogwatch/kube/status.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { ShardRecovery, type TrackArchive } from './shard-recovery.ts';

const PODS: Lane = { group: '', version: 'v1', resource: 'pods', encoding: 'json', view: 'object' };
const HELD = { epoch: 1, position: { rv: 10, index: 0 } };
const silent = createLogger({ level: 'error', pretty: false, destination: { write: () => {} } });

const NOT_HELD = (): never => {
  throw new StatusError(expired('not here'));
};
const AWAY = (): never => {
  throw new StatusError(serviceUnavailable('away'));
};

function stateOf(kind: 'changes' | 'state'): TrackState {
  return { kind, epoch: 1, changes: [], position: { rv: 20, index: 0 }, watermark: 20 } as unknown as TrackState;
}

/** What each source says; those not named do not have it. */
function started(says: {
  epoch?: number;
  ingest?: () => TrackState;
  peer?: () => TrackState;
  checkpoint?: TrackArchive['checkpoint'];
  replay?: TrackArchive['replay'];
}) {
  const bus = new MemoryBus();
  const clock = createFakeClock();
  const asked: string[] = [];
  bus.serve('sync', async () => (asked.push('ingest'), (says.ingest ?? NOT_HELD)()), undefined);
  bus.serve('sync', async () => (asked.push('peer'), (says.peer ?? NOT_HELD)()), 'shard-1');
  bus.serve('repair', async () => void asked.push('repair'));
  const recovery = new ShardRecovery({
    bus,
    clock,
    log: silent,
    peersOf: () => ['shard-1', 'shard-2'],
    epochOf: () => says.epoch,
    archive: {
      checkpoint: async (lack) => (asked.push('checkpoint'), await says.checkpoint?.(lack)),
      replay: async (lack, deliver) => (asked.push('log'), (await says.replay?.(lack, deliver)) ?? 'hole'),
    },
  });
  const recover = (from: typeof HELD | undefined) =>
    recovery.recover({ lane: PODS, partition: 0, from }, () => undefined);
  return { recover, asked, clock };
}

describe('a shard that holds nothing asks', () => {
  test('its peers first', async () => {
    const { recover, asked } = started({ peer: () => stateOf('state') });
    expect(await recover(undefined)).toMatchObject({ kind: 'state' });
    expect(asked).toEqual(['peer']);
  });

  test('then for the checkpoint, then the ingest; upstream is listed only if none has it', async () => {
    const { recover, asked } = started({});
    expect(await recover(undefined)).toBe('published');
    expect(asked).toEqual(['peer', 'checkpoint', 'ingest', 'repair']);
  });

  test('for no checkpoint of a history that is over', async () => {
    const checkpoint = () => Promise.resolve(stateOf('state'));
    expect(await started({ epoch: 1, checkpoint }).recover(undefined)).toMatchObject({ kind: 'state' });
    const over = started({ epoch: 2, checkpoint });
    expect(await over.recover(undefined)).toBe('published');
    expect(over.asked).toEqual(['peer', 'checkpoint', 'ingest', 'repair']);
  });

  test('the ingest where the checkpoint cannot be read now, and waits for it where that does not help', async () => {
    const checkpoint = () => Promise.reject(new Error('JetStream is away'));
    expect(await started({ checkpoint, ingest: () => stateOf('state') }).recover(undefined)).toMatchObject({
      kind: 'state',
    });
    const { recover, asked } = started({ checkpoint });
    await expect(recover(undefined)).rejects.toThrow('JetStream is away');
    expect(asked).not.toContain('repair');
  });

  test('again where one of them cannot tell now: that is no reason to list upstream (I8)', async () => {
    const { recover, asked } = started({ ingest: AWAY });
    await expect(recover(undefined)).rejects.toMatchObject({ status: { code: 503 } });
    expect(asked).not.toContain('repair');
  });

  test('nobody is no answer but that of one who is not there', async () => {
    expect(isGone(new NoResponder('sync', 'shard-2'))).toBe(true);
    const { recover } = started({ checkpoint: () => Promise.resolve(stateOf('state')) });
    expect(await recover(undefined)).toMatchObject({ kind: 'state' });
  });
});

describe('a shard that misses a part asks', () => {
  test('the ingest, which has just read it', async () => {
    const { recover, asked } = started({ ingest: () => stateOf('changes') });
    expect(await recover(HELD)).toMatchObject({ kind: 'changes' });
    expect(asked).toEqual(['ingest']);
  });

  test('the log, before it takes a whole state for a part', async () => {
    const { recover, asked } = started({ peer: () => stateOf('state'), replay: () => Promise.resolve('replayed') });
    expect(await recover(HELD)).toBe('delivered');
    expect(asked).toEqual(['ingest', 'peer', 'log']);
  });

  test('for a whole state where the log has a hole', async () => {
    const { recover } = started({ peer: () => stateOf('state') });
    expect(await recover(HELD)).toMatchObject({ kind: 'state' });
  });

  test('a log that has not got there yet is waited for, but not for ever', async () => {
    const { recover, asked, clock } = started({ replay: () => Promise.resolve('behind') });
    await expect(recover(HELD)).rejects.toThrow('not got there yet');
    await clock.advanceAsync(20_000);
    expect(await recover(HELD)).toBe('published');
    expect(asked.at(-1)).toBe('repair');
  });
});

test('a peer that is behind, or has no more, is no answer: the log may have it', async () => {
  const behind = { ...stateOf('changes'), position: HELD.position };
  const { recover, asked } = started({ peer: () => behind, replay: () => Promise.resolve('replayed') });
  expect(await recover(HELD)).toBe('delivered');
  expect(asked).toEqual(['ingest', 'peer', 'log']);
  const old = { ...stateOf('state'), position: { rv: 5, index: 0 } };
  expect(await started({ peer: () => old }).recover(HELD)).toBe('published');
});

test('the patience with a log begins anew with each hole', async () => {
  let ingest: (() => TrackState) | undefined;
  const { recover, asked, clock } = started({
    ingest: () => (ingest ?? NOT_HELD)(),
    replay: () => Promise.resolve('behind'),
  });
  await expect(recover(HELD)).rejects.toThrow('not got there yet');
  ingest = () => stateOf('changes');
  await recover(HELD);
  ingest = undefined;
  await clock.advanceAsync(60_000);
  await expect(recover(HELD)).rejects.toThrow('not got there yet');
  expect(asked).not.toContain('repair');
});

function isGone(error: unknown): boolean {
  return error instanceof NoResponder;
}
