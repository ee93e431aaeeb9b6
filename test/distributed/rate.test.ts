import { afterEach, expect, test } from 'vitest';
import { FULL_SIZE, recordClaim } from '../support/claims.ts';
import { failings, type Held, hold } from '../support/cluster-rate-hold.ts';
import { RateStage } from '../support/cluster-rate-stage.ts';
import { machineLoad } from '../support/cluster-rate-usage.ts';

// One ingest, one shard, 100,000 leases of 430 bytes in protobuf. Every process of a stage is on this machine, the
// simulated upstream too: what is measured is what two cores hold of all of it together.

const PARTITIONS = 16;
const POPULATION = { nodes: 100_000, podsPerNode: 0, namespaces: 1 };
/** Of each partition, so that all have as much as one undivided lane. */
const WINDOW = '4Mi';
const SECONDS = FULL_SIZE ? 60 : 10;
const TIMEOUT_MS = 600_000;

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
    flags: { ingest: ['--lane-idle-timeout=2h', ...ingestFlags], shard: [`--window-bytes=${WINDOW}`] },
  });
  cleanUp.push(() => stage.stop());
  await stage.openLeases();
  return stage;
}

function record(name: string, held: Held, more: Readonly<Record<string, number | readonly string[]>>): void {
  const { perEvent, ...rest } = held;
  recordClaim(name, { partitions: PARTITIONS, ...more, ...rest, ...perEvent, failings: failings(held) });
}

test(
  `100,000 events a second for ${SECONDS} s, the log in memory: nothing is dropped, no backlog stays`,
  async () => {
    const load = machineLoad();
    const stage = await start(1, '--log-storage=memory', '--log-bytes=512Mi');
    const held = await hold(stage, { rate: 100_000, seconds: SECONDS });
    record('rate-r1-memory', held, { machineLoadBefore: load });
    expect(failings(held)).toEqual([]);
    expect(await stage.differences()).toBe(0);
  },
  TIMEOUT_MS,
);

test(
  `at least 30,000 events a second for ${SECONDS} s, the log in the files of three servers`,
  async () => {
    const load = machineLoad();
    const stage = await start(3, '--log-storage=file', '--log-bytes=2Gi');
    const tried: string[] = [];
    let rate = FULL_SIZE ? await highestRate(stage, tried) : LEAST_RATE;
    let held = await hold(stage, { rate, seconds: SECONDS });
    // What goes well for a while need not go well for a minute.
    while (failings(held).length > 0 && rate > LEAST_RATE) {
      tried.push(`${rate}: ${failings(held).join(', ')}`);
      rate -= STEP;
      held = await hold(stage, { rate, seconds: SECONDS });
    }
    record('rate-r3-file', held, { machineLoadBefore: load, tried });
    expect(failings(held)).toEqual([]);
    expect(await stage.differences()).toBe(0);
  },
  2 * TIMEOUT_MS,
);

const LEAST_RATE = 30_000;
const MOST_RATE = 100_000;
const STEP = 10_000;
const TRIAL_S = 15;

/** The highest rate that goes well for a while, by trial. */
async function highestRate(stage: RateStage, tried: string[]): Promise<number> {
  for (let rate = LEAST_RATE; rate <= MOST_RATE; rate += STEP) {
    const failed = failings(await hold(stage, { rate, seconds: TRIAL_S }));
    if (failed.length > 0) {
      tried.push(`${rate}: ${failed.join(', ')}`);
      return Math.max(LEAST_RATE, rate - STEP);
    }
  }
  return MOST_RATE;
}
