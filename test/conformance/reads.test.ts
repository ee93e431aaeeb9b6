// LIST and GET, byte for byte what kube-apiserver answers, and answered by dogwatch from its cache.
import { Agent, request } from 'node:https';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Endpoint, KubeObject } from '../support/kube-client.ts';
import { NEEDS_DOGWATCH, Stage } from './stage.ts';

const JSON_TYPE = 'application/json';
const PROTOBUF = 'application/vnd.kubernetes.protobuf';
const METADATA = `${JSON_TYPE};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1`;
const METADATA_PROTOBUF = `${PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1`;
/** A version no upstream will have reached. */
const FUTURE = 9_999_999_999;

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  /** kube-apiserver says which of its priority levels a request had; dogwatch has none. */
  readonly fromCache: boolean;
}

interface Query {
  readonly path: string;
  readonly accept?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** kube-apiserver itself is to be asked, for a reason given with the test. */
  readonly forwarded?: boolean;
}

interface List {
  readonly metadata: {
    readonly resourceVersion: string;
    readonly continue?: string;
    readonly remainingItemCount?: number;
  };
  readonly items: readonly KubeObject[];
}

let stage: Stage;
let agents: Agent[] = [];
let direct: (query: Query) => Promise<Answer>;
let through: (query: Query) => Promise<Answer>;

beforeAll(async () => {
  stage = await Stage.start();
  direct = asker(stage.plane.endpoint);
  through = asker(stage.through);
  await populate();
}, 120_000);

afterAll(async () => {
  for (const agent of agents) agent.destroy();
  agents = [];
  await stage?.stop();
});

function asker({ server, ca }: Endpoint): (query: Query) => Promise<Answer> {
  const agent = new Agent({ keepAlive: true, ca });
  agents.push(agent);
  const authorization = `Bearer ${stage.plane.token('admin')}`;
  return ({ path, accept = JSON_TYPE, headers = {} }) =>
    new Promise((resolve, reject) => {
      const outgoing = request(
        new URL(path, server),
        { agent, headers: { authorization, accept, ...headers } },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(chunks),
              fromCache: response.headers['x-kubernetes-pf-flowschema-uid'] === undefined,
            }),
          );
        },
      );
      outgoing.on('error', reject);
      outgoing.end();
    });
}

async function populate(): Promise<void> {
  const { admin } = stage.plane;
  for (const name of ['reads', 'reads-b']) await admin.create('/api/v1/namespaces', { metadata: { name } });
  for (let i = 0; i < 24; i++) {
    const labels = { color: i % 3 === 0 ? 'red' : 'blue' };
    const body = {
      metadata: { name: `c${i % 5}-${String(i).padStart(2, '0')}.x`, labels },
      data: { value: 'v'.repeat(i) },
    };
    await admin.create(`/api/v1/namespaces/${i % 4 === 0 ? 'reads-b' : 'reads'}/configmaps`, body);
  }
  await admin.create('/api/v1/namespaces/reads-b/configmaps', {
    metadata: { name: 'large' },
    data: { value: 'large '.repeat(40_000) },
  });
  for (let i = 0; i < 9; i++) {
    const spec = { containers: [{ name: 'c', image: 'i' }], ...(i % 3 === 0 ? {} : { nodeName: `n${i % 3}` }) };
    await admin.create('/api/v1/namespaces/reads/pods', { metadata: { name: `p${i}` }, spec });
  }
  for (let i = 0; i < 6; i++) {
    const involvedObject = { kind: 'Pod', namespace: 'reads', name: `p${i % 2}` };
    await admin.create('/api/v1/namespaces/reads/events', {
      metadata: { name: `e${i}` },
      involvedObject,
      reason: 'R',
      type: 'Normal',
    });
  }
  for (let i = 0; i < 4; i++) {
    const rules = [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }];
    await admin.create('/apis/rbac.authorization.k8s.io/v1/clusterroles', {
      metadata: { name: `system:reads<${i}>&` },
      rules,
    });
  }
}

