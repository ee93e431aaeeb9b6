import { describe, expect, test } from 'vitest';
import { statusJson, untypedStatusJson } from './status-encoding.ts';
import {
  continueExpired,
  forbidden,
  internalError,
  invalid,
  serviceUnavailable,
  StatusError,
  storageInitializing,
  timedOut,
  tooManyRequests,
  tooOldToList,
  tooOldForStore,
  tooOldToWatch,
} from './status.ts';

describe('what only a cache says', () => {
  test('row G11: recorded from upstream while a new custom resource was being cached', () => {
    expect(statusJson(storageInitializing(0))).toBe(
      '{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"storage is (re)initializing","reason":"TooManyRequests","details":{"retryAfterSeconds":1},"code":429}\n',
    );
  });

  test.each([
    [11, 1],
    [12, 2],
    [56, 28],
    [57, 30],
    [1e9, 30],
  ])('row G11: after %d s it says to come back in %d s', (down, retryAfter) => {
    expect(storageInitializing(down).details).toEqual({ retryAfterSeconds: retryAfter });
  });

  test('row W8: a watch from a forgotten version', () => {
    expect(tooOldToWatch('5', 43)).toEqual({
      status: 'Failure',
      message: 'too old resource version: 5 (42)',
      reason: 'Expired',
      code: 410,
    });
  });

  test('rows L11 and L12: a LIST at a forgotten version, with and without a way to go on', () => {
    expect(tooOldToList().message).toBe('The resourceVersion for the provided list is too old.');
    expect(continueExpired(undefined)).not.toHaveProperty('metadata');
    const inconsistent = continueExpired('dG9rZW4');
    expect(inconsistent.message).toMatch(/^The provided continue parameter is too old .* may show up in the list\.$/);
    expect(statusJson(inconsistent)).toContain('"metadata":{"continue":"dG9rZW4"},"status"');
  });

  test('row W9: of a resource without a watch cache', () => {
    expect(tooOldForStore()).toMatchObject({
      code: 410,
      reason: 'Expired',
      message: 'The resourceVersion for the provided watch is too old.',
    });
  });

  test('row G12: a timeout is sent without kind and apiVersion', () => {
    expect(untypedStatusJson(timedOut())).toBe(
      '{"metadata":{},"status":"Failure","message":"Timeout: request did not complete within the allotted timeout","reason":"Timeout","details":{},"code":504}\n',
    );
  });
});

test('row G5: a reason stands after the denial, which cannot look like HTML', () => {
  const attributes = {
    isResourceRequest: false,
    path: '/<b>&',
    verb: 'get',
    group: '',
    resource: '',
    subresource: '',
    namespace: '',
    name: '',
  };
  expect(forbidden(attributes, 'u', 'because <it> is')).toMatchObject({
    message: 'forbidden: User "u" cannot get path "/&lt;b&gt;&amp;": because <it> is',
    details: { name: '', group: '', kind: '' },
  });
});

test('row G3: equal problems are told once in the message, each in the causes', () => {
  const field = { field: 'f', reason: 'FieldValueForbidden', problem: 'Forbidden: no' } as const;
  const status = invalid({ group: '', kind: 'K' }, 'n', [field, field]);
  expect(status.message).toBe('K "n" is invalid: f: Forbidden: no');
  expect(status.details?.causes).toHaveLength(2);
});

describe('a StatusError', () => {
  test('carries the headers of its answer', () => {
    expect(new StatusError(tooManyRequests('slow down', 7)).headers).toEqual({ 'retry-after': '7' });
    expect(new StatusError(serviceUnavailable('gone')).headers).toEqual({});
    expect(new StatusError(serviceUnavailable('gone', 5)).headers).toEqual({ 'retry-after': '5' });
  });

  test('tells its status and its cause', () => {
    const cause = new Error('why');
    const error = new StatusError(internalError('no'), { cause });
    expect(error).toMatchObject({ code: 'StatusError', message: 'Internal error occurred: no', cause });
    expect(error.status.details?.causes).toEqual([{ message: 'no' }]);
  });
});
