import type { IncomingHttpHeaders } from 'node:http';
import { describe, expect, test } from 'vitest';
import type { AccessAttributes, AccessDecision } from './authorize.ts';
import { authorizeImpersonation, ImpersonationForbidden } from './impersonation.ts';
import type { User } from './user.ts';

const admin: User = { name: 'admin', uid: '', groups: [], extra: {} };

async function impersonate(
  headers: IncomingHttpHeaders,
  decide: (asked: AccessAttributes) => AccessDecision = () => ({ allowed: true }),
) {
  const asked: AccessAttributes[] = [];
  const authorizer = {
    authorize: (user: User, attributes: AccessAttributes) => {
      expect(user).toBe(admin);
      asked.push(attributes);
      return Promise.resolve(decide(attributes));
    },
  };
  const user = await authorizeImpersonation({ user: admin, headers, authorizer });
  const questions = asked.map(({ verb, group, version, resource, subresource, namespace, name }) =>
    [verb, group, version, resource, subresource, namespace, name].join('|'),
  );
  return { user, questions };
}

describe('the effective user', () => {
  test('is nobody else without the headers, or with an empty one', async () => {
    expect(await impersonate({ authorization: 'x' })).toEqual({ user: undefined, questions: [] });
    expect(await impersonate({ 'impersonate-user': [''] })).toEqual({ user: undefined, questions: [] });
  });

  test('is who the headers name, each value authorized', async () => {
    const { user, questions } = await impersonate({
      'impersonate-user': ['jane'],
      'impersonate-uid': ['u1'],
      'impersonate-group': ['cn=a,ou=b', 'devs'],
      'impersonate-extra-scopes': ['x', 'y'],
      'impersonate-extra-acme.com%2fproject': ['z'],
    });
    expect(user).toEqual({
      name: 'jane',
      uid: 'u1',
      groups: ['cn=a,ou=b', 'devs', 'system:authenticated'],
      extra: { scopes: ['x', 'y'], 'acme.com/project': ['z'] },
    });
    expect(questions).toEqual([
      'impersonate||v1|users|||jane',
      'impersonate|authentication.k8s.io|v1|uids|||u1',
      'impersonate||v1|groups|||cn=a,ou=b',
      'impersonate||v1|groups|||devs',
      'impersonate|authentication.k8s.io|v1|userextras|scopes||x',
      'impersonate|authentication.k8s.io|v1|userextras|scopes||y',
      'impersonate|authentication.k8s.io|v1|userextras|acme.com/project||z',
    ]);
  });

  test('may be a service account, in the groups of service accounts unless others are asked for', async () => {
    const name = 'system:serviceaccount:kube-system:generic.controller';
    expect(await impersonate({ 'impersonate-user': [name] })).toMatchObject({
      user: { name, groups: ['system:serviceaccounts', 'system:serviceaccounts:kube-system', 'system:authenticated'] },
      questions: ['impersonate||v1|serviceaccounts||kube-system|generic.controller'],
    });
    expect((await impersonate({ 'impersonate-user': [name], 'impersonate-group': ['g'] })).user?.groups).toEqual([
      'g',
      'system:authenticated',
    ]);
  });

  test.each([
    'system:serviceaccount:ns',
    'system:serviceaccount:NS:a',
    'system:serviceaccount:a:b:c',
    'system:serviceaccount::a',
  ])('%s is an ordinary user', async (name) => {
    expect((await impersonate({ 'impersonate-user': [name] })).questions).toEqual([`impersonate||v1|users|||${name}`]);
  });

  test.each([
    ['system:anonymous', [], ['system:unauthenticated']],
    ['system:anonymous', ['system:unauthenticated'], ['system:unauthenticated']],
    ['jane', ['system:authenticated'], ['system:authenticated']],
    ['jane', ['system:unauthenticated'], ['system:unauthenticated']],
    ['jane', ['a'], ['a', 'system:authenticated']],
  ])('%s in %j is in %j', async (name, asked, groups) => {
    expect((await impersonate({ 'impersonate-user': [name], 'impersonate-group': asked })).user?.groups).toEqual(
      groups,
    );
  });

  test('has a name in UTF-8', async () => {
    const wire = Buffer.from('jürgen', 'utf8').toString('latin1');
    expect((await impersonate({ 'impersonate-user': [wire] })).user?.name).toBe('jürgen');
    await expect(impersonate({ 'impersonate-user': ['j\u00fcrgen'] })).rejects.toMatchObject({ status: { code: 400 } });
  });
});

describe('impersonation is refused', () => {
  test.each([
    [
      'users',
      'users "jane" is forbidden: User "admin" cannot impersonate resource "users" in API group "" at the cluster scope: why',
    ],
    [
      'groups',
      'groups "devs" is forbidden: User "admin" cannot impersonate resource "groups" in API group "" at the cluster scope: why',
    ],
    [
      'userextras',
      'userextras.authentication.k8s.io "x" is forbidden: User "admin" cannot impersonate resource "userextras/scopes" in API group "authentication.k8s.io" at the cluster scope: why',
    ],
  ])('when one of them is denied (%s), in the words of upstream', async (denied, message) => {
    const headers = { 'impersonate-user': ['jane'], 'impersonate-group': ['devs'], 'impersonate-extra-scopes': ['x'] };
    const decide = ({ resource }: AccessAttributes): AccessDecision =>
      resource === denied ? { allowed: false, reason: 'why' } : { allowed: true };
    const error: unknown = await impersonate(headers, decide).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ImpersonationForbidden);
    expect(error).toMatchObject({ status: { code: 403, message } });
  });

  test.each([
    [400, { 'impersonate-group': ['a'] }],
    [400, { 'impersonate-uid': ['a'] }],
    [400, { 'impersonate-extra-a': ['a'] }],
    [400, { 'impersonate-user': [''], 'impersonate-group': ['a'] }],
    [500, { 'impersonate-user': ['a'], 'impersonate-roles': ['a'] }],
    [431, { 'impersonate-user': ['a'], 'impersonate-group': Array.from({ length: 64 }, () => 'g') }],
  ])('with %i for %j', async (code, headers) => {
    const error: unknown = await impersonate(headers).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ status: { code } });
    // Upstream says it in its own words, or knows better.
    expect(error instanceof ImpersonationForbidden).toBe(code !== 431);
  });

  test('64 values are fine', async () => {
    const groups = Array.from({ length: 63 }, (_item, index) => `g${index}`);
    expect((await impersonate({ 'impersonate-user': ['a'], 'impersonate-group': groups })).questions).toHaveLength(64);
  });

  test('when upstream cannot be asked', async () => {
    const decide = () => {
      throw new Error('planned');
    };
    await expect(impersonate({ 'impersonate-user': ['a'] }, decide)).rejects.toThrow('planned');
  });
});
