import { expect, test } from 'vitest';
import { goTestCases, goTestLog } from './go-test-report.ts';

const OUTPUT = `=== RUN   TestList
=== RUN   TestList/a_limit,_match=Exact
=== PAUSE TestList/a_limit,_match=Exact
=== RUN   TestList/later
=== NAME  TestList/a_limit,_match=Exact
    store_tests.go:12: expected 1, got 2
--- FAIL: TestList (1.25s)
    --- FAIL: TestList/a_limit,_match=Exact (0.00s)
    --- SKIP: TestList/later (0.00s)
=== RUN   TestGet
--- PASS: TestGet (0.50s)
FAIL
`;

test('the cases of a go test and their outcomes, without the tests that only hold them', () => {
  expect([...goTestCases(OUTPUT)]).toEqual([
    ['TestList/a_limit,_match=Exact', 'FAIL'],
    ['TestList/later', 'SKIP'],
    ['TestGet', 'PASS'],
  ]);
});

test('a program that died has no case', () => {
  expect(goTestCases('=== RUN   TestGet\npanic: no\n').size).toBe(0);
});

test('what a failed case said', () => {
  expect(goTestLog(OUTPUT, 'TestList/a_limit,_match=Exact', 160)).toContain('TestList/later');
  expect(goTestLog(OUTPUT, 'TestNone')).toBe('');
});
