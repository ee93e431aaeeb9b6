import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseApiRequest } from './api-request.ts';
import { encodeContinue, inconsistentContinue, parseContinue } from './continue-token.ts';
import { parseGoDuration } from './go-duration.ts';
import { goPrint } from './go-print.ts';
import { JsonReader } from './json-reader.ts';
import {
  continueConflict,
  invalidResourceVersion,
  nameConflict,
  parseGetOptions,
  parseListOptions,
  requestTimeoutSeconds,
  validateListOptions,
} from './list-options.ts';
import { MalformedFrame } from './malformed-frame.ts';
import { QueryParameters } from './query-parameters.ts';
import { StatusError } from './status.ts';
import { Random, oddText } from './test-odd-objects.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 100);
const NAMES = ['watch', 'limit', 'continue', 'labelSelector', 'fieldSelector', 'resourceVersion', 'timeout', 'export'];

const odd = fc.integer().map((seed) => oddText(new Random(seed)));
const pieces = (...of: readonly [string, ...string[]]): fc.Arbitrary<string> =>
  fc.array(fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...of) }, odd)).map((parts) => parts.join(''));

const anyQuery = pieces(
  ...(NAMES as [string]),
  '=',
  '=',
  '&',
  '&',
  '1',
  '%',
  '%2',
  '%3d',
  '%ff',
  '%E9',
  '%C3%A9',
  '+',
  ';',
  '?',
  '\0',
);
const anyPath = fc
  .tuple(
    fc.constantFrom('/api/v1', '/apis/apps/v1', '/api/v1', ''),
    fc.array(fc.constantFrom('/namespaces', '/a', '/pods', '/watch', '/proxy', '/..', '/%2e%2E', '/%61', '/a%2fb'), {
      maxLength: 5,
    }),
    fc.oneof(fc.constant(''), pieces('/', '/.', '/a%2fb', '/%', '/%00', '#', '\\', '*')),
  )
  .map(([prefix, segments, end]) => [prefix, ...segments, end].join(''));
const method = fc.constantFrom('GET', 'get', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', '', '__proto__');

/** The value of `read`, or the status it refuses with; other errors are thrown on. */
function statusOr<T>(read: () => T): T | StatusError {
  try {
    return read();
  } catch (error) {
    if (error instanceof StatusError) return error;
    throw error;
  }
}

describe('a request line', () => {
  test('I7: of any text is read, and served only if a plainer reading is the same', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.constant('GET'), method),
        anyPath,
        fc.option(anyQuery, { freq: 1 }),
        (verb, path, query) => {
          const request = parseApiRequest(verb, query === null ? path : `${path}?${query}`);
          if (!request.cacheable) return;
          expect(verb).toBe('GET');
          // Nothing on the way can have read another path: it needs no decoding but of letters, no cleaning, no guess.
          const url = new URL(`http://host${query === null ? path : `${path}?${query}`}`);
          expect(url.pathname.split('/').map(decodeURIComponent)).toEqual(request.path.split('/'));
          expect(url.hash).toBe('');
          expect(request.path).toMatch(/^(?:\/[A-Za-z0-9\-._~:@!$&'()*+,;=]+)+$/);
          for (const name of NAMES) {
            expect(url.searchParams.getAll(name).length).toBeLessThan(2);
            expect(request.query.get(name) ?? null).toBe(url.searchParams.get(name));
          }
          const watches = !['0', 'false', null].includes(url.searchParams.get('watch')?.toLowerCase() ?? null);
          const named = /^\/api(?:s\/[^/]+)?\/[^/]+(?:\/namespaces\/[^/]+)?\/[^/]+\/[^/]+$/.test(request.path);
          const verbs = request.legacyWatchPrefix || watches ? ['watch'] : ['list'];
          expect(named && !request.legacyWatchPrefix ? ['get'] : verbs).toContain(request.verb);
        },
      ),
      { numRuns: numRuns * 5 },
    );
  });

  test('has options, or a refusal that is a Status', () => {
    fc.assert(
      fc.property(anyQuery, odd, (text, name) => {
        const query = QueryParameters.parse(text);
        for (const read of [parseGetOptions, requestTimeoutSeconds]) statusOr(() => read(query));
        const options = statusOr(() => parseListOptions(query));
        if (options instanceof StatusError) {
          if (options.status.code !== 400) throw options;
          return;
        }
        const refusals = [validateListOptions(options), nameConflict(options, name), continueConflict(options)];
        for (const verb of ['get', 'list', 'watch'] as const)
          refusals.push(invalidResourceVersion(options.resourceVersion, verb));
        for (const refusal of refusals) expect([undefined, 400, 422, 500]).toContain(refusal?.code);
      }),
      { numRuns: numRuns * 5 },
    );
  });

  test.each([
    `/api/v1/pods?limit=${'9'.repeat(60_000)}`,
    `/api/v1/pods?${'&'.repeat(60_000)}`,
    `/api/v1/pods?${'a=%41&'.repeat(10_000)}`,
    `/api/v1/pods?timeout=${'1h'.repeat(30_000)}`,
    `/api/v1/pods?timeout=${'0h'.repeat(30_000)}`,
    `/api/v1/pods?fieldSelector=${'metadata.name%3Da,'.repeat(3_000)}`,
    `/${'/'.repeat(60_000)}`,
    `/api/v1/${'../'.repeat(20_000)}`,
    `/api/v1/namespaces/${'%41'.repeat(20_000)}/pods`,
  ])('as long as it may be costs no more than it is long (%#)', (url) => {
    const began = performance.now();
    const { query } = parseApiRequest('GET', url);
    statusOr(() => parseListOptions(query));
    statusOr(() => requestTimeoutSeconds(query));
    expect(performance.now() - began).toBeLessThan(1_000);
  });
});

