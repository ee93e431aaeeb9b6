// Runs fresh seeds of the simulation in several processes: `node simulate.main.ts [--seeds N] [--jobs N] [--first-seed N]`.
// Prints what went on, and each seed that failed with the command that runs it alone; exit code 1 if one did.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { SeedsReport } from './seeds-report.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    jobs: { type: 'string', default: '2' },
    'first-seed': { type: 'string', default: String(Date.now() >>> 0) },
  },
});
const [seeds, jobs, firstSeed] = [Number(values.seeds), Number(values.jobs), Number(values['first-seed'])];
const SEEDS_MAIN = fileURLToPath(new URL('seeds.main.ts', import.meta.url));

async function runSeeds(first: number, count: number): Promise<SeedsReport> {
  const child = spawn(process.execPath, [SEEDS_MAIN, String(first), String(count)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output = text(child.stdout);
  const [code] = (await once(child, 'exit')) as [number | null];
  const line = (await output).trim().split('\n').at(-1) ?? '';
  if (!line.startsWith('{')) throw new Error(`seeds from ${first} on ended with ${code} and no report`);
  return JSON.parse(line) as SeedsReport;
}

const begun = performance.now();
const each = Math.ceil(seeds / jobs);
const firsts = Array.from({ length: jobs }, (_, job) => job * each).filter((from) => from < seeds);
const reports = await Promise.all(firsts.map((from) => runSeeds(firstSeed + from, Math.min(each, seeds - from))));

const counts: Record<string, number> = {};
for (const report of reports) {
  for (const [what, times] of Object.entries(report.counts)) counts[what] = (counts[what] ?? 0) + times;
}
const done = reports.reduce((total, report) => total + report.seeds, 0);
const seconds = (performance.now() - begun) / 1_000;
console.log(`${done} seeds from ${firstSeed} on in ${seconds.toFixed(0)} s, ${(done / seconds).toFixed(0)} a second`);
console.log(
  Object.entries(counts)
    .map(([what, times]) => `${what} ${times}`)
    .join(', '),
);
for (const { failed } of reports) {
  if (failed === undefined) continue;
  process.exitCode = 1;
  console.error(`seed ${failed.seed} failed; node ${SEEDS_MAIN} ${failed.seed} 1 runs it alone\n${failed.message}`);
}
