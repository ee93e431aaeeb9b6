import { request } from 'node:http';
import { describe, expect, test } from 'vitest';
import { badRequest, StatusError } from '@dogwatch/kube/status.ts';
import { KubeconfigError } from '@dogwatch/upstream/kubeconfig-error.ts';
import { UpstreamBusy, UpstreamUnreachable } from '@dogwatch/upstream/upstream-error.ts';
import { failureStatus } from './proxy-failure.ts';

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
