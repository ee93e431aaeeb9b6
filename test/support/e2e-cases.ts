// Upstream's own e2e suites (e2e.test), read by the name of each case from ginkgo's JSON report.
import { readFile } from 'node:fs/promises';
import { assetPath } from './assets.ts';
import { type CommandResult, run } from './command.ts';

/** One case of e2e.test as it ended. */
export interface E2eCase {
  /** Texts of its containers and its own, without the name of the sig before them. */
  readonly name: string;
  readonly passed: boolean;
  /** Why it did not pass, in ginkgo's words; empty if it did. */
  readonly message: string;
  readonly seconds: number;
}

/** e2e.test ended without saying what became of its cases, or failed outside of them. */
export class E2eError extends Error {
  readonly code = 'E2E';
}

export interface E2eRun {
  readonly kubeconfig: string;
  /** What the names of the wanted cases begin with, as regular expressions; one that matches none is an error. */
  readonly focus: readonly string[];
  /** Where ginkgo writes its report. */
  readonly report: string;
  /** After this ginkgo gives up the case that runs and those that have not begun. */
  readonly timeoutMs: number;
}

interface GinkgoSpec {
  readonly ContainerHierarchyTexts: readonly string[] | null;
  readonly LeafNodeType: string;
  readonly LeafNodeText: string;
  /** passed, failed, panicked, timedout, interrupted, aborted; skipped: out of focus, or the case says so. */
  readonly State: string;
  /** Nanoseconds. */
  readonly RunTime: number;
  /** 0: it never began. */
  readonly NumAttempts: number;
  readonly Failure?: { readonly Message?: string };
}

const SIG = '[sig-api-machinery] ';

/** What ginkgo needs to write its report after it has given up. */
const GRACE_MS = 30_000;

/** Runs cases of sig-api-machinery, one after the other, in upstream's random order. Throws E2eError. */
export async function runE2e({ kubeconfig, focus, report, timeoutMs }: E2eRun): Promise<E2eCase[]> {
  const result = await run(
    assetPath('e2e.test'),
    [
      `--kubeconfig=${kubeconfig}`,
      '--provider=skeleton',
      '--allowed-not-ready-nodes=-1',
      '--minStartupPods=0',
      '--dump-logs-on-failure=false',
      `--kubectl-path=${assetPath('kubectl')}`,
      '--ginkgo.no-color',
      `--ginkgo.timeout=${Math.round(timeoutMs / 1_000)}s`,
      `--ginkgo.json-report=${report}`,
      ...focus.map((expression) => `--ginkgo.focus=\\[sig-api-machinery\\] ${expression}`),
    ],
    { timeoutMs: timeoutMs + GRACE_MS, env: { KUBECACHEDIR: `${report}.kubectl` } },
  );
  const cases = readE2eReport(await reportOf(report, result));
  for (const expression of focus) {
    if (!cases.some(({ name }) => new RegExp(`^${expression}`).test(name)))
      throw new E2eError(`e2e.test has no case /${expression}/: upstream renamed it`);
  }
  return cases;
}

async function reportOf(path: string, { stdout, stderr }: CommandResult): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const skipped = /S{9,}/g;
    const said = `${stdout.toString().replaceAll(skipped, '').slice(-2_000)}${stderr.slice(-1_000)}`;
    throw new E2eError(`e2e.test ended without a report, it said:\n${said}`, { cause });
  }
}

/** The cases that were in focus, by name. Throws E2eError if something other than a case failed. */
export function readE2eReport(text: string): E2eCase[] {
  const suites = JSON.parse(text) as { readonly SpecReports: readonly GinkgoSpec[] }[];
  const specs = suites.flatMap(({ SpecReports }) => SpecReports).filter(hasBegun);
  const broken = specs.find(({ LeafNodeType, State }) => LeafNodeType !== 'It' && State !== 'passed');
  if (broken !== undefined) throw new E2eError(`${broken.LeafNodeType} of e2e.test ${broken.State}: ${why(broken)}`);
  return specs
    .filter(({ LeafNodeType }) => LeafNodeType === 'It')
    .map((spec) => ({
      name: nameOf(spec),
      passed: spec.State === 'passed',
      message: spec.State === 'passed' ? '' : `${spec.State}: ${why(spec)}`,
      seconds: spec.RunTime / 1e9,
    }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Cases out of focus are in the report as skipped, and so are those ginkgo had no more time for. */
function hasBegun({ LeafNodeType, State, NumAttempts }: GinkgoSpec): boolean {
  return LeafNodeType === 'It' ? NumAttempts > 0 : State !== 'skipped';
}

function nameOf({ ContainerHierarchyTexts, LeafNodeText }: GinkgoSpec): string {
  const text = [...(ContainerHierarchyTexts ?? []), LeafNodeText].join(' ');
  return text.startsWith(SIG) ? text.slice(SIG.length) : text;
}

function why({ Failure }: GinkgoSpec): string {
  return (Failure?.Message ?? 'no reason given').replace(/\s+/g, ' ').slice(0, 400);
}
