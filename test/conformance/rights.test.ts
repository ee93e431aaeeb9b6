import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KubeClient, type KubeResponse } from '../support/kube-client.ts';
import { Stage } from './stage.ts';

let stage: Stage;
const rbac = '/apis/rbac.authorization.k8s.io/v1/namespaces/default';

beforeAll(async () => {
  stage = await Stage.start({ nodes: ['reader'] });
  const { admin } = stage.plane;
  for (const name of ['mine', 'other'])
    await admin.create('/api/v1/namespaces/default/configmaps', { metadata: { name } });
  // The user system:node:reader may read one ConfigMap by its name (the group's own rights come by node, not by this).
  await admin.create(`${rbac}/roles`, {
    metadata: { name: 'mine' },
    rules: [{ apiGroups: [''], resources: ['configmaps'], resourceNames: ['mine'], verbs: ['get', 'list', 'watch'] }],
  });
  await admin.create(`${rbac}/rolebindings`, {
    metadata: { name: 'mine' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'mine' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'system:node:reader' }],
  });
  // With somebody entitled watching, everything that could be served from a cache is in it.
  await stage.client('admin').get('/api/v1/configmaps?resourceVersion=0');
  await stage.client('admin').get('/api/v1/secrets?resourceVersion=0');
});

afterAll(() => stage?.stop());

const configmaps = '/api/v1/namespaces/default/configmaps';

/** Cached and proxied requests alike. */
const REQUESTS: readonly (readonly [method: string, path: string])[] = [
  ['GET', '/api/v1/configmaps'],
  ['GET', '/api/v1/configmaps?resourceVersion=0'],
  ['GET', configmaps],
  ['GET', `${configmaps}?resourceVersion=0&limit=1`],
  ['GET', `${configmaps}?watch=true&timeoutSeconds=1`],
  ['GET', `${configmaps}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1`],
  ['GET', `${configmaps}?labelSelector=a%3Db&resourceVersion=0`],
  ['GET', `${configmaps}?fieldSelector=metadata.name%3Dother&resourceVersion=0`],
  ['GET', `${configmaps}/mine`],
  ['GET', `${configmaps}/mine?resourceVersion=0`],
  ['GET', `${configmaps}/absent?resourceVersion=0`],
  ['GET', '/api/v1/secrets?resourceVersion=0'],
  ['GET', '/api/v1/nodes?resourceVersion=0'],
  ['GET', '/apis/apps/v1/deployments?watch=true&resourceVersion=0&timeoutSeconds=1'],
  // An unauthorised user does not learn that a request is wrong.
  ['GET', `${configmaps}?labelSelector=%21%21&resourceVersion=0`],
  ['GET', `${configmaps}?resourceVersionMatch=Exact`],
  ['POST', configmaps],
  ['PUT', `${configmaps}/mine`],
  ['DELETE', `${configmaps}/mine`],
  ['DELETE', configmaps],
  ['GET', '/api/v1/namespaces/default/pods/absent/log'],
  ['GET', '/api/v1/namespaces/default/pods/absent/exec?command=sh'],
  ['POST', '/api/v1/namespaces/default/pods/absent/exec?command=sh'],
  ['GET', '/api/v1/nodes/absent/proxy/metrics'],
  ['GET', '/metrics'],
  ['GET', '/nonsense'],
];

function outcome({ status, headers, body }: KubeResponse): object {
  return {
    status,
    type: headers['content-type'],
    cache: headers['cache-control'],
    nosniff: headers['x-content-type-options'],
    body,
  };
}

async function expectEqual(
  pair: { direct: KubeClient; through: KubeClient },
  method: string,
  path: string,
): Promise<KubeResponse> {
  const options =
    method === 'POST' || method === 'PUT'
      ? { body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'mine' } } }
      : {};
  const [direct, through] = [
    await pair.direct.request(method, path, options),
    await pair.through.request(method, path, options),
  ];
  expect(outcome(through)).toEqual(outcome(direct));
  return through;
}

function clients(credential: { token?: string }): { direct: KubeClient; through: KubeClient } {
  return {
    direct: new KubeClient(stage.plane.endpoint, credential),
    through: new KubeClient(stage.through, credential),
  };
}

describe('a user without rights', () => {
  test.each(REQUESTS)('%s %s is 403, word for word as upstream says it', async (method, path) => {
    const { status } = await expectEqual(clients({ token: stage.plane.token('nobody') }), method, path);
    expect(status).toBe(403);
  });

  test('with a client certificate is refused as well', async () => {
    const { certificate: cert, privateKey: key } = stage.plane.authority.client('stranger', ['strangers']);
    const pair = {
      direct: new KubeClient(stage.plane.endpoint, { cert, key }),
      through: new KubeClient(stage.through, { cert, key }),
    };
    for (const [method, path] of REQUESTS) {
      expect((await expectEqual(pair, method, path)).status).toBe(403);
    }
  });
});

test.each(REQUESTS)('nobody at all: %s %s', async (method, path) => {
  const { status } = await expectEqual(clients({}), method, path);
  expect(status).toBe(403);
});

test.each(REQUESTS)('an unknown token: %s %s is 401', async (method, path) => {
  const { status } = await expectEqual(clients({ token: 'unknown' }), method, path);
  expect(status).toBe(401);
});

describe('a user with rights to one object by name', () => {
  test.each([
    ['GET', `${configmaps}/mine`, 200],
    ['GET', `${configmaps}/mine?resourceVersion=0`, 200],
    ['GET', `${configmaps}?fieldSelector=metadata.name%3Dmine&resourceVersion=0`, 200],
    ['GET', `${configmaps}?fieldSelector=metadata.name%3Dother&resourceVersion=0`, 403],
    ['GET', `${configmaps}/other?resourceVersion=0`, 403],
    ['GET', `${configmaps}?resourceVersion=0`, 403],
    ['GET', '/api/v1/configmaps?fieldSelector=metadata.name%3Dmine&resourceVersion=0', 403],
  ])('%s %s is %d', async (method, path, status) => {
    const pair = clients({ token: stage.plane.token('system:node:reader') });
    const direct = await pair.direct.request(method, path);
    const through = await pair.through.request(method, path);
    expect([direct.status, through.status]).toEqual([status, status]);
    expect(status === 403 ? through.body : direct.body).toBe(direct.body);
  });
});
