import assert from 'node:assert';
import type { IncomingHttpHeaders } from 'node:http';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { StatusError } from '@dogwatch/kube/status.ts';
import { forwardedHeaders, impersonationHeaders } from './proxy-headers.ts';
import type { Caller, User } from './user.ts';

const user: User = { name: 'jane', uid: '', groups: ['devs'], extra: {} };
const bearer: Caller = { user, credential: { kind: 'bearer', token: 't' } };
const certificate: Caller = { user, credential: { kind: 'impersonate' } };
const anonymous: Caller = { user, credential: { kind: 'none' } };
const ownHeaders = { authorization: 'Bearer dogwatch' };

function forward(headers: IncomingHttpHeaders, caller: Caller = bearer) {
  return forwardedHeaders({ headers, caller, remoteAddress: '', ownHeaders });
}

function refusal(action: () => unknown): number | undefined {
  try {
    action();
  } catch (error) {
    if (error instanceof StatusError) return error.status.code;
    throw error;
  }
  return undefined;
}

describe('headers of one hop', () => {
  test('end here, with those that Connection names', () => {
    const headers = forward({
      connection: 'keep-alive, X-Mine, upgrade',
      'keep-alive': 'timeout=5',
      'proxy-authorization': 'Basic x',
      'proxy-connection': 'keep-alive',
      te: 'trailers',
      trailer: 'x',
      'transfer-encoding': 'chunked',
      upgrade: 'h2c',
      'http2-settings': 'x',
      'x-mine': '1',
      host: 'dogwatch',
      'content-length': '3',
      expect: '100-continue',
      'x-theirs': '2',
      accept: 'application/json',
    });
    expect(headers).toEqual({ 'x-theirs': '2', accept: 'application/json' });
  });

  test.each(['Authorization', 'impersonate-user', 'X, Impersonate-Extra-a', 'x-remote-group', 'Impersonate_User'])(
    'Connection may not name %s (CVE-2021-31999)',
    (connection) => {
      expect(refusal(() => forward({ connection }))).toBe(400);
    },
  );
});

describe('what could pass for an identity', () => {
  test('X-Remote-* never gets through', () => {
    const headers = { 'x-remote-user': 'admin', 'x-remote-group': 'system:masters', 'x-remote-extra-a': 'b' };
    for (const caller of [bearer, certificate, anonymous]) {
      expect(Object.keys(forward(headers, caller)).filter((name) => name.startsWith('x-remote'))).toEqual([]);
    }
  });

  test.each(['x_remote_user', 'impersonate_user', 'impersonate-extra_a', 'x-remote_group'])('%s is refused', (name) => {
    expect(refusal(() => forward({ [name]: 'admin' }))).toBe(400);
  });

  test('other names with underscores are nobody’s business', () => {
    expect(forward({ my_header: '1' })).toEqual({ my_header: '1' });
  });

  test('a bearer caller’s own Authorization and impersonation go on as they came', () => {
    const headers = {
      authorization: 'bEaRer  abc',
      'impersonate-user': 'bob',
      'impersonate-group': ['a, b', 'c'],
      'impersonate-extra-scopes%2fx': ['1'],
    };
    expect(forward(headers)).toEqual(headers);
  });

  test('an anonymous caller loses Authorization', () => {
    expect(forward({ authorization: 'Bearer junk', 'x-a': '1' }, anonymous)).toEqual({ 'x-a': '1' });
  });

  test('a certificate caller becomes dogwatch impersonating them', () => {
    const caller: Caller = {
      user: {
        name: 'system:node:n1',
        uid: 'u-1',
        groups: ['system:nodes', 'Domain Users, Sales'],
        extra: { 'example.com/Scope %': ['a', 'b'], empty: [] },
      },
      credential: { kind: 'impersonate' },
    };
    expect(forward({ authorization: 'Bearer junk', accept: 'x' }, caller)).toEqual({
      accept: 'x',
      authorization: 'Bearer dogwatch',
      'impersonate-user': 'system:node:n1',
      'impersonate-uid': 'u-1',
      'impersonate-group': ['system:nodes', 'Domain Users, Sales'],
      'impersonate-extra-example.com%2F%53cope%20%25': ['a', 'b'],
    });
  });

  test('a certificate caller may not impersonate', () => {
    expect(refusal(() => forward({ 'impersonate-user': 'admin' }, certificate))).toBe(403);
    expect(refusal(() => forward({ 'impersonate-extra-x': ['1'] }, certificate))).toBe(403);
  });

  test('a WebSocket token is not sent beside dogwatch’s own credential', () => {
    const token = 'base64url.bearer.authorization.k8s.io.YWJj';
    const protocols = { 'sec-websocket-protocol': `${token}, v5.channel.k8s.io` };
    expect(forward(protocols, certificate)['sec-websocket-protocol']).toBe('v5.channel.k8s.io');
    expect(forward({ 'sec-websocket-protocol': token }, certificate)).not.toHaveProperty('sec-websocket-protocol');
    expect(forward(protocols)).toEqual(protocols);
  });
});

