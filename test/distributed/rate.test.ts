import { afterEach, describe, expect, test } from 'vitest';
import { FULL_SIZE, recordClaim } from '../support/claims.ts';
import { type Held, hold } from '../support/cluster-rate-hold.ts';
import { RateStage } from '../support/cluster-rate-stage.ts';
import { machineLoad } from '../support/cluster-rate-usage.ts';

const PARTITIONS = 16;
const POPULATION = { nodes: 100_000, podsPerNode: 0, namespaces: 1 };
/** A backlog of more than this is none that comes and goes. */
const BEHIND_MAX_S = 1;
const DRAIN_MAX_MS = 2_000;

const cleanUp: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const undo of cleanUp.splice(0).toReversed()) await undo();
});

async function start(nats: 1 | 3, ...ingestFlags: string[]): Promise<RateStage> {
  const stage = await RateStage.start({
    population: POPULATION,
    partitions: `leases.coordination.k8s.io=${PARTITIONS}`,
    nats,
    ingest: 1,
    shard: 1,
    fanout: 0,
    flags: { ingest: ['--lane-idle-timeout=2h', ...ingestFlags] },
  });
  cleanUp.push(() => stage.stop());
  await stage.openLeases();
  return stage;
}

/** Why `held` is no rate that was held; empty if it is. */
function failings(held: Held): string[] {
  const { rate, notWritten, behindMax, drainMs, dropped, gaps } = held;
  return Object.entries({
    'upstream wrote too little': notWritten > 0,
    'envelopes were dropped': dropped > 0,
    'a shard missed something': gaps > 0,
    'the backlog is not bounded': behindMax > rate * BEHIND_MAX_S,
    'the backlog did not empty in time': drainMs > DRAIN_MAX_MS,
  }).flatMap(([what, failed]) => (failed ? [what] : []));
}

function record(name: string, held: Held, load: number): void {
  const { perEvent, ...rest } = held;
  recordClaim(name, { partitions: PARTITIONS, machineLoadBefore: load, ...rest, ...perEvent });
}

describe('one ingest, one shard, 100,000 leases in 16 partitions, protobuf', () => {
  const RATE = 100_000;
  const SECONDS = FULL_SIZE ? 60 : 10;

  test(`${RATE} events a second for ${SECONDS} s with the log in memory: nothing is dropped, no backlog stays`, async () => {
    const load = machineLoad();
    const stage = await start(1, '--log-storage=memory', '--log-bytes=512Mi');
    const held = await hold(stage, { rate: RATE, seconds: SECONDS });
    record('rate-r1-memory', held, load);
    expect(await stage.differences()).toBe(0);
    expect(failings(held)).toEqual([]);
  });
});
