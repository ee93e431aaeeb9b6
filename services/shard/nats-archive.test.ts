import { describe, expect, test } from 'vitest';
import type { Envelope } from '@dogwatch/bus/envelope.ts';
import type { Checkpoint } from '@dogwatch/bus/nats-checkpoints.ts';
import type { NatsLog } from '@dogwatch/bus/nats-log.ts';
import type { NatsLogReader } from '@dogwatch/bus/nats-log-reader.ts';
import { encodeTrackState } from '@dogwatch/bus/track-state-codec.ts';
import { createFakeClock } from '@dogwatch/process/fake-clock.ts';
import { Superseded } from '@dogwatch/replica/lane-supply.ts';
import { PODS, rejection, silent, whole } from '@dogwatch/replica/test-ingest.ts';
import { stateAt } from '@dogwatch/replica/test-shards.ts';
import { pod } from '@dogwatch/watch/test-objects.ts';
import { ChainGap, type Position } from '@dogwatch/watch/watch-cache.ts';
import { NatsArchive } from './nats-archive.ts';

function lack(position: Position = whole(10)) {
  return { lane: PODS, partition: 0, from: { epoch: 1, position } };
}

function mark(rv: number): Envelope {
  return { kind: 'watermark', epoch: 1, previous: whole(10), rv };
}

type Reading = Parameters<NatsLog['read']>[1];

function started({ end, pages }: { end?: { sequence: number; rv: number }; pages?: readonly Buffer[] }) {
  const clock = createFakeClock();
  const readings: (Reading & { stopped: boolean })[] = [];
  const checkpoint: Checkpoint = {
    id: '1',
    at: 1,
    bytes: 1,
    async *pages() {
      yield* pages ?? [];
    },
  };
  const archive = new NatsArchive({
    clock,
    log: silent,
    checkpoints: { read: async () => (pages === undefined ? undefined : checkpoint) },
    logOf: () => ({
      end: async () => end,
      read: (_track, reading) => {
        const own = { ...reading, stopped: false };
        readings.push(own);
        return { stop: () => void (own.stopped = true) } as unknown as NatsLogReader;
      },
    }),
  });
  const delivered: number[] = [];
  const replay = async (at?: Position, deliver?: (envelope: Envelope) => void) => {
    const result = archive.replay(lack(at), deliver ?? ((envelope) => delivered.push((envelope as { rv: number }).rv)));
    await clock.advanceAsync(0);
    return { result, reading: readings[0] };
  };
  return { archive, clock, delivered, replay };
}

describe('a log', () => {
  test('is handed out from behind what is held to what was its end', async () => {
    const { replay, delivered, clock } = started({ end: { sequence: 7, rv: 30 } });
    const { result, reading } = await replay();
    expect(reading!.from).toEqual({ rv: 10 });
    reading!.onEnvelope(mark(20), 5);
    reading!.onEnvelope(mark(30), 7);
    expect(await result).toBe('replayed');
    expect([delivered, reading!.stopped, clock.pending]).toEqual([[20, 30], true, 0]);
  });

  test('is read from before a version that is held in part', async () => {
    const { replay } = started({ end: { sequence: 7, rv: 30 } });
    const { reading } = await replay({ rv: 10, index: 3 });
    expect(reading!.from).toEqual({ rv: 9 });
  });

  test.each([undefined, { sequence: 3, rv: 10 }])('that ends before is behind', async (end) => {
    const { replay } = started(end === undefined ? {} : { end });
    expect(await (await replay()).result).toBe('behind');
  });

  test('that does not continue what is held, or was let go of, has a hole', async () => {
    const gap = started({ end: { sequence: 7, rv: 30 } });
    const gapped = await gap.replay(undefined, () => {
      throw new ChainGap(whole(10), whole(11));
    });
    gapped.reading!.onEnvelope(mark(20), 5);
    expect(await gapped.result).toBe('hole');
    const lost = await started({ end: { sequence: 7, rv: 30 } }).replay();
    lost.reading!.onLost('evicted');
    expect(await lost.result).toBe('hole');
  });

  test('I8: that is not wanted any more is no hole, for which upstream would be listed', async () => {
    const { replay } = started({ end: { sequence: 7, rv: 30 } });
    const { result, reading } = await replay(undefined, () => {
      throw new Superseded();
    });
    const rejected = rejection(result);
    reading!.onEnvelope(mark(20), 5);
    expect(await rejected).toBeInstanceOf(Superseded);
    expect(reading!.stopped).toBe(true);
  });

  test('of which nothing comes is given up for now', async () => {
    const { replay, clock } = started({ end: { sequence: 7, rv: 30 } });
    const { result, reading } = await replay();
    const rejected = rejection(result);
    await clock.advanceAsync(14_000);
    reading!.onEnvelope(mark(20), 5);
    await clock.advanceAsync(14_000);
    expect(reading!.stopped).toBe(false);
    await clock.advanceAsync(1_000);
    expect(await rejected).toMatchObject({ message: expect.stringContaining('nothing comes') });
    expect(reading!.stopped).toBe(true);
  });
});

describe('a checkpoint', () => {
  const pages = [...encodeTrackState(stateAt(10, [pod('a', 5)]))];

  test('is read page by page', async () => {
    const { archive } = started({ pages });
    expect(await archive.checkpoint(lack())).toMatchObject({ kind: 'state', listing: { rv: 10 } });
  });

  test.each([
    { what: 'is not there' },
    { what: 'cannot be read', pages: [Buffer.from('no page'), ...pages] },
    { what: 'ends before its end', pages: pages.slice(0, -1) },
  ])('that $what counts as none: it would be so for ever', async (it) => {
    const { archive } = started(it.pages === undefined ? {} : { pages: it.pages });
    expect(await archive.checkpoint(lack())).toBeUndefined();
  });
});
