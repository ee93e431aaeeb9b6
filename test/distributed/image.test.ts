// helm/Dockerfile where there is no docker: what it copies and runs, carried out in directories.
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, matchesGlob, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runOk } from '../support/command.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NODE = dirname(process.execPath);
const BUILD_TIMEOUT_MS = 120_000;

/** One instruction, which is a line. */
type Instruction = readonly [name: string, rest: string];

let scratch: string;
let ignored: string[];
let image: string;
let instructions: readonly Instruction[];

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'dogwatch-image-'));
  ignored = lines(await readFile(join(ROOT, 'helm/Dockerfile.dockerignore'), 'utf8'));
  const file = lines(await readFile(join(ROOT, 'helm/Dockerfile'), 'utf8')).map((line): Instruction => [
    line.split(' ')[0] ?? '',
    line.slice(line.indexOf(' ') + 1),
  ]);
  const second = file.findLastIndex(([name]) => name === 'FROM');
  instructions = file.slice(second);
  await build('dependencies', file.slice(0, second));
  image = await build('image', instructions);
}, BUILD_TIMEOUT_MS);

afterAll(() => rm(scratch, { recursive: true, force: true }));

test('its entry point is the command', async () => {
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const [entryPoint = ''] = JSON.parse(only('ENTRYPOINT')) as string[];
  const path = /PATH=(\S+)/.exec(only('ENV'))?.[1] ?? '';
  const env = { PATH: path.replace('$PATH', NODE).replace('/dogwatch', image) };
  expect(await runOk(entryPoint, ['version'], { env })).toContain(`dogwatch ${version} `);
});

test('every process is whole without what is left out', async () => {
  const processes = ['cluster/ingest-process', 'cluster/shard-process', 'cluster/fanout-process', 'sidecar/sidecar'];
  const script = join(image, 'services/cli/all.ts');
  await writeFile(script, processes.map((path) => `import '@dogwatch/${path}.ts';\n`).join(''));
  expect(await runOk(process.execPath, [script])).toBe('');
});

test('it brings a Node that is new enough, and nobody special runs it', () => {
  expect(only('FROM')).toMatch(/^node:24\.(?:1[7-9]|[2-9]\d)\.\d+-slim$/);
  expect(only('USER')).toMatch(/^[1-9]\d*:[1-9]\d*$/);
});

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

/** What the image's last stage says with an instruction it has once. */
function only(name: string): string {
  const [found, ...more] = instructions.filter(([its]) => its === name);
  if (found === undefined || more.length > 0) throw new Error(`the image has no ${name}, or several`);
  return found[1];
}

/** A directory with what a stage makes of /dogwatch. */
async function build(stage: string, its: readonly Instruction[]): Promise<string> {
  const directory = join(scratch, stage);
  await mkdir(directory);
  for (const [name, rest] of its) {
    if (name === 'COPY') await copy(rest.split(' '), directory);
    if (name === 'RUN') await runOk('sh', ['-c', `cd ${directory} && ${rest}`], { env: BUILD_ENVIRONMENT });
  }
  return directory;
}

/** npm takes what it has in its cache since the installation of this repository. */
const BUILD_ENVIRONMENT = {
  PATH: [NODE, process.env['PATH']].join(delimiter),
  npm_config_prefer_offline: 'true',
};

async function copy(words: readonly string[], directory: string): Promise<void> {
  const [, stage] = /^--from=(.+)$/.exec(words[0] ?? '') ?? [];
  const sources = words.slice(stage === undefined ? 0 : 1, -1);
  const to = words.at(-1) ?? '';
  for (const source of sources) {
    if (stage === undefined && !ignored.includes(`!${source}`)) throw new Error(`.dockerignore keeps ${source} out`);
    const from = stage === undefined ? join(ROOT, source) : join(scratch, stage, source.replace('/dogwatch/', ''));
    await cp(from, join(directory, to === './' ? source : to), {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => stage !== undefined || !ignored.some((glob) => glob.startsWith('**') && matches(path, glob)),
    });
  }
}

function matches(path: string, glob: string): boolean {
  return matchesGlob(relative(ROOT, path), glob);
}
