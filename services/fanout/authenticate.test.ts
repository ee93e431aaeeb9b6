import type { IncomingHttpHeaders } from 'node:http';
import { createFakeClock, type FakeClock } from '@dogwatch/process/fake-clock.ts';
import { UpstreamBusy, UpstreamUnreachable } from '@dogwatch/upstream/upstream-error.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { type Authenticator, createAuthenticator, Unauthorized } from './authenticate.ts';
import { CertificateError } from './certificate-chain.ts';
import type { Connection } from './exchange.ts';
import { type StubAnswer, stubUpstream, type StubUpstream } from './test-upstream.ts';
import type { User } from './user.ts';

const connection: Connection = { remoteAddress: '192.0.2.1', peerCertificates: () => [] };
const jane = { username: 'jane', uid: 'u1', groups: ['devs', 'system:authenticated'], extra: { scopes: ['a'] } };
const janeUser: User = { name: 'jane', uid: 'u1', groups: ['devs', 'system:authenticated'], extra: { scopes: ['a'] } };
const accepted: StubAnswer = { status: { authenticated: true, user: jane } };
const refused: StubAnswer = { status: { authenticated: false, error: '[invalid bearer token, unknown]' } };

let clock: FakeClock;
let upstream: StubUpstream;
let authenticator: Authenticator;

beforeEach(() => {
  clock = createFakeClock();
  upstream = stubUpstream(() => accepted);
  authenticator = createAuthenticator({ upstream, cacheTtlMs: 10_000, clock });
});

