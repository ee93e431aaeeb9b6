// Runs seeds of the simulation, each the scenario it draws: `node seeds.main.ts FIRST COUNT`. The last line of stdout is
// a SeedsReport. Ends at the first seed that fails, with exit code 1.
import { drawScenario } from './draw-scenario.ts';
import type { SeedsReport } from './seeds-report.ts';
import { Simulation } from './simulation.ts';

const [first = Date.now() >>> 0, count = 1_000] = process.argv.slice(2).map(Number);
const counts: Record<string, number> = {};
const begun = performance.now();
let failed: SeedsReport['failed'];
let seeds = 0;
for (; seeds < count && failed === undefined; seeds++) {
  const seed = (first + seeds) >>> 0;
  try {
    const { clients, answers, reads, ...report } = await new Simulation(drawScenario(seed)).run();
    const { changes: holesFilled, state: states, delivered: fromLog } = answers;
    for (const [what, times] of Object.entries({ ...report, ...clients, ...reads, holesFilled, states, fromLog })) {
      counts[what] = (counts[what] ?? 0) + times;
    }
  } catch (error) {
    failed = { seed, message: (error as Error).stack ?? String(error) };
  }
}
const seconds = (performance.now() - begun) / 1_000;
console.log(JSON.stringify({ seeds, seconds, counts, ...(failed && { failed }) } satisfies SeedsReport));
process.exitCode = failed === undefined ? 0 : 1;
