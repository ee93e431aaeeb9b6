import { setTimeout as sleep } from 'node:timers/promises';
import type { RateStage } from './cluster-rate-stage.ts';
import { microsPerEvent, usageOf } from './cluster-rate-usage.ts';
import { eventually } from './eventually.ts';
import { sumOf } from './prometheus-text.ts';

/** What a rate did to the cluster. */
export interface Held {
  readonly rate: number;
  readonly seconds: number;
  readonly written: number;
  /** Events the ingest read: fewer than were written if it had to list. */
  readonly read: number;
  /** Events that came due and could not be written: upstream itself did not hold the rate. */
  readonly notWritten: number;
  /** Events that upstream had and the slowest partition of a shard had not, at most, looked at twice a second. */
  readonly behindMax: number;
  /** The same, on average over the first and the last third: a backlog that grows shows here. */
  readonly behindFirst: number;
  readonly behindLast: number;
  /** From the last write until every shard had everything. */
  readonly drainMs: number;
  /** Bytes published that the log had not stored, at most, and from the last write until it had. */
  readonly logBehindBytesMax: number;
  readonly logDrainMs: number;
  /** Envelopes the bus dropped or lost. */
  readonly dropped: number;
  /** Times a shard found a part missing, the log was left with a hole, the ingest was too late and listed upstream anew. */
  readonly gaps: number;
  readonly logHoles: number;
  readonly relists: number;
  readonly perEvent: Readonly<Record<string, number>>;
}

const LOOK_MS = 500;
/** A backlog of events of more time than this is none that comes and goes. */
const BEHIND_MAX_S = 1;
const DRAIN_MAX_MS = 2_000;
/** For what is far behind to come after all, so that its numbers are known. */
const DRAIN_TIMEOUT_MS = 60_000;

type Counters = Pick<Held, 'read' | 'dropped' | 'gaps' | 'logHoles' | 'relists'>;

/** Writes leases at `rate` for `seconds`, looking on, and waits until all of it is where it belongs. */
export async function hold(stage: RateStage, { rate, seconds }: { rate: number; seconds: number }): Promise<Held> {
  const { upstream } = stage;
  const limit = rate * seconds;
  const [before, usageBefore] = [await countersOf(stage), usageOf(stage)];
  const looks: number[] = [];
  let logBehindBytesMax = 0;
  await upstream.write('leases', rate, limit);
  let writer = (await upstream.report()).writers.leases;
  while ((writer?.written ?? 0) < limit) {
    const left = (limit - (writer?.written ?? 0)) / rate;
    await sleep(Math.min(LOOK_MS, left * 1_000));
    const watermark = await stage.watermark();
    const report = await upstream.report();
    writer = report.writers.leases;
    looks.push(Math.max(0, report.version - watermark));
    logBehindBytesMax = Math.max(logBehindBytesMax, await logBehind(stage));
  }
  const ended = performance.now();
  const { version } = await upstream.report();
  const drain = { timeoutMs: DRAIN_TIMEOUT_MS, everyMs: 20 };
  await eventually({ what: 'the shards have everything', ...drain }, async () => (await stage.watermark()) >= version);
  const drainMs = Math.round(performance.now() - ended);
  await eventually({ what: 'the log has everything', ...drain }, async () => (await logBehind(stage)) === 0);
  const logDrainMs = Math.round(performance.now() - ended);
  const counters = await countersOf(stage);
  const third = Math.ceil(looks.length / 3);
  return {
    rate,
    seconds,
    written: limit,
    read: counters.read - before.read,
    notWritten: writer?.skipped ?? 0,
    behindMax: Math.max(0, ...looks),
    behindFirst: mean(looks.slice(0, third)),
    behindLast: mean(looks.slice(-third)),
    drainMs,
    logBehindBytesMax,
    logDrainMs,
    dropped: counters.dropped - before.dropped,
    gaps: counters.gaps - before.gaps,
    logHoles: counters.logHoles - before.logHoles,
    relists: counters.relists - before.relists,
    perEvent: microsPerEvent(usageBefore, usageOf(stage), counters.read - before.read),
  };
}

async function countersOf(stage: RateStage): Promise<Counters> {
  const members = await Promise.all(stage.cluster.members().map((member) => member.metrics()));
  const sum = (name: string): number => members.reduce((total, samples) => total + sumOf(samples, name), 0);
  return {
    read: sum('dogwatch_upstream_events_total'),
    dropped: sum('dogwatch_bus_envelopes_dropped_total') + sum('dogwatch_bus_gaps_total'),
    gaps: await stage.gaps(),
    logHoles: sum('dogwatch_log_holes_total'),
    relists: sum('dogwatch_upstream_listings_total'),
  };
}

async function logBehind({ cluster }: RateStage): Promise<number> {
  const members = await Promise.all(cluster.members('ingest').map((member) => member.metrics()));
  return members.reduce((total, samples) => total + sumOf(samples, 'dogwatch_log_backlog_bytes'), 0);
}

/** Why the rate was not held; empty if it was. */
export function failings(held: Held): string[] {
  const { rate, notWritten, behindMax, drainMs, dropped, gaps, logHoles, relists } = held;
  return Object.entries({
    'upstream could not write it': notWritten > 0,
    'envelopes were dropped': dropped > 0,
    'a shard missed something': gaps > 0,
    'the log has holes': logHoles > 0,
    'the ingest fell out of the window upstream keeps': relists > 0,
    'the backlog was more than one that comes and goes': behindMax > rate * BEHIND_MAX_S,
    'the backlog did not empty in time': drainMs > DRAIN_MAX_MS,
  }).flatMap(([what, failed]) => (failed ? [what] : []));
}

function mean(values: readonly number[]): number {
  return Math.round(values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length));
}
