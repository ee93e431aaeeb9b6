import { existsSync, readFileSync } from 'node:fs';

/** The part of vitest's JSON report that is summed up. */
export interface VitestReport {
  readonly success: boolean;
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
  readonly testResults: readonly {
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/**
 * Adds up reports. A file that failed without a failed test (it could not be loaded, or its set-up threw) counts as one
 * failure, and so does a report that is not there.
 */
export function countTests(reports: readonly (VitestReport | undefined)[]): Counts {
  let [passed, failed, skipped] = [0, 0, 0];
  for (const report of reports) {
    if (report === undefined) {
      failed += 1;
      continue;
    }
    const broken = report.testResults.filter(
      ({ status, assertionResults }) =>
        status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
    ).length;
    passed += report.numPassedTests;
    skipped += report.numPendingTests + report.numTodoTests;
    failed += report.numFailedTests + broken;
    if (!report.success && report.numFailedTests + broken === 0) failed += 1;
  }
  return { passed, failed, skipped };
}

/** The counts of reports in files; one that is not there counts as a failure. */
export function countReports(paths: readonly string[]): Counts {
  return countTests(
    paths.map((path) => (existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as VitestReport) : undefined)),
  );
}