describe('a query', () => {
  test('without a defect is what URLSearchParams reads', () => {
    fc.assert(
      fc.property(anyQuery, (text) => {
        const query = QueryParameters.parse(text);
        if (query.defect !== undefined) return;
        const other = new URLSearchParams(`?${text}`);
        for (const name of [...NAMES, ...other.keys()]) {
          expect(query.get(name) ?? null).toBe(other.get(name));
          expect(query.isRepeated(name)).toBe(other.getAll(name).length > 1);
        }
      }),
      { numRuns: numRuns * 5 },
    );
  });

  test('with bytes that are no UTF-8 has a defect, not other characters', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 6 }), (bytes) => {
        const text = [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
        const query = QueryParameters.parse(`a=${text}`);
        const valid = Buffer.from(Buffer.from(bytes).toString()).equals(bytes);
        expect([query.defect === undefined, query.get('a')]).toEqual([
          valid,
          valid ? Buffer.from(bytes).toString() : undefined,
        ]);
      }),
      { numRuns: numRuns * 3 },
    );
  });
});

test('a duration of any text is a number of seconds, or what Go says is wrong', () => {
  fc.assert(
    fc.property(pieces('1', '9', '0', '.', 'h', 'm', 's', 'ms', 'µs', 'ns', '-', '+', '"', '9'.repeat(400)), (text) => {
      const duration = parseGoDuration(text);
      const { problem, seconds } = { problem: 'time: none', seconds: 0, ...duration };
      expect(problem).toMatch(/^time: /);
      expect(Math.abs(seconds)).toBeLessThan(2 ** 63 / 1e9);
    }),
    { numRuns: numRuns * 3 },
  );
});

describe('L8, L13: a continue token', () => {
  const start = odd.map((text) => `ns/n${text.replaceAll('/', '')}\0`);

  test('that is read is written the same, and stays below its scope', () => {
    const rv = fc.oneof(fc.maxSafeNat(), fc.constantFrom(-1, 0, 1.5, 2 ** 60, -0));
    const json = fc.record({
      v: fc.constantFrom('meta.k8s.io/v1', 'v2'),
      rv,
      start: fc.oneof(start, odd, fc.constantFrom('/', '//a', '/../a', './a', 'a/', '\ud800')),
    });
    fc.assert(
      fc.property(
        json,
        fc.nat(60),
        fc.nat(255),
        fc.constantFrom('none', 'flip', 'cut', 'pad'),
        (value, at, byte, damage) => {
          let token = Buffer.from(JSON.stringify(value)).toString('base64url');
          const middle = at % token.length;
          if (damage === 'flip') token = token.slice(0, middle) + String.fromCodePoint(byte) + token.slice(middle + 1);
          if (damage === 'cut') token = token.slice(0, middle);
          if (damage === 'pad') token += '=';
          const read = parseContinue(token);
          if (read === undefined) return;
          const forms = [false, true].map((slash) => encodeContinue(read.start.replace(/\0$/, ''), read.rv, slash));
          forms.push(inconsistentContinue(read.start), inconsistentContinue(`/${read.start}`));
          expect(read.start.endsWith('\0') ? forms : [token]).toContain(token);
          expect(read.start.split('/').some((segment) => ['', '.', '..'].includes(segment))).toBe(false);
          expect(read.start.isWellFormed()).toBe(true);
          expect(Number.isSafeInteger(read.rv) && read.rv !== 0).toBe(true);
        },
      ),
      { numRuns: numRuns * 5 },
    );
  });

  test('of any text is read or none', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          odd,
          fc.base64String(),
          fc.json().map((text) => Buffer.from(text).toString('base64url')),
        ),
        (text) => {
          expect(parseContinue(text)).toBeUndefined();
        },
      ),
      { numRuns },
    );
  });
});

describe('a number in a field that objects are selected by', () => {
  const digits = fc.stringMatching(/^(?:0|[1-9]\d{0,25})$/);
  const number = fc
    .tuple(
      fc.constantFrom('', '-'),
      digits,
      fc.constantFrom('', '.0', '.10', '.5'),
      fc.constantFrom('', 'e0', 'E+3', 'e-7', 'e25'),
    )
    .map((parts) => parts.join(''));

  test('is printed as Go prints it, in every legal form', () => {
    fc.assert(
      fc.property(number, (text) => {
        const printed = new JsonReader(Buffer.from(`${text},`)).readScalar();
        expect(printed).toBe(goPrint(text));
        // The whole ones exactly, all others to the last bit.
        const whole = /^-?\d+$/.test(text) && BigInt.asIntN(64, BigInt(text)) === BigInt(text);
        expect(whole ? BigInt(printed) === BigInt(text) : Object.is(Number(printed), Number(text))).toBe(true);
      }),
      { numRuns: numRuns * 3 },
    );
  });

  test('is the error of malformed bytes where it is none', () => {
    for (const text of ['.5', '+1', '"', '{"a":01}', '[1,]', '1.2.3', '1e', '-1.'])
      expect(() => new JsonReader(Buffer.from(text)).readScalar()).toThrow(MalformedFrame);
  });
});
