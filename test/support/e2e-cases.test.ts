import { describe, expect, test } from 'vitest';
import { E2eError, readE2eReport } from './e2e-cases.ts';

const SPEC = { ContainerHierarchyTexts: ['[sig-api-machinery] Watchers'], LeafNodeType: 'It', NumAttempts: 1 };

function report(...specs: readonly object[]): string {
  return JSON.stringify([{ SpecReports: specs }]);
}

describe("ginkgo's report", () => {
  test('a case is named by its containers and itself, in the order of names', () => {
    const text = report(
      { ...SPEC, LeafNodeText: 'see deletes [Conformance]', State: 'passed', RunTime: 1_500_000_000 },
      { ...SPEC, LeafNodeText: 'see adds', State: 'failed', RunTime: 0, Failure: { Message: 'none\n\tcame' } },
    );
    expect(readE2eReport(text)).toEqual([
      { name: 'Watchers see adds', passed: false, message: 'failed: none came', seconds: 0 },
      { name: 'Watchers see deletes [Conformance]', passed: true, message: '', seconds: 1.5 },
    ]);
  });

  test('a case out of focus is not in it; one that skips itself has not passed', () => {
    const skipped = { ...SPEC, State: 'skipped', RunTime: 0 };
    const text = report(
      { ...skipped, LeafNodeText: 'out of focus', NumAttempts: 0 },
      { ...skipped, LeafNodeText: 'flaky', Failure: { Message: 'until it is resolved' } },
    );
    expect(readE2eReport(text)).toMatchObject([{ passed: false, message: 'skipped: until it is resolved' }]);
  });

  test('what fails outside of a case is an error', () => {
    const before = { ContainerHierarchyTexts: null, LeafNodeType: 'SynchronizedBeforeSuite', LeafNodeText: '' };
    const passed = { ...before, State: 'passed', RunTime: 0, NumAttempts: 0 };
    expect(readE2eReport(report(passed))).toEqual([]);
    const failed = { ...passed, State: 'failed', Failure: { Message: 'no node is ready' } };
    expect(() => readE2eReport(report(failed))).toThrow(E2eError);
    expect(() => readE2eReport(report(failed))).toThrow('SynchronizedBeforeSuite of e2e.test failed: no node is ready');
  });
});