/** Of headers those that say something about the body. */
function told({ status, headers }: Answer): string {
  const names = ['content-type', 'content-encoding', 'vary', 'cache-control', 'warning', 'retry-after'];
  return [status, ...names.map((name) => `${name}: ${String(headers[name])}`)].join('\n');
}

interface Comparison {
  /** What dogwatch answered otherwise; undefined if nothing. */
  readonly difference: string | undefined;
  readonly list: List;
}

/** Asks both until kube-apiserver gives the same before and after; then dogwatch must have given it too. */
async function compare(query: Query): Promise<Comparison> {
  // It reads the lane first, which then is no part of the question: while it is cold pages are upstream's (row L23).
  await through({ ...query, path: `${query.path.split('?', 1)[0]}?resourceVersion=0` });
  await through(query);
  for (let attempt = 1; ; attempt++) {
    const before = await direct(query);
    const mine = await through(query);
    const theirs = await direct(query);
    if (!before.body.equals(theirs.body) && attempt < 50) continue;
    return { difference: differenceOf(query, mine, theirs), list: listOf(theirs) };
  }
}

function differenceOf(query: Query, mine: Answer, theirs: Answer): string | undefined {
  const [answered, expected] = [mine, theirs].map((answer) => `${told(answer)}\n${answer.body.toString('latin1')}`);
  if (answered !== expected) return `${query.path}\nis answered\n${answered}\nnot\n${expected}`;
  if (NEEDS_DOGWATCH === undefined && mine.fromCache === (query.forwarded ?? false)) {
    return `${query.path} is ${mine.fromCache ? 'answered from the cache' : 'forwarded'}`;
  }
  return undefined;
}

async function differences(...queries: readonly Query[]): Promise<string[]> {
  const found: string[] = [];
  for (const query of queries) found.push((await compare(query)).difference ?? '');
  return found.filter((difference) => difference !== '');
}

function listOf({ status, headers, body }: Answer): List {
  const readable = status === 200 && headers['content-type'] === JSON_TYPE && headers['content-encoding'] === undefined;
  return readable ? (JSON.parse(body.toString()) as List) : { metadata: { resourceVersion: '' }, items: [] };
}

const MAPS = '/api/v1/configmaps';
const IN_NAMESPACE = '/api/v1/namespaces/reads/configmaps';

describe('L1: LIST of the newest state', () => {
  test.each([
    ['', JSON_TYPE],
    ['', PROTOBUF],
    ['', METADATA],
    ['', METADATA_PROTOBUF],
    ['?labelSelector=color%3Dred', JSON_TYPE],
    ['?fieldSelector=metadata.namespace%3Dreads', JSON_TYPE],
    // L17
    ['?fieldSelector=metadata.name%3Dlarge', JSON_TYPE],
  ])('%s as %s', async (query, accept) => {
    const paths = [MAPS, IN_NAMESPACE];
    expect(await differences(...paths.map((path) => ({ path: `${path}${query}`, accept })))).toEqual([]);
  });

  test('L16: of a namespace that does not exist', async () => {
    const path = '/api/v1/namespaces/nowhere/configmaps';
    expect(await differences(...[JSON_TYPE, PROTOBUF, METADATA].map((accept) => ({ path, accept })))).toEqual([]);
  });

  test('L17: of one object', async () => {
    expect(await differences({ path: `${IN_NAMESPACE}?fieldSelector=metadata.name%3Dc1-01.x&limit=1` })).toEqual([]);
    expect(await differences({ path: '/api/v1/namespaces?fieldSelector=metadata.name%3Dreads&limit=1' })).toEqual([]);
    expect(await differences({ path: '/api/v1/namespaces?fieldSelector=metadata.name%3Dnone' })).toEqual([]);
  });

  test('of what is cluster-scoped, indexed, or not cached upstream', async () => {
    expect(await differences({ path: '/api/v1/namespaces' })).toEqual([]);
    expect(await differences({ path: '/api/v1/pods?fieldSelector=spec.nodeName%3Dn1' })).toEqual([]);
    expect(await differences({ path: '/api/v1/namespaces/reads/events' })).toEqual([]);
    expect(
      await differences({ path: '/api/v1/namespaces/reads/events?fieldSelector=involvedObject.name%3Dp1' }),
    ).toEqual([]);
  });
});

