// `make prove-PART`: runs every suite of a part at full size, one after the other, and writes what was shown to
// test/results/PART.json. A suite that has passed at this commit is not run again, so that a broken run is resumed.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { claimsDirectory, type Part } from './claims.ts';
import { type Counts, countReports } from './vitest-report.ts';

interface Proof extends Counts {
  readonly suite: string;
  readonly commit: string;
  readonly seconds: number;
  /** Load of the machine when the suite began. */
  readonly load: number;
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const RESULTS = join(ROOT, 'test/results');
const PARTS: readonly string[] = ['sidecar', 'distributed'] satisfies Part[];
const [wanted = '', ...suites] = process.argv.slice(2);
if (!PARTS.includes(wanted) || suites.length === 0) {
  console.error(`usage: prove.main.ts ${PARTS.join('|')} PROJECT/SUITE... (files of test/, without .test.ts)`);
  process.exit(2);
}
const part = wanted as Part;

const commit = headCommit();
mkdirSync(join(RESULTS, 'proofs'), { recursive: true });
const proofs = suites.map((suite) => provenBefore(suite) ?? prove(suite));
writeFileSync(
  join(RESULTS, `${part}.json`),
  `${JSON.stringify({ part, commit, written: new Date().toISOString(), machine: machine(), proofs, claims: claims() }, undefined, 2)}\n`,
);
for (const { suite, passed, failed, skipped, seconds } of proofs) {
  console.log(`${suite}: ${passed} passed, ${failed} failed, ${skipped} skipped, ${seconds} s`);
}
process.exit(proofs.every(({ passed, failed }) => failed === 0 && passed > 0) ? 0 : 1);

/** With `+` behind it if the tree has changes of its own, which are then never taken as proven. */
function headCommit(): string {
  const git = (...args: string[]): string => execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim();
  return git('rev-parse', 'HEAD') + (git('status', '--porcelain') === '' ? '' : '+');
}

function proofFile(suite: string): string {
  return join(RESULTS, 'proofs', `${part}-${suite.replace('/', '-')}.json`);
}

function provenBefore(suite: string): Proof | undefined {
  if (!existsSync(proofFile(suite))) return undefined;
  const proof = JSON.parse(readFileSync(proofFile(suite), 'utf8')) as Proof;
  const holds = proof.commit === commit && !commit.endsWith('+') && proof.failed === 0 && proof.passed > 0;
  return holds ? proof : undefined;
}

function prove(suite: string): Proof {
  const start = performance.now();
  const [load = 0] = loadavg();
  const report = proofFile(suite).replace(/json$/, 'vitest.json');
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const args = [
    'run',
    '--project',
    dirname(suite),
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ];
  const env = { ...process.env, PROVE: '1', CONFORMANCE_TARGET: part === 'sidecar' ? 'sidecar' : 'cluster' };
  spawnSync(process.execPath, [vitest, ...args, `test/${suite}.test.ts`], { cwd: ROOT, env, stdio: 'inherit' });
  const counts = countReports([report]);
  const proof = { suite, commit, seconds: Math.round((performance.now() - start) / 1000), load, ...counts };
  writeFileSync(proofFile(suite), `${JSON.stringify(proof)}\n`);
  return proof;
}

function claims(): Record<string, unknown> {
  const directory = claimsDirectory(part);
  const files = existsSync(directory) ? readdirSync(directory).toSorted() : [];
  const read = (file: string): unknown => JSON.parse(readFileSync(join(directory, file), 'utf8'));
  return Object.fromEntries(files.map((file) => [file.replace(/\.json$/, ''), read(file)]));
}

function machine(): Record<string, string | number> {
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model ?? 'unknown',
    memoryGB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
  };
}
