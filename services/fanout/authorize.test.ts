import { isDeepStrictEqual } from 'node:util';
import { createFakeClock, type FakeClock } from '@dogwatch/process/fake-clock.ts';
import * as fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { type AccessAttributes, type Authorizer, createAuthorizer } from './authorize.ts';
import { type StubAnswer, stubUpstream, type StubUpstream } from './test-upstream.ts';
import type { User } from './user.ts';

const jane: User = { name: 'jane', uid: 'u1', groups: ['devs', 'system:authenticated'], extra: { scopes: ['a', 'b'] } };
const node: User = { name: 'system:node:n1', uid: '', groups: ['system:nodes'], extra: {} };
const listPods: AccessAttributes = {
  isResourceRequest: true,
  verb: 'list',
  path: '/api/v1/namespaces/default/pods',
  group: '',
  version: 'v1',
  resource: 'pods',
  subresource: '',
  namespace: 'default',
  name: '',
  fieldSelector: '',
  labelSelector: '',
};

/** What two questions have in common if they are one. */
function meaningOf({ user, attributes }: { user: User; attributes: AccessAttributes }): object {
  const { path, isResourceRequest, ...resource } = attributes;
  const about = isResourceRequest ? resource : { path, verb: attributes.verb };
  return { user: { ...user, groups: user.groups.toSorted(), extra: { ...user.extra } }, isResourceRequest, about };
}

let clock: FakeClock;
let upstream: StubUpstream;
let authorizer: Authorizer;

beforeEach(() => {
  clock = createFakeClock();
  upstream = stubUpstream(() => ({ status: { allowed: true } }));
  authorizer = createAuthorizer({ upstream, cacheTtlMs: 10_000, clock });
});

describe('a question to upstream', () => {
  test('names the user and everything that is asked, selectors as they were sent', async () => {
    const attributes = { ...listPods, name: 'x', fieldSelector: 'metadata.name=x', labelSelector: 'app in (a,,b' };
    expect(await authorizer.authorize(jane, attributes)).toEqual({ allowed: true });
    expect(upstream.asked).toEqual([
      {
        method: 'POST',
        path: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
        ownCredential: true,
        spec: {
          user: 'jane',
          uid: 'u1',
          groups: ['devs', 'system:authenticated'],
          extra: { scopes: ['a', 'b'] },
          resourceAttributes: {
            verb: 'list',
            group: '',
            version: 'v1',
            resource: 'pods',
            subresource: '',
            namespace: 'default',
            name: 'x',
            fieldSelector: { rawSelector: 'metadata.name=x' },
            labelSelector: { rawSelector: 'app in (a,,b' },
          },
        },
      },
    ]);
  });

  test('about something that is no resource has its path and verb', async () => {
    await authorizer.authorize(jane, { ...listPods, isResourceRequest: false, verb: 'get', path: '/metrics' });
    expect(upstream.asked[0]!.spec['nonResourceAttributes']).toEqual({ path: '/metrics', verb: 'get' });
    expect(upstream.asked[0]!.spec['resourceAttributes']).toBeUndefined();
  });

  test('without a verb is answered here: no', async () => {
    expect(await authorizer.authorize(jane, { ...listPods, verb: '' })).toMatchObject({ allowed: false });
    expect(upstream.asked).toEqual([]);
  });

  test('a denial carries the reason of upstream', async () => {
    upstream.answer = () => ({ status: { allowed: false, reason: 'RBAC: no such role' } });
    expect(await authorizer.authorize(jane, listPods)).toEqual({ allowed: false, reason: 'RBAC: no such role' });
    upstream.answer = () => ({ status: { allowed: false, denied: true } });
    expect(await authorizer.authorize(jane, { ...listPods, namespace: 'other' })).toEqual({
      allowed: false,
      reason: '',
    });
  });
});

