import { loadavg } from 'node:os';
import { cpuSeconds } from '@dogwatch/bench/process-usage.ts';
import type { RateStage } from './cluster-rate-stage.ts';

/** The processes an event passes. */
export type Stage = 'upstream' | 'ingest' | 'nats' | 'shard' | 'fanout';

/** Seconds of CPU by stage, all threads of all its processes. */
export type Usage = Readonly<Record<Stage, number>>;

/** What each stage has used until now. */
export function usageOf({ upstream, cluster }: RateStage): Usage {
  const of = (pids: readonly number[]): number => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  const members = (role: 'ingest' | 'shard' | 'fanout'): number => of(cluster.members(role).map(({ pid }) => pid));
  return {
    upstream: of([upstream.pid]),
    ingest: members('ingest'),
    nats: of(cluster.nats.servers.flatMap(({ pid }) => pid ?? [])),
    shard: members('shard'),
    fanout: members('fanout'),
  };
}

/** Microseconds of CPU that each stage took for each of `events`, by name; stages that took none are left out. */
export function microsPerEvent(before: Usage, after: Usage, events: number): Record<string, number> {
  const stages = Object.keys(after) as Stage[];
  return Object.fromEntries(
    stages.flatMap((stage) => {
      const micros = ((after[stage] - before[stage]) * 1e6) / Math.max(1, events);
      return micros === 0 ? [] : [[`${stage}MicrosPerEvent`, Number(micros.toFixed(2))]];
    }),
  );
}

/** The machine's load over the last minute. */
export function machineLoad(): number {
  return Number((loadavg()[0] ?? 0).toFixed(2));
}
