import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  continueConflict,
  invalidResourceVersion,
  nameConflict,
  parseGetOptions,
  parseListOptions,
  requestTimeoutSeconds,
  validateListOptions,
} from './list-options.ts';
import { QueryParameters } from './query-parameters.ts';
import { statusObjectJson } from './status-encoding.ts';
import { StatusError } from './status.ts';

/** A random query, and upstream's ListOptions after defaulting, with its 422 if it refuses them. Absent: zero. */
interface Recorded {
  readonly query: string;
  readonly error?: string;
  readonly invalid?: string;
  readonly watch?: boolean;
  readonly allowWatchBookmarks?: boolean;
  readonly resourceVersion?: string;
  readonly resourceVersionMatch?: string;
  readonly limit?: number;
  readonly continue?: string;
  readonly timeoutSeconds?: number;
  readonly sendInitialEvents?: boolean;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

const recorded = readFileSync(new URL('testdata/upstream-list-options.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Recorded);

const options = (query: string) => parseListOptions(QueryParameters.parse(query));

describe('options recorded from upstream', () => {
  test.each(recorded.filter(({ error }) => error === undefined))('$query', ({ query, invalid, ...wanted }) => {
    const parsed = options(query);
    expect({
      ...parsed,
      labelSelector: parsed.labelSelector.canonical,
      fieldSelector: parsed.fieldSelector.canonical,
    }).toEqual({
      watch: false,
      allowWatchBookmarks: false,
      resourceVersion: '',
      resourceVersionMatch: '',
      limit: 0,
      continue: '',
      timeoutSeconds: undefined,
      sendInitialEvents: undefined,
      labelSelector: '',
      fieldSelector: '',
      shardSelector: '',
      ...wanted,
    });
    const refusal = validateListOptions(parsed);
    expect(refusal && (JSON.parse(statusObjectJson(refusal)) as unknown)).toEqual(
      invalid === undefined ? undefined : JSON.parse(invalid),
    );
  });

  test.each(recorded.filter(({ error }) => error !== undefined))('$query: $error', ({ query, error }) => {
    expect(() => options(query)).toThrow(error);
  });
});

describe('row W2: an old-style watch', () => {
  test.each(['watch=1', 'watch=true&resourceVersion=', 'watch=1&resourceVersion=0'])(
    '%s starts with the state',
    (query) => {
      expect(options(query)).toMatchObject({ sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan' });
    },
  );

  test.each(['', 'resourceVersion=0', 'watch=1&resourceVersion=5', 'watch=0'])('%j does not', (query) => {
    expect(options(query)).toMatchObject({ sendInitialEvents: undefined, resourceVersionMatch: '' });
  });
});

test('of several errors the first in upstream order is told', () => {
  expect(() => options('labelSelector=%3D&limit=x&timeoutSeconds=y')).toThrow('parsing "y"');
  expect(() => options('fieldSelector=a&labelSelector=%3Db')).toThrow("found '=', expected: !, identifier");
});

test('row O4: a GET cannot be exported', () => {
  expect(() => parseGetOptions(QueryParameters.parse('export'))).toThrow('no longer supported');
  expect(parseGetOptions(QueryParameters.parse('export=False&resourceVersion=7'))).toEqual({ resourceVersion: '7' });
});

test('row L18: a field selector beside a name must select that name', () => {
  expect(nameConflict(options(''), 'x')).toBeUndefined();
  expect(nameConflict(options('fieldSelector=metadata.name%3Dx'), 'x')).toBeUndefined();
  expect(nameConflict(options('fieldSelector=metadata.name%3Dx'), '')).toBeUndefined();
  expect(nameConflict(options('fieldSelector=metadata.name%3Dy'), 'x')?.code).toBe(400);
  expect(nameConflict(options('fieldSelector=metadata.namespace%3Dx'), 'x')?.code).toBe(400);
});

test('row L7: a LIST goes on at the version of its token', () => {
  expect(continueConflict(options('continue=t'))).toBeUndefined();
  expect(continueConflict(options('continue=t&resourceVersion=0'))).toBeUndefined();
  expect(continueConflict(options('resourceVersion=5'))).toBeUndefined();
  expect(continueConflict(options('continue=t&resourceVersion=5'))?.code).toBe(400);
});

describe('row L9: a resourceVersion', () => {
  test.each(['', '0', '00', '5', '9007199254740993', '18446744073709551615'])('%j is one', (text) => {
    expect(invalidResourceVersion(text, 'list')).toBeUndefined();
  });

  test.each(['abc', '-1', '+5', '1_0', ' 5', '18446744073709551616'])('%j is none', (text) => {
    expect(invalidResourceVersion(text, 'list')).toMatchObject({ code: 400, reason: 'BadRequest' });
    expect(invalidResourceVersion(text, 'watch')).toMatchObject({ code: 500 });
    expect(invalidResourceVersion(text, 'get')).not.toHaveProperty('reason');
  });
});

describe('row L22: the timeout of a LIST', () => {
  const timeout = (query: string) => requestTimeoutSeconds(QueryParameters.parse(query));

  test('is honoured up to 60 s', () => {
    expect(
      ['timeout=1500ms', 'timeout=59s', 'timeout=2m', 'timeout=0', 'timeout=-1s', 'timeout=', ''].map(timeout),
    ).toEqual([1.5, 59, 60, 60, 60, 60, 60]);
  });

  test('is refused if it cannot be read', () => {
    expect(() => timeout('timeout=abc')).toThrow(
      'invalid timeout specified in the request URL - time: invalid duration "abc"',
    );
  });
});

test('a random query is decoded, or refused with a 400', () => {
  const names = fc.constantFrom(
    'watch',
    'limit',
    'timeoutSeconds',
    'labelSelector',
    'fieldSelector',
    'resourceVersion',
    'x',
  );
  const pairs = fc.array(fc.tuple(names, fc.string({ unit: 'binary-ascii' })), { maxLength: 6 });
  fc.assert(
    fc.property(pairs, fc.boolean(), (list, encoded) => {
      const query = list.map(([name, value]) => `${name}=${encoded ? encodeURIComponent(value) : value}`).join('&');
      expect([200, 400, 422]).toContain(codeOf(query));
    }),
  );
});

function codeOf(query: string): number | undefined {
  try {
    return validateListOptions(options(query))?.code ?? 200;
  } catch (error) {
    if (error instanceof StatusError) return error.status.code;
    throw error;
  }
}
