import { afterEach, expect, test } from 'vitest';
import { FULL_SIZE, MEASURED_BY_PROVE, recordClaim } from '../support/claims.ts';
import { failings, hold } from '../support/cluster-rate-hold.ts';
import { RateStage } from '../support/cluster-rate-stage.ts';
import { machineLoad } from '../support/cluster-rate-usage.ts';

// One ingest, one shard, 100,000 leases of 430 bytes in protobuf. Every process of a stage is on this machine, the
// simulated upstream too: what is measured is what two cores hold of all of it together.

const PARTITIONS = 16;
const POPULATION = { nodes: 100_000, podsPerNode: 0, namespaces: 1 };
/** Of each partition, so that all have as much as one undivided lane. */
const WINDOW = '4Mi';
const SECONDS = 60;
const TIMEOUT_MS = 1_200_000;
const MOST_RATE = 100_000;
const STEP = 10_000;
const TRIAL_S = 15;

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

/** `least` must be held. */
const CASES = [
  { name: 'rate-r1-memory', where: 'in the memory of one server', nats: 1, log: ['memory', '512Mi'], least: 100_000 },
  { name: 'rate-r3-file', where: 'in the files of three servers', nats: 3, log: ['file', '2Gi'], least: 30_000 },
] as const;

test.for(CASES)(
  `$least events a second or more for ${SECONDS} s, the log $where: nothing is dropped, no backlog stays`,
  { timeout: TIMEOUT_MS },
  async ({ name, nats, log, least }, context) => {
    context.skip(!FULL_SIZE, MEASURED_BY_PROVE);
    const machineLoadBefore = machineLoad();
    const stage = await start(nats, `--log-storage=${log[0]}`, `--log-bytes=${log[1]}`);
    const tried: string[] = [];
    let rate = await highestRate(stage, least, tried);
    let held = await hold(stage, { rate, seconds: SECONDS });
    // What goes well for a while need not go well for a minute.
    while (failings(held).length > 0 && rate > least) {
      tried.push(`${rate}: ${failings(held).join(', ')}`);
      rate -= STEP;
      held = await hold(stage, { rate, seconds: SECONDS });
    }
    const { perEvent, ...rest } = held;
    recordClaim(name, { partitions: PARTITIONS, machineLoadBefore, tried, ...rest, ...perEvent });
    expect(failings(held)).toEqual([]);
    expect(await stage.differences()).toBe(0);
  },
);

/** The highest rate that goes well for a while, by trial. */
async function highestRate(stage: RateStage, least: number, tried: string[]): Promise<number> {
  for (let rate = least; rate <= MOST_RATE; rate += STEP) {
    const failed = failings(await hold(stage, { rate, seconds: TRIAL_S }));
    if (failed.length > 0) {
      tried.push(`${rate}: ${failed.join(', ')}`);
      return Math.max(least, rate - STEP);
    }
  }
  return MOST_RATE;
}