describe('impersonation headers', () => {
  const named = (name: string): User => ({ ...user, name });

  test.each([
    ['an empty name, which would make the request dogwatch’s own', ''],
    ['space in front, which parsers drop', ' admin'],
    ['space behind', 'admin '],
    ['nothing but space', ' '],
    ['a tab', '\tadmin'],
    ['a line break', 'a\r\nImpersonate-Group: system:masters'],
    ['NUL', 'a\0b'],
    ['DEL', 'a\u007f'],
    ['a C1 control character', 'a\u0085b'],
    ['half a character', 'a\ud800'],
  ])('%s is refused', (_what, name) => {
    expect(refusal(() => impersonationHeaders(named(name)))).toBe(400);
  });

  test.each<[string, Partial<User>]>([
    ['a group', { groups: ['ok', 'system:masters '] }],
    ['a UID', { uid: 'a\nb' }],
    ['an extra value', { extra: { k: ['\u0001'] } }],
    ['an empty extra key', { extra: { '': ['v'] } }],
  ])('%s that a header cannot carry is refused', (_what, wrong) => {
    expect(refusal(() => impersonationHeaders({ ...user, ...wrong }))).toBe(400);
  });

  test('a user without groups is not given those of a service account', () => {
    const { 'impersonate-group': groups } = impersonationHeaders({ ...named('system:serviceaccount:a:b'), groups: [] });
    expect(groups).toEqual(['system:authenticated']);
  });

  /** What kube-apiserver reads: bytes as UTF-8, names lowered and then unescaped. */
  function asUpstreamReads(headers: Record<string, string | string[]>): User {
    const decode = (value: string) => Buffer.from(value.replace(/^[ \t]+|[ \t]+$/g, ''), 'latin1').toString('utf8');
    const all = (name: string) => [headers[name] ?? []].flat().map(decode);
    const prefix = 'impersonate-extra-';
    const extra = Object.keys(headers)
      .filter((name) => name.startsWith(prefix))
      .map((name) => [decodeURIComponent(name.slice(prefix.length).toLowerCase()), all(name)] as const);
    return {
      name: all('impersonate-user')[0] ?? '',
      uid: all('impersonate-uid')[0] ?? '',
      groups: all('impersonate-group'),
      extra: Object.fromEntries(extra),
    };
  }

  test('arrive as they are, or not at all', () => {
    const codeUnit = fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code));
    const text = fc.oneof(
      fc.string({ maxLength: 8 }),
      fc.string({ unit: codeUnit, maxLength: 8 }),
      fc.constantFrom('Ärger', '日本', ' a', 'a:b, c'),
    );
    const users = fc.record(
      {
        name: text,
        uid: text,
        groups: fc.array(text, { minLength: 1, maxLength: 3 }),
        extra: fc.dictionary(text, fc.array(text, { minLength: 1, maxLength: 2 }), {
          maxKeys: 3,
          noNullPrototype: true,
        }),
      },
      { noNullPrototype: true },
    );
    let arrived = 0;
    fc.assert(
      fc.property(users, (any) => {
        try {
          assert.deepStrictEqual(asUpstreamReads(impersonationHeaders(any)), any);
          arrived += 1;
        } catch (error) {
          if (!(error instanceof StatusError)) throw error;
        }
      }),
    );
    expect(arrived).toBeGreaterThan(5);
  });
});

describe('X-Forwarded-For', () => {
  test.each([
    [undefined, '::ffff:10.1.2.3', '10.1.2.3'],
    ['1.2.3.4', '10.1.2.3', '1.2.3.4, 10.1.2.3'],
    [undefined, 'fd00::1', 'fd00::1'],
    ['1.2.3.4', '', '1.2.3.4'],
  ])('%s from %s becomes %s', (given, remoteAddress, expected) => {
    const headers = given === undefined ? {} : { 'x-forwarded-for': given };
    expect(forwardedHeaders({ headers, caller: bearer, remoteAddress, ownHeaders })['x-forwarded-for']).toBe(expected);
  });
});
