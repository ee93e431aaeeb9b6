import { ROOT, plant } from './mutant.ts';
import { pathOf, plantedMutant } from './planted.ts';

const mutant = plantedMutant();

/** Runs unit tests with the bug MUTANT=id in them. */
export default {
  root: ROOT,
  plugins: [
    {
      name: 'mutant',
      enforce: 'pre',
      transform: (source: string, path: string): string | undefined =>
        path === pathOf(mutant) ? plant(source, mutant) : undefined,
    },
  ],
  // A cache of what was transformed knows nothing of mutants.
  test: { testTimeout: 20_000, fsModuleCache: false },
};
