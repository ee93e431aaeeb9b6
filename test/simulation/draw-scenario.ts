import { drawFaults } from './faults.ts';
import { Random } from './random.ts';
import type { Scenario } from './simulation.ts';

const MIB = 1024 * 1024;
/** From windows that hold all there is down to those that hold a few dozen changes. */
const WINDOW_BYTES = [64 * MIB, 64 * MIB, 60_000, 20_000, 8_000];
const TOMBSTONE_BYTES = [16 * MIB, 16 * MIB, 12_000, 4_000, 1_500];

/** The scenario a seed stands for (swarm testing): which form, how much is kept, and which faults strike how often. */
export function drawScenario(seed: number): Scenario {
  // Not the numbers the run itself draws.
  const random = new Random(seed ^ 0x5ca1ab1e);
  const scopes = random.chance(0.35);
  const partitions = scopes ? random.pick([1, 2, 3]) : random.pick([1, 1, 2, 4, 16]);
  return {
    seed,
    partitions,
    scopes,
    steps: random.pick([400, 1_000, 2_000, 3_000]),
    expiry: !scopes && partitions === 1 && random.chance(0.5),
    repairs: random.chance(0.6),
    limits: { windowBytesMax: random.pick(WINDOW_BYTES), tombstoneBytesMax: random.pick(TOMBSTONE_BYTES) },
    faults: drawFaults(random),
  };
}
