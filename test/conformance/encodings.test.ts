import type { IncomingHttpHeaders } from 'node:http';
import { request } from 'node:https';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { Endpoint } from '../support/kube-client.ts';
import { defineThings } from './shard-objects.ts';
import { NEEDS_DOGWATCH, Stage } from './stage.ts';

const PROTOBUF = 'application/vnd.kubernetes.protobuf';
const METADATA = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
const SIE = 'sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0';
const THINGS = '/apis/example.com/v1/things';
/** Upstream compresses what is larger. */
const THRESHOLD = 128 * 1024;

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

let stage: Stage;

beforeAll(async () => {
  stage = await Stage.start();
  const { admin } = stage.plane;
  await defineThings(admin);
  const odd = 'line\nbreak\t"quoted" <&> \\ \u2028 \u007f grün 🐶';
  await admin.create('/api/v1/namespaces/default/configmaps', {
    metadata: { name: 'odd', annotations: { odd, empty: '' } },
    data: { json: '{"a":[1,{}]}', odd },
    binaryData: { bytes: 'AAEC/w==' },
  });
  for (let index = 0; index < 40; index++) {
    const metadata = { name: `large-${index}` };
    await admin.create('/api/v1/namespaces/kube-public/configmaps', {
      metadata,
      data: { text: 'text '.repeat(1_000) },
    });
  }
  // Of one size apart: the largest that is not compressed, and the smallest that is, have these in between.
  for (let index = -3; index < 3; index++) {
    const metadata = { name: `edge-${index}` };
    const data = { text: 'x'.repeat(THRESHOLD - 350 + index * 50) };
    await admin.create('/api/v1/namespaces/kube-node-lease/configmaps', { metadata, data });
  }
  await eventually({ what: 'things are served', timeoutMs: 10_000 }, async () => {
    return (await admin.request('GET', THINGS)).status === 200;
  });
  for (let index = 0; index < 3; index++) {
    const thing = {
      apiVersion: 'example.com/v1',
      kind: 'Thing',
      metadata: { name: `t${index}` },
      spec: {
        object: {},
        list: [],
        none: null,
        number: 1.5,
        whole: 12_345_678_901,
        deep: [[], [[{}]], { a: [{ b: {} }] }],
      },
    };
    await admin.create('/apis/example.com/v1/namespaces/default/things', thing);
  }
});

afterAll(() => stage?.stop());

function ask({ server, ca }: Endpoint, path: string, headers: Record<string, string>): Promise<Answer> {
  const authorization = `Bearer ${stage.plane.token('admin')}`;
  return new Promise((resolve, reject) => {
    const outgoing = request(
      new URL(path, server),
      { ca, agent: false, headers: { authorization, ...headers } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) });
        });
      },
    );
    outgoing.once('error', reject);
    outgoing.end();
  });
}

/** The same of upstream and through dogwatch. */
async function both(path: string, headers: Record<string, string>): Promise<[expected: Answer, found: Answer]> {
  return await Promise.all([ask(stage.plane.endpoint, path, headers), ask(stage.through, path, headers)]);
}

function contentHeaders({ headers }: Answer): unknown {
  return [headers['content-type'], headers['content-encoding'], headers.vary];
}

/** A body as it was before it was compressed. */
function plain({ headers, body }: Answer): string {
  const bytes = headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
  return bytes.toString('latin1');
}

describe('N4 pretty', () => {
  test.each([
    ['/api/v1/namespaces/default/configmaps/odd?resourceVersion=0', 'application/json'],
    ['/api/v1/namespaces/default/configmaps?resourceVersion=0', 'application/json'],
    ['/api/v1/namespaces/default/configmaps?resourceVersion=0', METADATA],
    ['/api/v1/namespaces/nowhere/configmaps?resourceVersion=0', 'application/json'],
    ['/api/v1/namespaces/nowhere/configmaps?resourceVersion=0', METADATA],
    ['/api/v1/configmaps?resourceVersion=0', 'application/json'],
    [`${THINGS}?resourceVersion=0`, 'application/json'],
    [`${THINGS}?resourceVersion=0`, METADATA],
    ['/apis/example.com/v1/namespaces/default/things/t1?resourceVersion=0', 'application/json'],
    ['/apis/example.com/v1/namespaces/nowhere/things?resourceVersion=0', 'application/json'],
    ['/apis/rbac.authorization.k8s.io/v1/clusterroles?resourceVersion=0', 'application/json'],
    ['/apis/apiextensions.k8s.io/v1/customresourcedefinitions?resourceVersion=0', 'application/json'],
  ])('of %s as %s', async (path, accept) => {
    for (const [query, headers] of [
      ['&pretty=true', { accept }],
      ['', { accept: `${accept};pretty=1` }],
      ['', { accept, 'user-agent': 'curl/8' }],
      ['&pretty=false', { accept, 'user-agent': 'curl/8' }],
      ['&pretty=1', { accept, 'accept-encoding': 'gzip' }],
    ] as const) {
      const [expected, found] = await both(path + query, headers);
      expect(found.status).toBe(200);
      expect(withoutVersion(plain(found)), `${query} ${JSON.stringify(headers)}`).toBe(withoutVersion(plain(expected)));
      expect(contentHeaders(found)).toEqual(contentHeaders(expected));
    }
  });
});

