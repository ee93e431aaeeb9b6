import { expect, test } from 'vitest';
import { countTests, type VitestReport } from './vitest-report.ts';

const good: VitestReport = {
  success: true,
  numPassedTests: 3,
  numFailedTests: 0,
  numPendingTests: 1,
  numTodoTests: 1,
  testResults: [{ status: 'passed', assertionResults: [{ status: 'passed' }] }],
};

test('adds up', () => {
  expect(countTests([good, good])).toEqual({ passed: 6, failed: 0, skipped: 4 });
});

test('a failed test counts once, although its file failed too', () => {
  const testResults = [{ status: 'failed', assertionResults: [{ status: 'failed' }, { status: 'passed' }] }];
  expect(countTests([{ ...good, success: false, numFailedTests: 1, testResults }]).failed).toBe(1);
});

test('a file whose set-up threw counts as a failure', () => {
  const testResults = [{ status: 'failed', assertionResults: [{ status: 'skipped' }] }];
  expect(countTests([{ ...good, success: false, testResults }]).failed).toBe(1);
});

test('a missing report, or one that failed for another reason, is a failure', () => {
  expect(countTests([undefined, { ...good, success: false }]).failed).toBe(2);
});
