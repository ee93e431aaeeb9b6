import type { IncomingHttpHeaders } from 'node:http';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Random, oddText } from '@dogwatch/kube/test-odd-objects.ts';
import { MalformedToken, expiryOfToken, tokenOfAuthorization, tokenOfWebSocket } from './bearer-token.ts';
import { acceptsGzip } from './compression.ts';
import { readRequestHead } from './request-head.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 300);
const CARRIER = 'base64url.bearer.authorization.k8s.io.';

const odd = fc.integer().map((seed) => oddText(new Random(seed)));
const pieces = (...of: readonly [string, ...string[]]): fc.Arbitrary<string> =>
  fc
    .array(fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...of) }, odd), { maxLength: 8 })
    .map((parts) => parts.join(''));

const target = pieces(
  '/',
  '//',
  'http://',
  'HTTPS://',
  'host:1',
  'user@host',
  '?',
  '#',
  '*',
  '\\',
  '/api',
  '..',
  '%2f',
  ' ',
);
const method = fc.constantFrom('GET', 'POST', 'OPTIONS', 'CONNECT', 'get', '');
const name = fc.constantFrom(
  'Impersonate-User',
  'IMPERSONATE-GROUP',
  'impersonate-extra-a%2fb',
  'Accept',
  'X-Other',
  '__proto__',
);
const lines = fc.array(fc.tuple(name, pieces(',', ', ', 'a', ' ')), { maxLength: 6 });

/** As Node puts header lines together. */
function parsed(all: readonly (readonly [string, string])[]): IncomingHttpHeaders {
  const headers: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const [key, value] of all) {
    const lower = key.toLowerCase();
    headers[lower] = lower in headers ? `${headers[lower]}, ${value}` : value;
  }
  return headers;
}

describe('a request head', () => {
  test('of any target is refused, or has the origin form of what was asked, and asks one host', () => {
    fc.assert(
      fc.property(method, target, (verb, text) => {
        const headers: IncomingHttpHeaders = { host: 'first' };
        const head = readRequestHead({ method: verb, target: text, headers, rawHeaders: [], maxHeaderPairs: 4 });
        if ('status' in head) {
          if (head.status === 431) throw new Error(head.reason);
          return;
        }
        expect(head.url.startsWith('/') || (head.url === '*' && verb === 'OPTIONS')).toBe(true);
        expect(head.url).not.toContain('#');
        expect(text.endsWith(head.url) || text.endsWith(head.url.slice(1))).toBe(true);
        const rest = text.endsWith(head.url) ? head.url : head.url.slice(1);
        const authority = text.slice(text.indexOf(':') + 3, text.length - rest.length);
        expect(headers.host).toBe(head.url === text ? 'first' : authority);
      }),
      { numRuns },
    );
  });

  test('I7: keeps each line of impersonation as it came, commas and all', () => {
    fc.assert(
      fc.property(lines, (all) => {
        const headers = parsed(all);
        const rawHeaders = all.flat();
        const head = readRequestHead({ method: 'GET', target: '/', headers, rawHeaders, maxHeaderPairs: 6 });
        if ('status' in head) throw new Error(head.reason);
        for (const [key] of all) {
          const lower = key.toLowerCase();
          const sent = all.filter(([other]) => other.toLowerCase() === lower).map(([, value]) => value);
          const kept = head.headers[lower];
          expect(kept).toEqual(lower.startsWith('impersonate-') ? sent : sent.join(', '));
        }
      }),
      { numRuns },
    );
  });

  test.each(['Authorization', 'impersonate-user', 'X-Remote-Extra-a', 'IMPERSONATE-'])(
    'whose Connection header names %s is refused, whatever else it names',
    (stripped) => {
      fc.assert(
        fc.property(pieces(',', ' ', 'close', 'x'), pieces(',', ' ', 'close', 'x'), (before, after) => {
          const headers = { connection: `${before},\t${stripped} ,${after}` };
          const head = readRequestHead({ method: 'GET', target: '/', headers, rawHeaders: [], maxHeaderPairs: 4 });
          expect(head).toMatchObject({ status: 400 });
        }),
        { numRuns: Math.ceil(numRuns / 4) },
      );
    },
  );
});

/** The protocol that carries what was read; undefined where that is none or was refused. */
function encodedToken(headers: IncomingHttpHeaders): string | undefined {
  try {
    const token = tokenOfWebSocket(headers);
    return token === undefined ? undefined : CARRIER + Buffer.from(token).toString('base64url');
  } catch (error) {
    if (error instanceof MalformedToken) return undefined;
    throw error;
  }
}

describe('a bearer token', () => {
  test('in a header of any text is what stands behind the scheme, or none', () => {
    fc.assert(
      fc.property(pieces('Bearer', 'bearer', 'Basic', ' ', '\t', 'abc', '.', '='), (authorization) => {
        const token = tokenOfAuthorization({ authorization });
        if (token === undefined) return;
        expect(token).not.toMatch(/^$| /);
        expect(authorization.trim().toLowerCase().startsWith('bearer ')).toBe(true);
        expect(authorization).toContain(` ${token}`);
      }),
      { numRuns },
    );
  });

  test('among the subprotocols of any WebSocket is the one encoded there, or refused with a MalformedToken', () => {
    const protocol = pieces(CARRIER, CARRIER, ',', ', ', 'v4.channel.k8s.io', 'YWJj', 'YWI', '=', '_w', '%');
    fc.assert(
      fc.property(protocol, (protocols) => {
        const headers = { upgrade: 'WebSocket', connection: 'x, Upgrade', 'sec-websocket-protocol': protocols };
        const encoded = encodedToken(headers);
        expect(encoded === undefined || protocols.includes(encoded)).toBe(true);
      }),
      { numRuns },
    );
  });

  test('of any text expires at a number or not at all', () => {
    const claims = fc.oneof(
      fc.json(),
      fc.constantFrom('{"exp":1}', '{"exp":"1"}', '{"exp":1e400}', '[]', 'null', '1', ''),
    );
    fc.assert(
      fc.property(claims, odd, fc.nat(4), (text, junk, dots) => {
        const token = [junk, Buffer.from(text).toString('base64url'), ...Array.from({ length: dots }, () => junk)].join(
          '.',
        );
        expect(['number', 'undefined']).toContain(typeof expiryOfToken(token));
        expect(['number', 'undefined']).toContain(typeof expiryOfToken(junk));
      }),
      { numRuns },
    );
  });
});

test('N5: whatever a client accepts, gzip is a token of it or is not', () => {
  fc.assert(
    fc.property(pieces('gzip', ',', ' ', ';q=0', 'br', '*'), (text) => {
      expect(acceptsGzip(text)).toBe(
        text
          .split(',')
          .map((token) => token.trim())
          .includes('gzip'),
      );
    }),
    { numRuns },
  );
});