/** Two lists of any version may be of different ones. */
function withoutVersion(body: string): string {
  const at = /^{\s*"apiVersion"/.test(body) ? body.lastIndexOf('"resourceVersion"') : body.indexOf('"resourceVersion"');
  return body.slice(0, at) + body.slice(at).replace(/\d+/, 'N');
}

describe('N5 gzip', () => {
  test.each(['gzip', 'deflate, gzip', 'gzip;q=1', 'GZIP', '*', 'identity'])('Accept-Encoding: %s', async (encoding) => {
    for (const accept of ['application/json', PROTOBUF]) {
      for (const namespace of ['kube-public', 'default', 'nowhere']) {
        const path = `/api/v1/namespaces/${namespace}/configmaps?resourceVersion=0`;
        const [expected, found] = await both(path, { accept, 'accept-encoding': encoding });
        expect(contentHeaders(found), `${path} ${accept}`).toEqual(contentHeaders(expected));
        const comparable = (answer: Answer): unknown =>
          accept === PROTOBUF ? plain(answer).length : withoutVersion(plain(answer));
        expect(comparable(found)).toBe(comparable(expected));
      }
    }
  });

  test('of an object begins at the byte at which upstream begins', async () => {
    const compressed = new Set<unknown>();
    for (let index = -3; index < 3; index++) {
      const path = `/api/v1/namespaces/kube-node-lease/configmaps/edge-${index}?resourceVersion=0`;
      const [expected, found] = await both(path, { 'accept-encoding': 'gzip' });
      expect(plain(found)).toBe(plain(expected));
      expect(contentHeaders(found), `${plain(found).length} bytes`).toEqual(contentHeaders(expected));
      compressed.add(found.headers['content-encoding']);
    }
    expect(compressed).toEqual(new Set(['gzip', undefined]));
  });
});

describe('N6 gzip of watches', () => {
  test.each([
    ['a watch-list with bookmarks', `${SIE}&allowWatchBookmarks=true`, true],
    ['one without', SIE, false],
    ['by default', 'resourceVersion=0&allowWatchBookmarks=true', true],
    ['of what comes from now on', `${SIE.replace('true', 'false')}&allowWatchBookmarks=true`, false],
    ['from a version that does not come', `${SIE.replace('=0', '=99999999')}&allowWatchBookmarks=true`, true],
  ])('%s', async (_, query, compressed) => {
    const path = `/api/v1/namespaces/kube-public/configmaps?watch=true&timeoutSeconds=4&${query}`;
    const [expected, found] = await both(path, { 'accept-encoding': 'gzip' });
    expect(contentHeaders(found)).toEqual(contentHeaders(expected));
    expect(found.headers['content-encoding'] === 'gzip').toBe(compressed);
    const events = (answer: Answer): string[] =>
      plain(answer)
        .split('\n')
        .filter((line) => line.startsWith('{"type":"ADDED"') || line.startsWith('{"type":"ERROR"'))
        .map((line) => line.replace(/current: \d+/, 'current: N'));
    expect(events(found)).toEqual(events(expected));
  });

  test.skipIf(NEEDS_DOGWATCH !== undefined)('the initial events are a fraction of what they were', async () => {
    const path = `/api/v1/namespaces/kube-public/configmaps?watch=true&timeoutSeconds=1&${SIE}&allowWatchBookmarks=true`;
    const answer = await ask(stage.through, path, { 'accept-encoding': 'gzip' });
    expect(plain(answer).length).toBeGreaterThan(40 * 5_000);
    expect(answer.body.length).toBeLessThan(plain(answer).length / 5);
  });
});
