import { request } from 'node:http';
import { describe, expect, test } from 'vitest';
import { badRequest, serviceUnavailable, StatusError } from '@dogwatch/kube/status.ts';
import { createLogger } from '@dogwatch/process/log.ts';
import { KubeconfigError } from '@dogwatch/upstream/kubeconfig-error.ts';
import { UpstreamBusy, UpstreamUnreachable } from '@dogwatch/upstream/upstream-error.ts';
import { FailureLog, failureStatus } from './proxy-failure.ts';
import { ReviewUnavailable } from './reviewer.ts';

const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });

function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return expect.fail('must throw');
}

describe('failureStatus', () => {
  test('is inviting to try again only if the request did nothing', () => {
    const nothingSent = [
      new UpstreamUnreachable({ code: 'refused', host: 'secret:1' }),
      new KubeconfigError('exec_failed', 'secret'),
      new UpstreamBusy('secret'),
    ];
    for (const error of nothingSent) {
      const { code, details, message } = failureStatus(error, 'POST');
      expect([code, details?.retryAfterSeconds]).toEqual([error instanceof UpstreamBusy ? 429 : 503, 1]);
      expect(message).not.toContain('secret');
    }
    for (const method of ['GET', 'HEAD', 'OPTIONS'])
      expect(failureStatus(reset, method).details?.retryAfterSeconds).toBe(1);
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'PURGE']) {
      const { code, details, message } = failureStatus(reset, method);
      expect([code, details]).toEqual([503, undefined]);
      expect(message).toContain('may have been carried out');
    }
  });

  test('is a 400 for what node:http will not send', () => {
    const errors = [
      () => request({ method: 'A B' }),
      () => request({ path: '/a b' }),
      () => request({ headers: { a: 'b\n' } }),
      () => request({ headers: { 'a b': 'c' } }),
    ].map(thrownBy);
    for (const error of errors) expect(failureStatus(error, 'GET').code).toBe(400);
  });

  test('is the status of a StatusError', () => {
    expect(failureStatus(new StatusError(badRequest('no')), 'GET')).toEqual(badRequest('no'));
  });
});

describe('FailureLog', () => {
  test('tells the operator once why requests cannot be verified, and nothing of what clients did wrong', () => {
    const lines: string[] = [];
    const destination = { write: (line: string) => lines.push(line) };
    const failures = new FailureLog(createLogger({ level: 'info', pretty: false, destination }));
    const cause = new Error('bind dogwatch to the cluster role system:auth-delegator');
    const refused = new ReviewUnavailable(serviceUnavailable('TokenReview refused'), { cause });
    failures.record(new StatusError(badRequest('no')), 'GET');
    for (let request = 0; request < 3; request += 1) failures.record(refused, 'GET');
    expect(lines).toEqual([expect.stringContaining('system:auth-delegator')]);
    expect(JSON.parse(lines[0]!)).toMatchObject({ level: 'warn', msg: 'request could not be verified' });
  });
});
