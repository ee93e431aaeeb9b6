import { describe, expect, test } from 'vitest';
import { answerCheck, answerHealth, type Check } from './health.ts';

const passing = (name: string): Check => ({ name, check: () => undefined });
const failing = (name: string, reason: string): Check => ({ name, check: () => reason });
const ask = (checks: Check[], { verbose = false, exclude = [] as string[] } = {}) =>
  answerHealth('readyz', checks, { verbose, exclude });

describe('answerHealth', () => {
  test('all well is ok, without a newline, as kube-apiserver says it', () => {
    expect(ask([passing('ping'), passing('lanes')])).toEqual({ status: 200, text: 'ok' });
  });

  test('verbose shows a line for each check, in order', () => {
    expect(ask([passing('ping'), passing('lanes')], { verbose: true })).toEqual({
      status: 200,
      text: '[+]ping ok\n[+]lanes ok\nreadyz check passed\n',
    });
  });

  test('a failure is 500 and always verbose, with its reason', () => {
    expect(ask([passing('ping'), failing('upstream', 'no connection for 12s')])).toEqual({
      status: 500,
      text: '[+]ping ok\n[-]upstream failed: no connection for 12s\nreadyz check failed\n',
    });
  });

  test('an excluded check is not asked', () => {
    expect(ask([passing('ping'), failing('upstream', 'down')], { verbose: true, exclude: ['upstream'] })).toEqual({
      status: 200,
      text: '[+]ping ok\n[+]upstream excluded: ok\nreadyz check passed\n',
    });
  });

  test('an exclusion that matches nothing is said, and changes nothing', () => {
    expect(ask([passing('ping')], { verbose: true, exclude: ['no such', 'other'] })).toEqual({
      status: 200,
      text: '[+]ping ok\nwarn: some health checks cannot be excluded: no matches for "no such", "other"\nreadyz check passed\n',
    });
  });
});

test('a single check answers for itself', () => {
  const checks = [passing('ping'), failing('upstream', 'down')];
  expect(answerCheck(checks, 'ping')).toEqual({ status: 200, text: 'ok' });
  expect(answerCheck(checks, 'upstream')).toEqual({ status: 500, text: 'internal server error: down\n' });
  expect(answerCheck(checks, 'nothing').status).toBe(404);
});