function authenticate(headers: IncomingHttpHeaders) {
  return authenticator.authenticate({ headers, connection });
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

function jwt(exp: unknown): string {
  return ['{}', JSON.stringify({ exp }), 'signature'].map((part) => Buffer.from(part).toString('base64url')).join('.');
}

describe('a bearer token', () => {
  test('is shown to upstream by a TokenReview without audiences', async () => {
    expect(await authenticate(bearer('t0ken'))).toEqual({
      user: janeUser,
      credential: { kind: 'bearer', token: 't0ken' },
    });
    expect(upstream.asked).toEqual([
      {
        method: 'POST',
        path: '/apis/authentication.k8s.io/v1/tokenreviews',
        ownCredential: true,
        spec: { token: 't0ken' },
      },
    ]);
  });

  test.each([
    ['Bearer abc', 'abc'],
    ['bEaReR abc', 'abc'],
    ['  Bearer abc more', 'abc'],
    ['Bearer  abc', undefined],
    ['Bearer', undefined],
    ['Bearer ', undefined],
    ['Basic abc', undefined],
    ['', undefined],
  ])('in "%s" is %s, as kube-apiserver reads it', async (authorization, token) => {
    const { credential } = await authenticate({ authorization });
    expect(credential).toEqual(token === undefined ? { kind: 'none' } : { kind: 'bearer', token });
  });

  test('that upstream does not know is refused; nobody becomes anonymous that way', async () => {
    upstream.answer = () => refused;
    await expect(authenticate(bearer('junk'))).rejects.toBeInstanceOf(Unauthorized);
    await expect(authenticate(bearer('junk'))).rejects.toMatchObject({
      status: { code: 401, message: 'Unauthorized' },
    });
  });

  test.each(['tab\tin it', 'ü', 'x'.repeat(64 * 1024 + 1)])(
    'of an impossible shape is refused without asking',
    async (token) => {
      await expect(authenticate({ authorization: `Bearer ${token}` })).rejects.toBeInstanceOf(Unauthorized);
      expect(upstream.asked).toEqual([]);
    },
  );

  test('is in no error', async () => {
    upstream.answer = () => refused;
    const error: unknown = await authenticate(bearer('s3cret')).catch((reason: unknown) => reason);
    expect(
      JSON.stringify([String(error), (error as Error).stack, String((error as Error).cause), error]),
    ).not.toContain('s3cret');
  });
});

describe('an answer of upstream', () => {
  test('is used for ten seconds, good or bad', async () => {
    await authenticate(bearer('a'));
    upstream.answer = () => refused;
    clock.advance(9_999);
    expect((await authenticate(bearer('a'))).user).toEqual(janeUser);
    clock.advance(1);
    await expect(authenticate(bearer('a'))).rejects.toBeInstanceOf(Unauthorized);
    upstream.answer = () => accepted;
    clock.advance(9_999);
    await expect(authenticate(bearer('a'))).rejects.toBeInstanceOf(Unauthorized);
    clock.advance(1);
    await authenticate(bearer('a'));
    expect(upstream.asked).toHaveLength(3);
    expect(authenticator.counters).toEqual({
      tokensFromCache: 2,
      tokensAsked: 3,
      tokensRefused: 2,
      tokenReviewsFailed: 0,
    });
  });

  test('is not used beyond the expiry of a JSON web token', async () => {
    const token = jwt(clock.wall() / 1000 + 4);
    await authenticate(bearer(token));
    clock.advance(3_999);
    await authenticate(bearer(token));
    expect(upstream.asked).toHaveLength(1);
    clock.advance(1);
    await authenticate(bearer(token));
    await authenticate(bearer(token));
    expect(upstream.asked).toHaveLength(3);
  });

  test.each(['x.y.z', jwt('soon'), jwt(undefined), 'a.b', '..'])(
    'for a token that only looks like one (%s) is',
    async (token) => {
      await authenticate(bearer(token));
      await authenticate(bearer(token));
      expect(upstream.asked).toHaveLength(1);
    },
  );

  test('that may mean that upstream could not find out is used for a second', async () => {
    upstream.answer = () => ({ status: { authenticated: false, error: 'webhook: connection refused' } });
    await expect(authenticate(bearer('a'))).rejects.toBeInstanceOf(Unauthorized);
    clock.advance(1_000);
    upstream.answer = () => accepted;
    await authenticate(bearer('a'));
  });

  test('is shared by all who wait for it', async () => {
    const asking = Promise.withResolvers<StubAnswer>();
    upstream.answer = () => asking.promise;
    const callers = Array.from({ length: 100 }, () => authenticate(bearer('a')));
    asking.resolve(accepted);
    expect(await Promise.all(callers)).toHaveLength(100);
    expect(upstream.asked).toHaveLength(1);
  });

  test('is not pushed out by junk tokens', async () => {
    await authenticate(bearer('good'));
    upstream.answer = () => refused;
    await Promise.allSettled(Array.from({ length: 200 }, (_item, index) => authenticate(bearer(`junk-${index}`))));
    expect((await authenticate(bearer('good'))).user).toEqual(janeUser);
  });
});

describe('when upstream cannot be asked', () => {
  test.each<[string, () => StubAnswer, number]>([
    [
      'no connection',
      () => {
        throw new UpstreamUnreachable({ code: 'refused', host: 'x' });
      },
      503,
    ],
    [
      'its pool is full',
      () => {
        throw new UpstreamBusy('full');
      },
      429,
    ],
    ['429', () => ({ code: 429, body: '"slow down"' }), 429],
    ['500', () => ({ code: 500, body: '{}' }), 503],
    ['403, dogwatch may not ask', () => ({ code: 403, body: '{}' }), 503],
    ['no status', () => ({ body: '{}' }), 503],
    ['no JSON', () => ({ body: '<html>' }), 503],
    ['a user without a name', () => ({ status: { authenticated: true, user: {} } }), 503],
    [
      'groups that are no list',
      () => ({ status: { authenticated: true, user: { username: 'x', groups: 'system:masters' } } }),
      503,
    ],
  ])('%s: the request fails, and the next one asks again', async (_name, answer, code) => {
    upstream.answer = answer;
    await expect(authenticate(bearer('a'))).rejects.toMatchObject({
      name: 'ReviewUnavailable',
      status: { code, details: { retryAfterSeconds: 1 } },
    });
    upstream.answer = () => accepted;
    expect((await authenticate(bearer('a'))).user).toEqual(janeUser);
  });

  test('16 are asked at a time, 1,024 wait, and more are turned away', async () => {
    const asking = Promise.withResolvers<StubAnswer>();
    upstream.answer = () => asking.promise;
    const callers = Array.from({ length: 16 + 1024 }, (_item, index) => authenticate(bearer(`t${index}`)));
    await new Promise((resolve) => setImmediate(resolve));
    expect(upstream.asked).toHaveLength(16);
    await expect(authenticate(bearer('one-more'))).rejects.toMatchObject({ status: { code: 429 } });
    asking.resolve(accepted);
    await Promise.all(callers);
    expect(upstream.asked).toHaveLength(16 + 1024);
  });
});

describe('a token in a WebSocket subprotocol', () => {
  const encode = (token: string) => `base64url.bearer.authorization.k8s.io.${Buffer.from(token).toString('base64url')}`;
  const websocket = (protocols: string) => ({
    connection: 'keep-alive, Upgrade',
    upgrade: 'websocket',
    'sec-websocket-protocol': protocols,
  });

  test('is taken beside another subprotocol', async () => {
    const caller = await authenticate(websocket(`v5.channel.k8s.io, ${encode('t?ken')}`));
    expect(caller.credential).toEqual({ kind: 'bearer', token: 't?ken' });
  });

  test.each([
    ['two of them', `x, ${encode('a')}, ${encode('b')}`],
    ['nothing beside it', encode('a')],
    ['padding', `x, ${encode('a')}=`],
    ['no base64url', 'x, base64url.bearer.authorization.k8s.io.a+b/'],
    ['no UTF-8', 'x, base64url.bearer.authorization.k8s.io._w'],
  ])('%s: refused', async (_name, protocols) => {
    await expect(authenticate(websocket(protocols))).rejects.toBeInstanceOf(Unauthorized);
    expect(upstream.asked).toEqual([]);
  });

  test('means nothing on an ordinary request', async () => {
    const { upgrade: _upgrade, ...headers } = websocket(`x, ${encode('a')}`);
    expect((await authenticate(headers)).credential).toEqual({ kind: 'none' });
  });

  test('comes after Authorization', async () => {
    const caller = await authenticate({ ...websocket(`x, ${encode('a')}`), ...bearer('b') });
    expect(caller.credential).toEqual({ kind: 'bearer', token: 'b' });
  });
});

describe('a client certificate', () => {
  const withCertificates = (authenticateConnection: () => Promise<User | undefined>) => {
    authenticator = createAuthenticator({
      upstream,
      cacheTtlMs: 10_000,
      clock,
      certificates: { authenticate: authenticateConnection },
    });
  };

  test('goes before a token, and travels by impersonation', async () => {
    withCertificates(() => Promise.resolve({ ...janeUser, name: 'node' }));
    expect(await authenticate(bearer('a'))).toEqual({
      user: { ...janeUser, name: 'node' },
      credential: { kind: 'impersonate' },
    });
    expect(upstream.asked).toEqual([]);
  });

  test('that names nobody leaves it to the token', async () => {
    withCertificates(() => Promise.resolve(undefined));
    expect((await authenticate(bearer('a'))).credential.kind).toBe('bearer');
    expect((await authenticate({})).credential.kind).toBe('none');
  });

  test('that is bad does not spoil a good token, but makes nobody anonymous', async () => {
    withCertificates(() => Promise.reject(new CertificateError('expired')));
    expect((await authenticate(bearer('a'))).user).toEqual(janeUser);
    await expect(authenticate({})).rejects.toMatchObject({ name: 'Unauthorized', cause: { code: 'expired' } });
  });
});

describe('without a credential', () => {
  test('the caller is anonymous', async () => {
    expect(await authenticate({})).toEqual({
      user: { name: 'system:anonymous', uid: '', groups: ['system:unauthenticated'], extra: {} },
      credential: { kind: 'none' },
    });
  });

  test.each([
    [200, true],
    [403, true],
    [401, false],
  ])('upstream answers %i: anonymous allowed %s, asked once an hour', async (code, allowed) => {
    upstream.answer = () => ({ code, body: '{}' });
    expect(await Promise.all([authenticator.anonymousAllowed(), authenticator.anonymousAllowed()])).toEqual([
      allowed,
      allowed,
    ]);
    clock.advance(3_599_999);
    expect(await authenticator.anonymousAllowed()).toBe(allowed);
    expect(upstream.asked).toEqual([{ method: 'GET', path: '/api', ownCredential: false, spec: {} }]);
    clock.advance(1);
    await authenticator.anonymousAllowed();
    expect(upstream.asked).toHaveLength(2);
  });

  test('an answer that says nothing is an error, and not remembered', async () => {
    upstream.answer = () => ({ code: 500, body: '{}' });
    await expect(authenticator.anonymousAllowed()).rejects.toMatchObject({ status: { code: 503 } });
    upstream.answer = () => ({ code: 401, body: '{}' });
    expect(await authenticator.anonymousAllowed()).toBe(false);
  });
});
