// `make prove-PART`: runs every suite of a part at full size, one after the other, and writes what was shown to
// test/results/PART.json. A suite that has passed at this commit is not run again, so that a broken run is resumed.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CLAIMS_VARIABLE, type Part } from './claims.ts';
import { type Counts, countReports } from './vitest-report.ts';

/** A suite and what it runs through; in an argument `TARGET:PROJECT/SUITE`. */
interface Entry {
  /** A CONFORMANCE_TARGET; with `+STORE` behind it where kube-apiserver is on another CONFORMANCE_STORE than etcd. */
  readonly target: string;
  readonly suite: string;
}

/** As `recordClaim` writes it. */
type Claim = Readonly<Record<string, number | string | readonly string[]>>;

interface Proof extends Entry, Counts {
  readonly commit: string;
  readonly seconds: number;
  /** Load of the machine when the suite began. */
  readonly load: number;
  /** What the suite measured, by name. */
  readonly claims: Readonly<Record<string, Claim>>;
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const RESULTS = join(ROOT, 'test/results');
/** What the suites of a part run through, unless an argument names it. */
const TARGETS: Readonly<Record<Part, string>> = { sidecar: 'sidecar', distributed: 'cluster', conformance: 'sidecar' };
const [wanted = '', ...args] = process.argv.slice(2);
if (!Object.hasOwn(TARGETS, wanted) || args.length === 0) {
  const parts = Object.keys(TARGETS).join('|');
  console.error(`usage: prove.main.ts ${parts} [TARGET[+STORE]:]PROJECT/SUITE... (files of test/, without .test.ts)`);
  process.exit(2);
}
const part = wanted as Part;

const commit = headCommit();
mkdirSync(join(RESULTS, 'proofs'), { recursive: true });
const proofs = args.map(parse).map((entry) => provenBefore(entry) ?? prove(entry));
writeFileSync(
  join(RESULTS, `${part}.json`),
  `${JSON.stringify({ part, commit, written: new Date().toISOString(), machine: machine(), proofs }, undefined, 2)}\n`,
);
if (part === 'conformance') console.table(proofs.map(row));
else for (const proof of proofs) console.log(line(proof));
const whole = proofs.reduce((sum, { seconds }) => sum + seconds, 0);
console.log(`${Math.round(whole / 60)} minutes in all`);
process.exit(proofs.every(({ passed, failed }) => failed === 0 && passed > 0) ? 0 : 1);

function parse(arg: string): Entry {
  const [suite = '', target = TARGETS[part]] = arg.split(':').toReversed();
  return { target, suite };
}

/** With `+` behind it if the tree has changes of its own, which are then never taken as proven. */
function headCommit(): string {
  const git = (...args: string[]): string => execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim();
  return git('rev-parse', 'HEAD') + (git('status', '--porcelain') === '' ? '' : '+');
}

function proofFile({ target, suite }: Entry): string {
  return join(RESULTS, 'proofs', `${part}-${target}-${suite.replace('/', '-')}.json`);
}

function provenBefore(entry: Entry): Proof | undefined {
  if (!existsSync(proofFile(entry))) return undefined;
  const proof = JSON.parse(readFileSync(proofFile(entry), 'utf8')) as Proof;
  const holds = proof.commit === commit && !commit.endsWith('+') && proof.failed === 0 && proof.passed > 0;
  return holds ? proof : undefined;
}

function prove(entry: Entry): Proof {
  const start = performance.now();
  const [load = 0] = loadavg();
  const report = proofFile(entry).replace(/json$/, 'vitest.json');
  const directory = proofFile(entry).replace(/json$/, 'claims');
  rmSync(directory, { recursive: true, force: true });
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const args = [
    'run',
    '--project',
    dirname(entry.suite),
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ];
  const [target, store = 'etcd'] = entry.target.split('+');
  const environment = {
    PROVE: '1',
    CONFORMANCE_TARGET: target,
    CONFORMANCE_STORE: store,
    [CLAIMS_VARIABLE]: directory,
  };
  const env = { ...process.env, ...environment };
  rmSync(report, { force: true });
  spawnSync(process.execPath, [vitest, ...args, `test/${entry.suite}.test.ts`], { cwd: ROOT, env, stdio: 'inherit' });
  const seconds = Math.round((performance.now() - start) / 1000);
  const proof = { ...entry, commit, seconds, load, ...countReports([report]), claims: claimsIn(directory) };
  writeFileSync(proofFile(entry), `${JSON.stringify(proof)}\n`);
  return proof;
}

function claimsIn(directory: string): Record<string, Claim> {
  const files = existsSync(directory) ? readdirSync(directory).toSorted() : [];
  const read = (file: string): Claim => JSON.parse(readFileSync(join(directory, file), 'utf8')) as Claim;
  return Object.fromEntries(files.map((file) => [file.replace(/\.json$/, ''), read(file)]));
}

function line({ suite, passed, failed, skipped, seconds }: Proof): string {
  return `${suite}: ${passed} passed, ${failed} failed, ${skipped} skipped, ${seconds} s`;
}

/** The cases of suites that do not compare them with kube-apiserver are their tests. */
function row({ suite, target, claims, passed, failed, seconds }: Proof): Claim {
  const compared = Object.values(claims).find((claim) => 'passed direct' in claim && 'passed through' in claim);
  const { cases = passed + failed, 'passed direct': direct = '-', 'passed through': through = passed } = compared ?? {};
  return { suite, target, cases, 'passed direct': direct, 'passed through': through, 'failed tests': failed, seconds };
}

function machine(): Record<string, string | number> {
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model ?? 'unknown',
    memoryGB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
  };
}
