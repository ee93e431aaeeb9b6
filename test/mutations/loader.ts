// `node --import .../loader.ts`, with MUTANT=id: plants that bug in its file as Node loads it.
import { registerHooks } from 'node:module';
import { pathToFileURL } from 'node:url';
import { plant } from './mutant.ts';
import { pathOf, plantedMutant } from './planted.ts';

/** Where nothing fails although the file with the bug was never loaded. */
const NOT_PLANTED = 3;

const mutant = plantedMutant();
const url = pathToFileURL(pathOf(mutant)).href;
let planted = false;

registerHooks({
  load: (loaded, context, nextLoad) => {
    const module = nextLoad(loaded, context);
    if (loaded !== url) return module;
    planted = true;
    const source = typeof module.source === 'string' ? module.source : new TextDecoder().decode(module.source);
    return { ...module, source: plant(source, mutant) };
  },
});

process.once('exit', (code) => {
  if (code === 0 && !planted) process.exitCode = NOT_PLANTED;
});
