// Plants each bug of the list and shows that it is caught: `node mutants.main.ts [--first-seed N] [--seeds N] [--jobs N]
// [ID...]`. Prints a table; exit code 1 if one survives, or could not be planted.
import { parseArgs } from 'node:util';
import { MUTANTS } from './mutants.ts';
import { type Outcome, runMutant } from './run-mutant.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'first-seed': { type: 'string', default: '1' },
    seeds: { type: 'string', default: '1000' },
    jobs: { type: 'string', default: '2' },
  },
});
const unknown = positionals.filter((id) => !MUTANTS.some((mutant) => mutant.id === id));
if (unknown.length > 0) throw new Error(`no such mutants: ${unknown.join(', ')}`);

const budget = { firstSeed: Number(values['first-seed']), seeds: Number(values.seeds) };
const wanted = MUTANTS.filter(({ id }) => positionals.length === 0 || positionals.includes(id));
const waiting = [...wanted];
const outcomes: Outcome[] = [];

const CHECK_CHARS = 110;
const row = (cells: readonly [string, string, string, string, string]): string => {
  const [id, promise, caught, seconds, check] = cells;
  return `${id.padEnd(34)} ${promise.padEnd(4)} ${caught.padEnd(12)} ${seconds.padStart(6)}  ${check}`;
};

function show({ mutant, result, seed, check, seconds }: Outcome): void {
  const at = seed === undefined ? 'unit test' : `seed ${seed}`;
  const caught = result === 'caught' ? at : result.toUpperCase();
  const text = result === 'caught' && check.length > CHECK_CHARS ? `${check.slice(0, CHECK_CHARS)}…` : check;
  console.log(row([mutant.id, mutant.promise, caught, seconds.toFixed(1), text]));
}

async function work(): Promise<void> {
  for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
    const outcome = await runMutant(mutant, budget);
    outcomes.push(outcome);
    show(outcome);
  }
}

console.log(row(['planted bug', '', 'caught by', 's', 'what failed']));
await Promise.all(Array.from({ length: Number(values.jobs) }, work));

const bad = outcomes.filter(({ result }) => result !== 'caught');
const bySeed = outcomes.filter(({ seed }) => seed !== undefined);
const most = Math.max(0, ...bySeed.map(({ seeds = 0 }) => seeds));
console.log(
  `${outcomes.length - bad.length} of ${outcomes.length} planted bugs caught: ${bySeed.length} by the simulation within ${most} seeds, the rest by unit tests`,
);
for (const { mutant, result } of bad) console.log(`${result}: ${mutant.id} (${mutant.file}): ${mutant.what}`);
process.exitCode = bad.length === 0 ? 0 : 1;
