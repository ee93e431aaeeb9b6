import type { CompareCase, IdleRound, Round, SubjectName } from './compare-round.ts';
import { type Spread, spreadOf, spreadText } from './spread.ts';

/** Where and on what it was measured. */
export interface Machine {
  readonly commit: string;
  readonly node: string;
  readonly kernel: string;
  readonly cpus: number;
  readonly cpuModel: string;
  readonly memoryGb: number;
  /** One minute load average at the start and the end: what others did meanwhile. */
  readonly loadBefore: number;
  readonly loadAfter: number;
  readonly pinned: boolean;
  readonly date: string;
}

export interface SubjectSummary {
  readonly rounds: number;
  readonly deliveries: number;
  readonly cpuMicrosPerDelivery: Spread;
  readonly lagP50Ms: Spread;
  readonly lagP99Ms: Spread;
  readonly deliveriesPerSecond: Spread;
}

export interface CaseSummary {
  readonly case: CompareCase;
  readonly subjects: Readonly<Record<SubjectName, SubjectSummary>>;
  /** kube-apiserver's CPU during dogwatch's rounds, per delivery of dogwatch: the writes, and dogwatch's own watch. */
  readonly apiserverShareMicros: Spread;
  /** kube-apiserver's median CPU per delivery divided by dogwatch's. */
  readonly ratio: number;
  /** The same with what the writes cost taken off kube-apiserver: the fairer number. */
  readonly ratioWithoutWrites: number;
}

export interface Comparison {
  readonly machine: Machine;
  readonly cases: readonly CaseSummary[];
  readonly memoryBytesPerWatch: Readonly<Partial<Record<SubjectName, Spread>>>;
  readonly rounds: readonly Round[];
  readonly idleRounds: readonly IdleRound[];
}

export function summarizeCase(compareCase: CompareCase, all: readonly Round[]): CaseSummary {
  const rounds = all.filter((round) => round.case === compareCase.name);
  const direct = summarize(rounds.filter(({ subject }) => subject === 'kube-apiserver'));
  const through = rounds.filter(({ subject }) => subject === 'dogwatch');
  const dogwatch = summarize(through);
  const micros = (round: Round) => (round.apiserverCpuSeconds / round.deliveries) * 1e6;
  const apiserverShareMicros = spreadOf(through.map(micros));
  const kube = direct.cpuMicrosPerDelivery.median;
  const own = dogwatch.cpuMicrosPerDelivery.median;
  return {
    case: compareCase,
    subjects: { 'kube-apiserver': direct, dogwatch },
    apiserverShareMicros,
    ratio: kube / own,
    ratioWithoutWrites: (kube - apiserverShareMicros.median) / own,
  };
}

function summarize(rounds: readonly Round[]): SubjectSummary {
  return {
    rounds: rounds.length,
    deliveries: rounds.reduce((sum, { deliveries }) => sum + deliveries, 0),
    cpuMicrosPerDelivery: spreadOf(rounds.map((round) => (round.cpuSeconds / round.deliveries) * 1e6)),
    lagP50Ms: spreadOf(rounds.map(({ lagP50Ms }) => lagP50Ms)),
    lagP99Ms: spreadOf(rounds.map(({ lagP99Ms }) => lagP99Ms)),
    deliveriesPerSecond: spreadOf(rounds.map(({ deliveries, seconds }) => deliveries / seconds)),
  };
}

/** Median and spread of the memory one idle watch takes, by subject. */
export function memoryPerWatch(rounds: readonly IdleRound[]): Comparison['memoryBytesPerWatch'] {
  const memory: Partial<Record<SubjectName, Spread>> = {};
  for (const name of ['kube-apiserver', 'dogwatch'] as const) {
    const own = rounds.filter(({ subject }) => subject === name);
    if (own.length > 0)
      memory[name] = spreadOf(own.map(({ afterBytes, beforeBytes, watches }) => (afterBytes - beforeBytes) / watches));
  }
  return memory;
}

/** The comparison as text: medians, and from the smallest to the largest in brackets. */
export function reportLines({ machine, cases, memoryBytesPerWatch }: Comparison): string[] {
  const table = [
    ['case', 'server', 'CPU per delivery µs', 'lag p50 ms', 'lag p99 ms', 'deliveries/s'],
    ...cases.flatMap(({ case: { name }, subjects }) =>
      (['kube-apiserver', 'dogwatch'] as const).map((subject, index) => {
        const { cpuMicrosPerDelivery, lagP50Ms, lagP99Ms, deliveriesPerSecond } = subjects[subject];
        return [
          index === 0 ? name : '',
          subject,
          spreadText(cpuMicrosPerDelivery, 1),
          spreadText(lagP50Ms, 1),
          spreadText(lagP99Ms, 1),
          deliveriesPerSecond.median.toFixed(0),
        ];
      }),
    ),
  ];
  const rounds = cases[0]?.subjects.dogwatch.rounds ?? 0;
  return [
    ...align(table),
    '',
    ...cases.map(
      ({ case: { name }, ratio, ratioWithoutWrites, apiserverShareMicros }) =>
        `${name}: dogwatch uses ${ratio.toFixed(1)} times less CPU per delivery than kube-apiserver, ` +
        `${ratioWithoutWrites.toFixed(1)} times with the writes taken off kube-apiserver ` +
        `(which spent ${spreadText(apiserverShareMicros, 1)} µs per delivery while dogwatch served).`,
    ),
    memoryLine(memoryBytesPerWatch),
    `${rounds} rounds each, in turn; all deliveries complete and in order. Medians, smallest and largest in brackets.`,
    `${machine.cpus} × ${machine.cpuModel}, ${machine.memoryGb} GB, Linux ${machine.kernel}, Node ${machine.node}, commit ${machine.commit}, ` +
      `load ${machine.loadBefore.toFixed(1)} before and ${machine.loadAfter.toFixed(1)} after, ` +
      (machine.pinned ? 'servers on one CPU, clients, writer and etcd on the other.' : 'nothing pinned to a CPU.'),
  ];
}

function memoryLine(memory: Comparison['memoryBytesPerWatch']): string {
  const text = (name: SubjectName) => {
    const spread = memory[name];
    if (spread === undefined) return `${name} not measured`;
    const kilobytes = { median: spread.median / 1024, min: spread.min / 1024, max: spread.max / 1024 };
    return `${name} ${spreadText(kilobytes, 1)} KB`;
  };
  return `memory per idle watch (18 per connection, connection included, no collection forced): ${text('kube-apiserver')}, ${text('dogwatch')}.`;
}

function align(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}