describe('L13 to L15: pages', () => {
  test.each([
    [MAPS, JSON_TYPE],
    [MAPS, PROTOBUF],
    [MAPS, METADATA],
    [`${MAPS}?labelSelector=color%3Dred`, JSON_TYPE],
    [`${MAPS}?fieldSelector=metadata.name!%3Dlarge`, JSON_TYPE],
    [IN_NAMESPACE, JSON_TYPE],
    [`${IN_NAMESPACE}?labelSelector=color%3Dnone`, JSON_TYPE],
    ['/api/v1/namespaces', JSON_TYPE],
    ['/apis/rbac.authorization.k8s.io/v1/clusterroles', JSON_TYPE],
    ['/api/v1/pods', JSON_TYPE],
    ['/api/v1/pods?fieldSelector=spec.nodeName%3Dn1', JSON_TYPE],
    ['/api/v1/pods?fieldSelector=spec.nodeName%3D', JSON_TYPE],
    ['/api/v1/namespaces/reads/events', JSON_TYPE],
    ['/api/v1/namespaces/reads/events?fieldSelector=involvedObject.name%3Dp1', JSON_TYPE],
  ])('of %s as %s', async (path, accept) => {
    const query = path.includes('?') ? '&' : '?';
    // Tokens are upstream's, and the same on either side.
    let { list, difference } = await compare({
      path: `${path}${query}limit=2`,
      accept: accept === PROTOBUF ? JSON_TYPE : accept,
    });
    for (let pages = 1; list.metadata.continue !== undefined && pages < 40; pages++) {
      // Of what an index selects only the first page says no more than the index.
      const forwarded = path.includes('spec.nodeName');
      const next = { path: `${path}${query}limit=2&continue=${list.metadata.continue}`, forwarded };
      expect(difference).toBeUndefined();
      expect(await differences({ ...next, accept })).toEqual([]);
      ({ list, difference } = await compare({ ...next, accept: accept === PROTOBUF ? JSON_TYPE : accept }));
    }
    expect(difference).toBeUndefined();
  });

  test('L12: a token that goes on with the newest state', async () => {
    const start = Buffer.from('{"v":"meta.k8s.io/v1","rv":-1,"start":"reads/c1\\u0000"}').toString('base64url');
    expect(await differences({ path: `${MAPS}?limit=3&continue=${start}` })).toEqual([]);
    expect(await differences({ path: `${MAPS}?continue=${start}` })).toEqual([]);
  });

  test('L3: not older than a version, with a limit; L2: "0" knows no limit', async () => {
    const { list } = await compare({ path: `${MAPS}?limit=1` });
    const { resourceVersion } = list.metadata;
    expect(
      await differences({
        path: `${MAPS}?limit=4&resourceVersion=${resourceVersion}&resourceVersionMatch=NotOlderThan`,
      }),
    ).toEqual([]);
    const any = await through({ path: `${MAPS}?limit=4&resourceVersion=0` });
    const body = JSON.parse(any.body.toString()) as List;
    expect([body.items.length > 4, body.metadata.continue, any.fromCache]).toEqual([
      true,
      undefined,
      NEEDS_DOGWATCH === undefined,
    ]);
  });

  test('the pages of one LIST are of one moment, whatever happens between them', async () => {
    const { admin } = stage.plane;
    const first = JSON.parse((await through({ path: `${IN_NAMESPACE}?limit=4` })).body.toString()) as List;
    const whole = (
      await direct({
        path: `${IN_NAMESPACE}?resourceVersion=${first.metadata.resourceVersion}&resourceVersionMatch=Exact`,
      })
    ).body;
    await admin.create(IN_NAMESPACE, { metadata: { name: 'z-new' } });
    await admin.mergePatch(`${IN_NAMESPACE}/c1-21.x`, { data: { value: 'changed' } });
    await admin.delete(`${IN_NAMESPACE}/c4-19.x`);
    const items = [...first.items];
    let token = first.metadata.continue;
    while (token !== undefined) {
      const { list, difference } = await compare({ path: `${IN_NAMESPACE}?limit=4&continue=${token}` });
      expect(difference).toBeUndefined();
      expect(list.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
      items.push(...list.items);
      token = list.metadata.continue;
    }
    expect(items).toEqual((JSON.parse(whole.toString()) as List).items);
  });
});

describe('L4, L5: LIST of a version', () => {
  test.each([MAPS, IN_NAMESPACE, '/api/v1/namespaces/reads/pods'])('of %s', async (path) => {
    const { admin } = stage.plane;
    await through({ path: `${path}?resourceVersion=0` });
    const versions: string[] = [];
    for (let i = 0; i < 3; i++) {
      const { metadata } = await admin.mergePatch<KubeObject>(`${IN_NAMESPACE}/c1-01.x`, {
        data: { value: `at ${i}` },
      });
      versions.push(metadata.resourceVersion);
      await admin.mergePatch('/api/v1/namespaces/reads/pods/p1', { metadata: { labels: { at: String(i) } } });
    }
    await through({ path });
    for (const version of versions) {
      for (const accept of [JSON_TYPE, PROTOBUF, METADATA]) {
        await through({ path: `${path}?resourceVersion=0`, accept });
      }
      expect(await differences({ path: `${path}?resourceVersion=${version}&resourceVersionMatch=Exact` })).toEqual([]);
      expect(await differences({ path: `${path}?resourceVersion=${version}&limit=3` })).toEqual([]);
    }
  });

  test('of one key, and with a limit of one key', async () => {
    const { list } = await compare({ path: `${IN_NAMESPACE}?limit=1` });
    const one = `${IN_NAMESPACE}?fieldSelector=metadata.name%3Dlarge&resourceVersion=${list.metadata.resourceVersion}`;
    expect(await differences({ path: `${one}&resourceVersionMatch=Exact`, forwarded: true })).toEqual([]);
    expect(await differences({ path: `${one}&limit=2`, forwarded: true })).toEqual([]);
  });

  test('L11: what upstream has compacted is its to say', async () => {
    expect(
      await differences({ path: `${MAPS}?resourceVersion=1&resourceVersionMatch=Exact`, forwarded: true }),
    ).toEqual([]);
  });
});

describe('L10: a version that is not there', () => {
  test.each([
    `${MAPS}?resourceVersion=${FUTURE}`,
    `${MAPS}?resourceVersion=${FUTURE}&limit=3`,
    `${MAPS}?resourceVersion=${FUTURE}&resourceVersionMatch=Exact`,
    `${IN_NAMESPACE}/c1-01.x?resourceVersion=${FUTURE}`,
  ])('%s', async (path) => {
    const [mine, theirs] = await Promise.all([through({ path }), direct({ path })]);
    const text = (answer: Answer): string => answer.body.toString().replace(/current: \d+/, 'current: N');
    expect(told(mine)).toEqual(told(theirs));
    expect(text(mine)).toBe(text(theirs));
  });

  test('L22, G12: with less time than that', async () => {
    const path = `${MAPS}?resourceVersion=${FUTURE}&timeout=700ms`;
    const started = performance.now();
    const mine = await through({ path });
    expect(performance.now() - started).toBeLessThan(2_000);
    const theirs = await direct({ path });
    expect(told(mine)).toEqual(told(theirs));
    expect(mine.body.toString()).toBe(theirs.body.toString());
  });

  test('L3, O3: of another resource, a quiet lane has it as soon as upstream says so', async () => {
    const { admin } = stage.plane;
    await through({ path: '/apis/coordination.k8s.io/v1/namespaces/reads/leases?resourceVersion=0' });
    await through({ path: '/api/v1/namespaces?resourceVersion=0' });
    const { metadata } = await admin.create('/api/v1/namespaces/reads/secrets', { metadata: { generateName: 's' } });
    for (const path of ['/api/v1/namespaces', '/api/v1/namespaces/reads']) {
      const started = performance.now();
      const { status } = await through({ path: `${path}?resourceVersion=${metadata.resourceVersion}` });
      expect([status, performance.now() - started < 2_500]).toEqual([200, true]);
    }
  });
});

describe('N4, N5: for people, and small', () => {
  test.each([JSON_TYPE, METADATA, `${JSON_TYPE};pretty=1`])('indented, as %s', async (accept) => {
    for (const query of ['?pretty=true', '?pretty=1&limit=2', '?pretty=0', ''])
      expect(await differences({ path: `${MAPS}${query}`, accept })).toEqual([]);
  });

  test('indented because of who asks', async () => {
    expect(await differences({ path: MAPS, headers: { 'user-agent': 'curl/8.1' } })).toEqual([]);
    expect(
      await differences({ path: `${IN_NAMESPACE}/c1-01.x?resourceVersion=0`, headers: { 'user-agent': 'Wget/1' } }),
    ).toEqual([]);
    expect(
      await differences({ path: '/api/v1/namespaces/nowhere/configmaps', headers: { 'user-agent': 'curl/8.1' } }),
    ).toEqual([]);
  });

  test('compressed beyond 128 KiB where the client says so', async () => {
    const headers = { 'accept-encoding': 'gzip' };
    for (const path of [MAPS, '/api/v1/namespaces/reads-b/configmaps/large?resourceVersion=0']) {
      await through({ path });
      const [mine, theirs] = [await through({ path, headers }), await direct({ path, headers })];
      expect(told(mine)).toEqual(told(theirs));
      expect(mine.headers['content-encoding']).toBe('gzip');
      expect(gunzipSync(mine.body).length).toBe(gunzipSync(theirs.body).length);
    }
    expect(await differences({ path: IN_NAMESPACE, headers })).toEqual([]);
  });
});

describe('O2, O3: GET', () => {
  test.each([JSON_TYPE, PROTOBUF, METADATA.replace('MetadataList', 'Metadata')])('as %s', async (accept) => {
    for (const path of [`${IN_NAMESPACE}/c1-01.x`, '/api/v1/namespaces/reads']) {
      expect(await differences({ path: `${path}?resourceVersion=0`, accept })).toEqual([]);
      expect(await differences({ path: `${path}?resourceVersion=5`, accept })).toEqual([]);
    }
    expect(await differences({ path: `${IN_NAMESPACE}/none?resourceVersion=0`, accept })).toEqual([]);
  });

  test('O1: of the newest state is upstream’s', async () => {
    expect(await differences({ path: `${IN_NAMESPACE}/c1-01.x`, forwarded: true })).toEqual([]);
  });
});

test('L22: a timeout that is none is refused before anybody is asked who they are', async () => {
  const [mine, theirs] = [await through({ path: `${MAPS}?timeout=x` }), await direct({ path: `${MAPS}?timeout=x` })];
  expect(told(mine)).toEqual(told(theirs));
  expect(mine.body.toString()).toBe(theirs.body.toString());
});

describe('what upstream refuses, it refuses itself', () => {
  test.each([
    ['L8', 'continue=abc'],
    ['L8', 'continue=abc&limit=2'],
    ['L9', 'resourceVersion=abc'],
    ['L9', 'resourceVersion=-1'],
    ['G1', 'limit=x'],
    ['G1', 'labelSelector=a%3D%3D%3Db'],
    ['L7', 'resourceVersion=1&continue=e30'],
    ['L6', 'resourceVersion=0&resourceVersionMatch=Exact'],
    ['L6', 'resourceVersionMatch=Exact'],
    ['L6', 'resourceVersion=1&resourceVersionMatch=Nonsense'],
    ['L6', 'sendInitialEvents=true'],
  ])('%s: %s', async (_row, query) => {
    expect(await differences({ path: `${MAPS}?${query}`, forwarded: true })).toEqual([]);
  });
});
