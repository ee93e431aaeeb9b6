import { MUTANTS } from './mutants.ts';
import { type Mutant, ROOT } from './mutant.ts';

/** Names the mutant to be planted in a process. */
export const MUTANT_VARIABLE = 'MUTANT';

/** The mutant this process is to have. Throws if there is none of that name. */
export function plantedMutant(): Mutant {
  const id = process.env[MUTANT_VARIABLE];
  const mutant = MUTANTS.find((it) => it.id === id);
  if (mutant === undefined) throw new Error(`${MUTANT_VARIABLE} names no mutant: ${id}`);
  return mutant;
}

export function pathOf({ file }: Mutant): string {
  return `${ROOT}${file}`;
}
