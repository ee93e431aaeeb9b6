import { describe, expect, test } from 'vitest';
import { type Machine, memoryPerWatch, reportLines, summarizeCase } from './compare-report.ts';
import type { Round, SubjectName } from './compare-round.ts';

const CASE = { name: '18 per connection', connections: 100, watchesPerConnection: 18, rate: 10 };

function round(subject: SubjectName, cpuSeconds: number, apiserverCpuSeconds: number): Round {
  return {
    case: CASE.name,
    subject,
    deliveries: 100_000,
    seconds: 5,
    cpuSeconds,
    apiserverCpuSeconds,
    clientCpuSeconds: 1,
    lagP50Ms: 5,
    lagP99Ms: 9,
  };
}

const ROUNDS = [
  round('kube-apiserver', 2.4, 2.4),
  round('kube-apiserver', 2.6, 2.6),
  round('kube-apiserver', 2.5, 2.5),
  round('dogwatch', 0.5, 0.1),
  round('dogwatch', 0.4, 0.1),
  round('dogwatch', 0.6, 0.1),
];

describe('the report of a comparison', () => {
  test('compares medians, and once more with the writes taken off', () => {
    const summary = summarizeCase(CASE, ROUNDS);
    expect(summary.subjects.dogwatch.cpuMicrosPerDelivery).toEqual({ median: 5, min: 4, max: 6 });
    expect(summary.ratio).toBeCloseTo(5);
    expect(summary.ratioWithoutWrites).toBeCloseTo(4.8);
  });

  test('divides memory by watches', () => {
    const idle = { watches: 1_000, beforeBytes: 5_000_000, afterBytes: 25_000_000 };
    expect(memoryPerWatch([{ subject: 'dogwatch', ...idle }])).toEqual({
      dogwatch: { median: 20_000, min: 20_000, max: 20_000 },
    });
  });

  test('says medians, spread, machine and commit', () => {
    const machine: Machine = {
      commit: 'abc',
      node: 'v24',
      kernel: '6',
      cpus: 2,
      cpuModel: 'x',
      memoryGb: 8,
      loadBefore: 1,
      loadAfter: 2,
      pinned: true,
      date: '',
    };
    const text = reportLines({
      machine,
      cases: [summarizeCase(CASE, ROUNDS)],
      memoryBytesPerWatch: {},
      rounds: ROUNDS,
      idleRounds: [],
    }).join('\n');
    expect(text).toContain('5.0 (4.0–6.0)');
    expect(text).toContain('5.0 times less CPU');
    expect(text).toContain('commit abc');
    expect(text).toContain('load 1.0 before and 2.0 after');
  });
});