describe('a decision', () => {
  test('is used for ten seconds', async () => {
    await authorizer.authorize(jane, listPods);
    upstream.answer = () => ({ status: { allowed: false } });
    clock.advance(9_999);
    expect(await authorizer.authorize(jane, listPods)).toMatchObject({ allowed: true });
    clock.advance(1);
    expect(await authorizer.authorize(jane, listPods)).toMatchObject({ allowed: false });
    expect(authorizer.counters).toEqual({ fromCache: 1, asked: 2, failed: 0 });
  });

  test('against a user is used for ten seconds', async () => {
    upstream.answer = () => ({ status: { allowed: false } });
    await authorizer.authorize(jane, listPods);
    clock.advance(9_999);
    await authorizer.authorize(jane, listPods);
    expect(upstream.asked).toHaveLength(1);
    clock.advance(1);
    await authorizer.authorize(jane, listPods);
    expect(upstream.asked).toHaveLength(2);
  });

  test('against a node is used for nobody who comes later: it may hear of its pod before upstream does', async () => {
    upstream.answer = () => ({ status: { allowed: false } });
    await Promise.all([authorizer.authorize(node, listPods), authorizer.authorize(node, listPods)]);
    expect(upstream.asked).toHaveLength(1);
    upstream.answer = () => ({ status: { allowed: true } });
    expect(await authorizer.authorize(node, listPods)).toMatchObject({ allowed: true });
  });

  test('in favour of a node is used for ten seconds', async () => {
    await authorizer.authorize(node, listPods);
    clock.advance(9_999);
    await authorizer.authorize(node, listPods);
    expect(upstream.asked).toHaveLength(1);
  });

  test('is shared by all who wait for it', async () => {
    const asking = Promise.withResolvers<StubAnswer>();
    upstream.answer = () => asking.promise;
    const waiting = Array.from({ length: 100 }, () => authorizer.authorize(jane, listPods));
    asking.resolve({ status: { allowed: true } });
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([{ allowed: true }]));
    expect(upstream.asked).toHaveLength(1);
  });

  test('does not depend on the order of groups and extras', async () => {
    const user = (groups: string[], extra: User['extra']) => ({ ...jane, groups, extra });
    await authorizer.authorize(user(['a', 'b'], { x: ['1'], y: ['2'] }), listPods);
    await authorizer.authorize(user(['b', 'a'], { y: ['2'], x: ['1'] }), listPods);
    expect(upstream.asked).toHaveLength(1);
  });

  test('about a question of more than 10,000 characters is not kept', async () => {
    const long = { ...listPods, labelSelector: `a in (${'x,'.repeat(5_000)}y)` };
    await authorizer.authorize(jane, long);
    await authorizer.authorize(jane, long);
    expect(upstream.asked).toHaveLength(2);
  });

  test('is never used for another question: whatever differs is asked', async () => {
    const text = fc.constantFrom('', 'a', 'b', 'a","b', 'a\\', '*');
    const question = fc.record({
      user: fc.record({
        name: text,
        uid: text,
        groups: fc.array(text, { maxLength: 2 }),
        extra: fc.dictionary(text, fc.array(text, { maxLength: 2 }), { maxKeys: 2 }),
      }),
      attributes: fc.record({
        isResourceRequest: fc.boolean(),
        verb: fc.constantFrom('get', 'list'),
        path: text,
        group: text,
        version: text,
        resource: text,
        subresource: text,
        namespace: text,
        name: text,
        fieldSelector: text,
        labelSelector: text,
      }),
    });
    const field = fc.constantFrom(...(Object.keys(listPods) as (keyof AccessAttributes)[]));
    await fc.assert(
      fc.asyncProperty(question, question, field, fc.boolean(), async (first, other, name, sameUser) => {
        const second = {
          user: sameUser ? first.user : other.user,
          attributes: { ...first.attributes, [name]: other.attributes[name] },
        };
        clock.advance(10_000);
        const before = upstream.asked.length;
        await authorizer.authorize(first.user, first.attributes);
        await authorizer.authorize(second.user, second.attributes);
        const asked = upstream.asked.length - before;
        expect(asked).toBe(isDeepStrictEqual(meaningOf(first), meaningOf(second)) ? 1 : 2);
      }),
      { numRuns: 200 },
    );
  });
});

describe('when upstream does not answer, nobody guesses', () => {
  test.each<[string, StubAnswer | Error, number]>([
    ['an error on the way', new Error('planned'), 503],
    ['429', { code: 429, body: '{}' }, 429],
    ['503', { code: 503, body: '{}' }, 503],
    ['403, dogwatch may not ask', { code: 403, body: '{}' }, 503],
    ['no status', { body: '{"spec":{}}' }, 503],
    ['a status without a decision', { status: {} }, 503],
    ['allowed and denied', { status: { allowed: true, denied: true } }, 503],
    ['a failed authorizer', { status: { allowed: false, evaluationError: 'webhook is down' } }, 503],
  ])('%s', async (_name, answer, code) => {
    upstream.answer = () => {
      if (answer instanceof Error) throw answer;
      return answer;
    };
    await expect(authorizer.authorize(jane, listPods)).rejects.toMatchObject({
      name: 'ReviewUnavailable',
      status: { code },
    });
    upstream.answer = () => ({ status: { allowed: true } });
    expect(await authorizer.authorize(jane, listPods)).toEqual({ allowed: true });
  });

  test.each([
    'spec.resourceAttributes.labelSelector ignored due to parse error',
    'spec.resourceAttributes.fieldSelector partially ignored due to parse error; spec.resourceAttributes.labelSelector ignored due to parse error',
  ])('but a selector that upstream ignored is no failure (%s)', async (evaluationError) => {
    upstream.answer = () => ({ status: { allowed: false, evaluationError } });
    expect(await authorizer.authorize(jane, listPods)).toEqual({ allowed: false, reason: '' });
  });

  test('and a yes beside an error is a yes, as upstream takes it', async () => {
    upstream.answer = () => ({ status: { allowed: true, evaluationError: 'one of several roles is missing' } });
    expect(await authorizer.authorize(jane, listPods)).toEqual({ allowed: true });
  });
});
