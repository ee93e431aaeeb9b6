import { join } from 'node:path';
import { type E2eCase, runE2e } from '../support/e2e-cases.ts';

/** Cases of e2e.test that one process of it runs, one after the other. */
export interface E2eSuite {
  readonly name: string;
  /** What names of cases begin with: regular expressions, in the syntax that Go and JavaScript share. */
  readonly focus: readonly string[];
  /** How many cases that is in the pinned version: a suite that shrinks is a fault of the focus. */
  readonly cases: number;
}

/** One run of all suites against one server. */
export interface E2eRound {
  readonly name: string;
  readonly kubeconfig: string;
}

export interface E2eRounds {
  readonly suites: readonly E2eSuite[];
  readonly rounds: readonly E2eRound[];
  /** For the reports. */
  readonly dir: string;
  /** How many processes of e2e.test run at a time: they wait more than they work. */
  readonly atOnce: number;
  readonly suiteTimeoutMs: number;
}

interface Job {
  readonly round: E2eRound;
  readonly suite: E2eSuite;
}

/**
 * Every suite in every round, several at a time, but none beside itself: some cases make cluster-wide objects with fixed
 * names. Resolves with the cases of each round by its name; rejects once nothing runs any more.
 */
export async function runRounds(options: E2eRounds): Promise<ReadonlyMap<string, readonly E2eCase[]>> {
  const { rounds, suites, atOnce } = options;
  const waiting = rounds.flatMap((round) => suites.map((suite): Job => ({ round, suite })));
  const running = new Map<E2eSuite, Promise<void>>();
  const ended = new Map<string, E2eCase[]>(rounds.map(({ name }) => [name, []]));
  const failures: unknown[] = [];
  while (waiting.length > 0 || running.size > 0) {
    const next = running.size < atOnce ? waiting.findIndex(({ suite }) => !running.has(suite)) : -1;
    const job = next < 0 ? undefined : waiting.splice(next, 1)[0];
    if (job === undefined) {
      await Promise.race(running.values());
      continue;
    }
    const settled = runJob(job, options)
      .then((cases) => void ended.get(job.round.name)?.push(...cases))
      .catch((error: unknown) => {
        failures.push(error);
        waiting.length = 0;
      })
      .finally(() => running.delete(job.suite));
    running.set(job.suite, settled);
  }
  if (failures.length > 0) throw failures[0];
  return ended;
}

function runJob({ round, suite }: Job, { dir, suiteTimeoutMs }: E2eRounds): Promise<E2eCase[]> {
  return runE2e({
    kubeconfig: round.kubeconfig,
    focus: suite.focus,
    report: join(dir, `e2e-${suite.name}-${round.name}.json`.replaceAll(/[ ,]+/g, '-')),
    timeoutMs: suiteTimeoutMs,
  });
}
