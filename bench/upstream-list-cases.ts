import assert from 'node:assert/strict';
import { KubeClient } from '@dogwatch/test/support/kube-client.ts';
import { FUTURE_VERSION, type UpstreamCase, versionOf } from './upstream-case.ts';

interface List {
  readonly kind: string;
  readonly metadata: {
    readonly resourceVersion: string;
    readonly continue?: string;
    readonly remainingItemCount?: number;
  };
  readonly items: readonly {
    readonly kind?: string;
    readonly metadata: { readonly name: string; readonly resourceVersion: string };
    readonly data?: Record<string, string>;
  }[];
}

interface Status {
  readonly kind?: string;
  readonly status?: string;
  readonly reason?: string;
  readonly message: string;
  readonly code: number;
  readonly details?: Record<string, unknown>;
  readonly metadata?: { readonly continue?: string };
}

const names = (list: List) => list.items.map(({ metadata }) => metadata.name);

/** LIST, GET, writes and errors (protocol 1.1 to 1.3). */
export const LIST_CASES: readonly UpstreamCase[] = [
  {
    name: 'L19, L20: a typed list has kind, apiVersion, metadata and items in this order, items without their type',
    run: async ({ admin, configMaps, create }) => {
      await create('one');
      const { body, headers } = await admin.request('GET', configMaps);
      assert.match(
        body,
        /^\{"kind":"ConfigMapList","apiVersion":"v1","metadata":\{"resourceVersion":"\d+"\},"items":\[\{"metadata":\{"name":"one","namespace":/,
      );
      assert(body.endsWith(']}\n'));
      assert.equal(headers['content-type'], 'application/json');
      assert.equal(headers['cache-control'], 'no-cache, private');
      assert(headers['audit-id'] !== undefined);
    },
  },
  {
    name: 'L16: a namespace that does not exist has an empty list',
    run: async ({ admin }) => {
      const { status, body } = await admin.request('GET', '/api/v1/namespaces/nowhere/pods');
      assert.equal(status, 200);
      assert.match(body, /"items":\[\]\}\n$/);
    },
  },
  {
    name: 'L15: the order is that of the joined storage key',
    run: async ({ admin, configMaps, create }) => {
      for (const name of ['b', 'a.b', 'a-b', 'a', 'a0']) await create(name);
      assert.deepEqual(names(await admin.get<List>(configMaps)), ['a', 'a-b', 'a.b', 'a0', 'b']);
    },
  },
  {
    name: 'L13, L14: pages carry the version of the first and count what remains',
    run: async ({ admin, configMaps, create }) => {
      for (const name of ['a', 'b', 'c', 'd', 'e']) await create(name);
      const first = await admin.get<List>(`${configMaps}?limit=2`);
      await create('b2');
      const second = await admin.get<List>(`${configMaps}?limit=2&continue=${first.metadata.continue}`);
      const third = await admin.get<List>(`${configMaps}?limit=2&continue=${second.metadata.continue}`);
      assert.deepEqual([first, second, third].map(names), [['a', 'b'], ['c', 'd'], ['e']]);
      assert.deepEqual(
        [first, second, third].map(({ metadata }) => metadata.remainingItemCount),
        [3, 1, undefined],
      );
      assert.equal(new Set([first, second, third].map(({ metadata }) => metadata.resourceVersion)).size, 1);
      assert.equal(third.metadata.continue, undefined);
    },
  },
  {
    name: 'L14: with a selector nothing is counted, and a page follows while there is anything left to look at',
    run: async ({ admin, configMaps, create }) => {
      for (const name of ['a', 'b', 'c']) await create(name, { color: name === 'b' ? 'red' : 'blue' });
      const first = await admin.get<List>(`${configMaps}?limit=1&labelSelector=color%3Dred`);
      assert.deepEqual([names(first), first.metadata.remainingItemCount], [['b'], undefined]);
      const token = first.metadata.continue ?? assert.fail('there is another object to look at');
      const last = await admin.get<List>(`${configMaps}?limit=1&labelSelector=color%3Dred&continue=${token}`);
      assert.deepEqual([names(last), last.metadata.continue], [[], undefined]);
      assert.equal(last.metadata.resourceVersion, first.metadata.resourceVersion);
    },
  },
  {
    name: 'L3, L4: a version and a limit are that version, or with NotOlderThan the newest',
    run: async ({ admin, configMaps, create, update }) => {
      await create('a');
      const before = versionOf((await create('b')).metadata);
      const after = await update('a', 'later');
      const exact = await admin.get<List>(`${configMaps}?limit=1&resourceVersion=${before}`);
      assert.deepEqual([exact.items[0]?.data?.['value'], exact.metadata.resourceVersion], ['0', String(before)]);
      assert.equal(exact.metadata.remainingItemCount, 1);
      const query = `limit=1&resourceVersionMatch=NotOlderThan&resourceVersion=${after}`;
      const newest = await admin.get<List>(`${configMaps}?${query}`);
      assert.deepEqual([newest.items[0]?.data?.['value'], newest.metadata.remainingItemCount], ['later', 1]);
      assert(versionOf(newest.metadata) >= after);
    },
  },
  {
    name: 'L12: a token without a version goes on with the newest state',
    run: async ({ admin, configMaps, create }) => {
      for (const name of ['a', 'b']) await create(name);
      const latest = versionOf((await create('c')).metadata);
      const token = Buffer.from('{"v":"meta.k8s.io/v1","rv":-1,"start":"a\\u0000"}').toString('base64url');
      const list = await admin.get<List>(`${configMaps}?limit=1&continue=${token}`);
      assert.deepEqual([names(list), list.metadata.remainingItemCount], [['b'], 1]);
      assert(versionOf(list.metadata) >= latest);
    },
  },
  {
    name: 'L17: one object by its name, and where it is not an empty list',
    run: async ({ admin, configMaps, create }) => {
      for (const name of ['a', 'b']) await create(name);
      const one = await admin.get<List>(`${configMaps}?limit=1&fieldSelector=metadata.name%3Da`);
      assert.deepEqual([names(one), one.metadata.continue], [['a'], undefined]);
      const none = await admin.get<List>(`${configMaps}?fieldSelector=metadata.name%3Dc`);
      assert.deepEqual(names(none), []);
    },
  },
  {
    name: 'L2: version 0 ignores limit',
    run: async ({ admin, configMaps, create }) => {
      for (const name of ['a', 'b', 'c']) await create(name);
      // An unlimited consistent LIST first: version 0 promises no freshness.
      await admin.get<List>(configMaps);
      const list = await admin.get<List>(`${configMaps}?resourceVersion=0&limit=1`);
      assert.deepEqual(names(list), ['a', 'b', 'c']);
      assert.equal(list.metadata.continue, undefined);
    },
  },
  {
    name: 'L5: an exact version shows the objects as they were',
    run: async ({ admin, configMaps, create, update, remove }) => {
      await create('a');
      const before = versionOf((await create('b')).metadata);
      await update('a', 'later');
      await remove('b');
      const list = await admin.get<List>(`${configMaps}?resourceVersion=${before}&resourceVersionMatch=Exact`);
      assert.deepEqual(
        list.items.map(({ metadata, data }) => [metadata.name, data?.['value']]),
        [
          ['a', '0'],
          ['b', '0'],
        ],
      );
      assert.equal(list.metadata.resourceVersion, String(before));
    },
  },
  {
    name: 'L10: a version that does not happen is answered 504 after about 3 s',
    run: async ({ admin, configMaps }) => {
      const started = performance.now();
      const { status, body, headers } = await admin.request('GET', `${configMaps}?resourceVersion=${FUTURE_VERSION}`);
      assert(performance.now() - started > 2_500);
      const answer = JSON.parse(body) as Status;
      assert.equal(status, 504);
      assert.equal(headers['retry-after'], '1');
      assert.match(answer.message, /^Timeout: Too large resource version: 9999999999999, current: \d+$/);
      assert.deepEqual(answer.details, {
        causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
        retryAfterSeconds: 1,
      });
    },
  },
  {
    name: "L6, W1: option combinations are refused with 422 in upstream's words",
    run: async ({ admin, configMaps }) => {
      for (const [query, message] of [
        [
          'resourceVersionMatch=NotOlderThan',
          'resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided',
        ],
        [
          'resourceVersionMatch=Exact&resourceVersion=0',
          'resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
        ],
        ['sendInitialEvents=true', 'sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list'],
        [
          'resourceVersionMatch=Foo&resourceVersion=4',
          'resourceVersionMatch: Unsupported value: "Foo": supported values: "Exact", "NotOlderThan", ""',
        ],
        [
          'watch=1&sendInitialEvents=true',
          'resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
        ],
        [
          'watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=1',
          'resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
        ],
      ]) {
        const { status, body } = await admin.request('GET', `${configMaps}?${query}`);
        assert.equal(status, 422, query);
        assert.equal((JSON.parse(body) as Status).message, `ListOptions.meta.k8s.io "" is invalid: ${message}`);
      }
    },
  },
  {
    name: 'L8, L9, G1: undecodable versions, tokens and selectors',
    run: async ({ admin, configMaps }) => {
      const statusOf = async (query: string) => (await admin.request('GET', `${configMaps}?${query}`)).status;
      assert.equal(await statusOf('resourceVersion=abc'), 400);
      assert.equal(await statusOf('watch=1&resourceVersion=abc'), 500);
      assert.equal(await statusOf('continue=abc'), 400);
      assert.equal(await statusOf('labelSelector=a%3D%3D%3Db'), 400);
      assert.equal(await statusOf('fieldSelector=spec.nodeName%3Dx'), 400);
      assert.equal(await statusOf('limit=many'), 400);
      // Any text but "false" and "0" is true.
      assert.equal(await statusOf('watch=perhaps&timeoutSeconds=1'), 200);
    },
  },
  {
    name: 'G6: what is not there is 404, with its details',
    run: async ({ admin, configMaps }) => {
      const { status, body } = await admin.request('GET', `${configMaps}/missing`);
      assert.equal(status, 404);
      assert.deepEqual(JSON.parse(body), {
        kind: 'Status',
        apiVersion: 'v1',
        metadata: {},
        status: 'Failure',
        message: 'configmaps "missing" not found',
        reason: 'NotFound',
        details: { name: 'missing', kind: 'configmaps' },
        code: 404,
      });
    },
  },
  {
    name: 'writes: a second create and a stale update are refused, and an update that changes nothing uses no version',
    run: async ({ admin, configMaps, create, update }) => {
      const created = await create('a');
      const again = await admin.request('POST', configMaps, { body: { metadata: { name: 'a' } } });
      assert.deepEqual([again.status, (JSON.parse(again.body) as Status).reason], [409, 'AlreadyExists']);
      const first = await update('a', '1');
      assert(first > versionOf(created.metadata));
      assert.equal(await update('a', '1'), first);
      const body = {
        kind: 'ConfigMap',
        apiVersion: 'v1',
        metadata: { name: 'a', resourceVersion: created.metadata.resourceVersion },
      };
      const stale = await admin.request('PUT', `${configMaps}/a`, { body });
      assert.deepEqual([stale.status, (JSON.parse(stale.body) as Status).reason], [409, 'Conflict']);
    },
  },
  {
    name: 'G4, G5: an unknown token is 401, a user without rights 403',
    run: async ({ endpoint, nobody, configMaps, namespace }) => {
      const stranger = new KubeClient(endpoint, { token: 'wrong' });
      const unknown = await stranger.request('GET', configMaps);
      stranger.close();
      assert.deepEqual([unknown.status, (JSON.parse(unknown.body) as Status).message], [401, 'Unauthorized']);
      const { status, body } = await nobody.request('GET', `${configMaps}?resourceVersionMatch=Foo`);
      assert.equal(status, 403);
      assert.equal(
        (JSON.parse(body) as Status).message,
        `configmaps is forbidden: User "nobody" cannot list resource "configmaps" in API group "" in the namespace "${namespace}"`,
      );
    },
  },
  {
    name: 'reviews: who a token is, and who may do what',
    run: async ({ admin, adminToken }) => {
      const review = (kind: string, spec: object) => ({
        kind,
        apiVersion: `${kind === 'TokenReview' ? 'authentication' : 'authorization'}.k8s.io/v1`,
        spec,
      });
      const token = (value: string) =>
        admin.create<{ status: { authenticated?: boolean; user: { username?: string } } }>(
          '/apis/authentication.k8s.io/v1/tokenreviews',
          review('TokenReview', { token: value }),
        );
      assert.equal((await token(adminToken)).status.user.username, 'admin');
      assert.notEqual((await token('wrong')).status.authenticated, true);
      const access = async (user: string, groups: string[]) => {
        const spec = { user, groups, resourceAttributes: { verb: 'list', version: 'v1', resource: 'pods' } };
        return (
          await admin.create<{ status: { allowed: boolean } }>(
            '/apis/authorization.k8s.io/v1/subjectaccessreviews',
            review('SubjectAccessReview', spec),
          )
        ).status.allowed;
      };
      assert.equal(await access('admin', ['system:masters']), true);
      assert.equal(await access('nobody', ['system:authenticated']), false);
    },
  },
  {
    name: 'discovery: resources with their verbs, and the group versions as APIServices',
    run: async ({ admin }) => {
      const { resources } = await admin.get<{
        resources: { name: string; kind: string; namespaced: boolean; verbs: string[] }[];
      }>('/apis/coordination.k8s.io/v1');
      const leases = resources.find(({ name }) => name === 'leases');
      assert.deepEqual([leases?.kind, leases?.namespaced, leases?.verbs.includes('watch')], ['Lease', true, true]);
      const groups = await admin.get<{ groups: { name: string }[] }>('/apis');
      assert(groups.groups.some(({ name }) => name === 'discovery.k8s.io'));
      const services = await admin.get<List>(
        '/apis/apiregistration.k8s.io/v1/apiservices?labelSelector=kube-aggregator.kubernetes.io%2Fautomanaged%3Donstart',
      );
      assert(names(services).includes('v1.') && names(services).includes('v1.coordination.k8s.io'));
    },
  },
  {
    name: 'N3: metadata lists carry the same versions',
    run: async ({ admin, configMaps, create }) => {
      const created = await create('a', { color: 'red' });
      const accept = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
      const { body } = await admin.request('GET', configMaps, { headers: { accept } });
      const list = JSON.parse(body) as List;
      assert.match(
        body,
        /^\{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io\/v1","metadata":\{"resourceVersion":/,
      );
      assert.equal(list.items[0]?.kind, 'PartialObjectMetadata');
      assert.equal(list.items[0].metadata.resourceVersion, created.metadata.resourceVersion);
      assert.equal(list.items[0].data, undefined);
    },
  },
];
