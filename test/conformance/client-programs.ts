import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FULL_SIZE } from '../support/claims.ts';
import { run } from '../support/command.ts';

/** A program of test/clients with its client library, or why this machine cannot have it. */
export type ClientProgram =
  | { readonly command: string; readonly args: readonly string[]; readonly missing?: never }
  | { readonly missing: string };

interface Recipe {
  /** Its directory in test/clients; what is made of it is kept under a hash of what is in there. */
  readonly source: string;
  readonly steps: (directory: string) => readonly (readonly [command: string, ...args: string[]])[];
  readonly program: (directory: string) => { readonly command: string; readonly args: readonly string[] };
  /** True: made only by `make prove-…`, as it takes minutes; elsewhere it is used if it is there. */
  readonly slow?: boolean;
}

const SOURCES = fileURLToPath(new URL('../clients/', import.meta.url));
const CACHE = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'dogwatch', 'clients');
const STEP_TIMEOUT_MS = 90_000;
const SLOW_STEP_TIMEOUT_MS = 900_000;

const RECIPES = {
  python: {
    source: 'python',
    steps: (directory) => [
      ['python3', '-m', 'venv', join(directory, 'venv')],
      [
        join(directory, 'venv/bin/pip'),
        'install',
        '--quiet',
        '--disable-pip-version-check',
        `--requirement=${join(directory, 'requirements.txt')}`,
      ],
    ],
    program: (directory) => ({
      command: join(directory, 'venv/bin/python'),
      args: [join(directory, 'watch_configmaps.py')],
    }),
  },
  javascript: {
    source: 'javascript',
    steps: (directory) => [['npm', 'ci', '--prefix', directory, '--ignore-scripts', '--no-audit', '--no-fund']],
    program: (directory) => ({ command: process.execPath, args: [join(directory, 'watch-configmaps.js')] }),
  },
  rust: {
    source: 'rust',
    steps: (directory) => [
      [
        'cargo',
        'build',
        '--locked',
        '--quiet',
        `--manifest-path=${join(directory, 'Cargo.toml')}`,
        `--target-dir=${join(directory, 'target')}`,
      ],
    ],
    program: (directory) => ({ command: join(directory, 'target/debug/dogwatch-test-client'), args: [] }),
    slow: true,
  },
} as const satisfies Record<string, Recipe>;

export type Language = keyof typeof RECIPES;
export const LANGUAGES = Object.keys(RECIPES) as Language[];

/**
 * Installs or builds a program once, into `~/.cache/dogwatch/clients`, from the package registries. What does not work
 * within 90 s a step (15 min for what is built) is missing; it never throws for that.
 */
export async function clientProgram(language: Language): Promise<ClientProgram> {
  const recipe: Recipe = RECIPES[language];
  const directory = join(CACHE, `${language}-${hashOf(join(SOURCES, recipe.source))}`);
  if (existsSync(directory)) return recipe.program(directory);
  if (recipe.slow === true && !FULL_SIZE) return { missing: `${language}: not built yet; PROVE=1 builds it` };
  // It appears under its name only when it is complete.
  const partial = `${directory}.${process.pid}`;
  try {
    await mkdir(partial, { recursive: true });
    await cp(join(SOURCES, recipe.source), partial, { recursive: true });
    const timeoutMs = recipe.slow === true ? SLOW_STEP_TIMEOUT_MS : STEP_TIMEOUT_MS;
    for (const [command, ...args] of recipe.steps(partial)) {
      const failure = await failureOf(command, args, timeoutMs);
      if (failure !== undefined) return { missing: `${language}: ${failure}` };
    }
    if (!existsSync(directory)) await rename(partial, directory);
    return recipe.program(directory);
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

async function failureOf(command: string, args: readonly string[], timeoutMs: number): Promise<string | undefined> {
  try {
    const { code, stderr } = await run(command, args, { timeoutMs });
    if (code === 0) return undefined;
    const [last] = stderr.trim().split('\n').toReversed();
    return `${command} ${code === null ? `did not end within ${timeoutMs / 1_000} s` : `ended with ${code}`}: ${last}`;
  } catch (error) {
    return `${command} cannot be run: ${String(error)}`;
  }
}

function hashOf(directory: string): string {
  const hash = createHash('sha256');
  const files = readdirSync(directory, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile());
  for (const path of files.map(({ parentPath, name }) => join(parentPath, name)).toSorted()) {
    hash.update(path.slice(directory.length)).update('\0').update(readFileSync(path)).update('\0');
  }
  return hash.digest('hex').slice(0, 16);
}
