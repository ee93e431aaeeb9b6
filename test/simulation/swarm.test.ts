// Fresh seeds, each the scenario it draws. A failure names its seed: SEED=12345 runs that one alone, RUNS=200 five times
// so many.
import { expect, test } from 'vitest';
import { drawScenario } from './draw-scenario.ts';
import { Simulation } from './simulation.ts';

const SEED = process.env['SEED'];
const RUNS = Number(process.env['RUNS'] ?? 8) * 5;
const seeds = SEED === undefined ? Array.from({ length: RUNS }, (_, i) => (Date.now() + i) >>> 0) : [Number(SEED)];

test(
  'I1 I2 I3 I4 I5 I6 I7 I9: whatever faults are drawn, what is sent is true, fresh where it must be, and bounded',
  { timeout: 10_000 + RUNS * 500 },
  async () => {
    let fresh = 0;
    for (const seed of seeds) {
      try {
        const { reads } = await new Simulation(drawScenario(seed)).run();
        fresh += reads.fresh;
      } catch (error) {
        throw new Error(`SEED=${seed}: ${(error as Error).message}`, { cause: error });
      }
    }
    expect(fresh).toBeGreaterThan(seeds.length > 1 ? seeds.length : -1);
  },
);

test.each([1, 2, 5, 8])('seed %i draws and does the same each time', async (seed) => {
  expect(drawScenario(seed)).toEqual(drawScenario(seed));
  const [first, second] = [
    await new Simulation(drawScenario(seed)).run(),
    await new Simulation(drawScenario(seed)).run(),
  ];
  expect(second).toEqual(first);
});
